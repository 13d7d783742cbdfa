"""Composition of YAML text: the tree of its values with positions, by YAML 1.2 core rules and within bounds.

Called by the reader. Invariant: time and memory are bounded for any text. Events are read one by one, and
reading stops at the first bound that is crossed. Errors that leave the structure clear are collected, and
reading continues.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from iogate.documents.problems import Problem
from iogate.documents.yaml.masking import hides, room_below
from iogate.documents.yaml.nodes import Node
from iogate.documents.yaml.scalars import BOOLEANS, NULLS, UnfitNumber, resolve
from iogate.documents.yaml.source import Source, Span
from iogate.documents.yaml.syntax_errors import syntax_problem
from iogate.messages import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 64
MAX_NODES: Final = 150_000
"""Keys and values in a file with all aliases written out."""
MAX_PROBLEMS: Final = 1_000
"""Problems told of one file."""

# libyaml is some thirty times as fast; both give the same events and positions.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_CORE = "tag:yaml.org,2002:"


def compose(source: Source) -> tuple[Node | None, list[Problem]]:
    """Return the tree of a text and its problems, and mark secrets in the source; None for no tree."""
    composer = _Composer(source)
    root: Node | None = None
    try:
        root = composer.document()
    except _Stop as stop:
        composer.problems.append(stop.problem)
    except yaml.MarkedYAMLError as error:
        composer.problems.append(syntax_problem(error, source))
    return root, composer.problems


def join_surrogates(text: str) -> str:
    """Join two escapes of one character in a text to compose: JSON has these, YAML does not."""
    if not text.lstrip().startswith("{"):
        return text
    return _PAIR.sub(lambda pair: pair[1] + json.loads(f'"{pair[2]}"'), text)


class _Stop(Exception):
    """Leaves the composer at once; never seen outside this module."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Composer:
    """Turns the event stream into nodes. Recursion is bounded by MAX_DEPTH."""

    def __init__(self, source: Source) -> None:
        self.problems: list[Problem] = []
        self._source = source
        # `yaml.parse` would ask twice for each event.
        self._events: Iterator[Any] = iter(_Loader(join_surrogates(source.text)).get_event, None)
        self._anchors: dict[str, Node | None] = {}
        self._count = 0

    def document(self) -> Node | None:
        """Compose the one document of the text; None, with a problem noted, if there is none."""
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    span = _span(event)
                    self.note("IOG128", "a second document in the file", span, "one document a file")
                    return root
                root = self._node(next(self._events), 1, "")
        if root is None or (root.value is None and not root.points):
            self.note("IOG129", "the file is empty", Span(1, 1))
            return None
        return root

    def note(self, code: str, message: str, span: Span, hint: str = "") -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(self._problem(code, message, span, hint))

    def _problem(self, code: str, message: str, span: Span, hint: str = "") -> Problem:
        return Problem.at(span, path=self._source.path, code=code, message=message, hint=hint)

    def _node(self, event: yaml.Event, depth: int, key: str) -> Node:
        """Compose the value that starts with `event`, under the mapping key `key`."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        self._grow(1, event)
        if depth > MAX_DEPTH:
            raise _Stop(self._problem("IOG125", f"nested more than {MAX_DEPTH} levels deep", _span(event)))
        anchor: str | None = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        match event:
            case yaml.ScalarEvent():
                node = self._scalar(event, key)
            case yaml.SequenceStartEvent():
                node = self._sequence(event, depth, key)
            case yaml.MappingStartEvent():
                node = self._mapping(event, depth, key)
            case _:  # the grammar of events has no other start
                raise AssertionError(event)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _grow(self, by: int, event: yaml.Event) -> None:
        self._count += by
        if self._count > MAX_NODES:
            message = f"more than {MAX_NODES:,} keys and values once all aliases are written out"
            raise _Stop(self._problem("IOG124", message, _span(event)))

    def _alias(self, event: yaml.AliasEvent, depth: int) -> Node:
        span = _span(event)
        if event.anchor not in self._anchors:
            known = ", ".join(quoted(name) for name in list(self._anchors)[:8])
            hint = f"anchors so far: {known}" if known else "there is no anchor before it"
            raise _Stop(self._problem("IOG123", f"no anchor is called {quoted(event.anchor)}", span, hint))
        target = self._anchors[event.anchor]
        if target is None:
            message = f"the alias {quoted(event.anchor)} stands inside its own anchor"
            raise _Stop(self._problem("IOG123", message, span))
        self._grow(target.size, event)
        if depth + target.height - 1 > MAX_DEPTH:
            raise _Stop(self._problem("IOG125", f"nested more than {MAX_DEPTH} levels deep", span))
        return target

    def _scalar(self, event: yaml.ScalarEvent, key: str) -> Node:
        span = _span(event)
        value: Any = event.value
        empty = value == "" and not event.style
        if event.tag is None:
            if not event.style:
                try:
                    value = resolve(value)
                except UnfitNumber as error:
                    self.note("IOG133", str(error), span, "quote it to keep it as text")
        elif event.tag != "!":
            value = self._tagged(event, span)
        if hides(key, value):
            self._mask(event)
        return Node(span=span, value=value, points=not empty)

    def _tagged(self, event: yaml.ScalarEvent, span: Span) -> Any:
        """Compose a scalar that says its type, such as `!!str 42`."""
        kind = str(event.tag).removeprefix(_CORE)
        text: str = event.value
        if not str(event.tag).startswith(_CORE) or kind not in {"str", "int", "float", "bool", "null"}:
            self._unknown_tag(event, span)
            return text
        if kind == "str":
            return text
        try:
            value = resolve(text)
        except UnfitNumber as error:
            self.note("IOG133", str(error), span, "quote it to keep it as text")
            return text
        fits = {
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, int | float) and not isinstance(value, bool),
            "bool": text in BOOLEANS,
            "null": text in NULLS,
        }
        if not fits[kind]:
            self.note("IOG122", f"the value does not fit its tag !!{kind}", span)
            return text
        return float(value) if kind == "float" and isinstance(value, int) else value

    def _unknown_tag(self, event: Any, span: Span) -> None:
        shown = str(event.tag)
        name = "!!" + shown.removeprefix(_CORE) if shown.startswith(_CORE) else shown
        self.note(
            "IOG122", f"unknown tag {quoted(name)}", span, "only JSON's types: remove it, or quote the value"
        )

    def _sequence(self, event: yaml.SequenceStartEvent, depth: int, key: str) -> Node:
        if event.tag not in {None, "!", _CORE + "seq"}:
            self._unknown_tag(event, _span(event))
        items: list[Node] = []
        size = height = 1
        for inner in self._events:
            if isinstance(inner, yaml.SequenceEndEvent):
                break
            item = self._node(inner, depth + 1, key)
            items.append(item)
            size += item.size
            if item.height >= height:
                height = item.height + 1
        return Node(
            span=_span(event),
            value=[item.value for item in items],
            size=size,
            height=height,
            items=items,
            points=bool(event.flow_style),
        )

    def _mapping(self, event: yaml.MappingStartEvent, depth: int, key: str) -> Node:
        if event.tag not in {None, "!", _CORE + "map"}:
            self._unknown_tag(event, _span(event))
        entries: dict[str, tuple[Span, Node]] = {}
        size = height = 1
        for inner in self._events:
            if isinstance(inner, yaml.MappingEndEvent):
                break
            span, name = self._key(inner, depth)
            under = room_below(key, name or "")
            node = self._node(next(self._events), depth + 1, under)
            if name is None:
                continue
            size += node.size + 1
            if node.height >= height:
                height = node.height + 1
            if name in entries:
                first = entries[name][0].line
                self.note(
                    "IOG121",
                    f"the key {quoted(name)} stands twice in this mapping",
                    span,
                    f"first on line {first}",
                )
            else:
                entries[name] = (span, node)
        value = {name: node.value for name, (_, node) in entries.items()}
        return Node(
            span=_span(event),
            value=value,
            size=size,
            height=height,
            entries=entries,
            points=bool(event.flow_style),
        )

    def _key(self, event: yaml.Event, depth: int) -> tuple[Span, str | None]:
        """Compose a key, None if it is no key. A whole number counts as the text it is written as."""
        span = _span(event)
        if isinstance(event, yaml.ScalarEvent) and _is_plain_word(event):
            self._grow(1, event)
            return span, event.value
        node = self._node(event, depth + 1, "")
        if isinstance(event, yaml.ScalarEvent):
            text = str(event.value)
            if not event.style and text == "<<":
                self.note("IOG131", "YAML 1.2 has no merge keys", span, "write the keys out")
                return span, None
            if not isinstance(node.value, str) and not (
                isinstance(node.value, int) and not isinstance(node.value, bool)
            ):
                self.note("IOG132", f"the key {quoted(text)} is not text", span, "put it in quotes")
                return span, None
            return span, text
        if isinstance(node.value, str):
            return span, node.value
        self.note("IOG132", "a key must be text, not a list or mapping", span)
        return span, None

    def _mask(self, event: yaml.ScalarEvent) -> None:
        start, end = _marks(event)
        for line in range(start.line, end.line + 1):
            first = start.column if line == start.line else 0
            last = end.column if line == end.line else 0
            if (line, last) != (end.line, 0) or line == start.line:
                self._source.masks.append((line + 1, first, last))


def _is_plain_word(event: yaml.ScalarEvent) -> bool:
    """Tell whether a key to compose is text for certain: no anchor, tag, quotes, number or YAML word."""
    text: str = event.value
    return (
        event.anchor is None
        and event.tag is None
        and not event.style
        and text[:1].isalpha()
        and text not in NULLS
        and text not in BOOLEANS
    )


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    line, column = start.line, start.column
    length = end.column - column if end.line == line else 1
    # Half the time of `Span(…)`.
    return tuple.__new__(Span, (line + 1, column + 1, length if length > 0 else 1))


def _marks(event: yaml.Event) -> tuple[Any, Any]:
    """Return start and end of an event that the composer gets; events of a text always know these."""
    start, end = event.start_mark, event.end_mark
    assert start is not None
    assert end is not None
    return start, end
