"""Narrowing and widening of a JSON Schema: whether it refuses values that it accepted, or accepts more.

Called by `apis` and `workflows`. Pure. Invariant: a change is called narrowing or widening only if that
follows from the keyword; a change that allows no conclusion is called neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from iogate import json_values
from iogate.messages import printable, quoted, shorten
from iogate.reconcile.meanings.schemas.context import SchemaContext, context_of

Direction = Literal["narrowed", "widened", "changed"]

_ANNOTATIONS: Final = frozenset(
    {
        "$comment",
        "default",
        "deprecated",
        "description",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
    }
)
_VACUOUS: Final = _ANNOTATIONS | {"$id", "$schema", "$defs", "definitions"}
"""Keywords that refuse no value by themselves."""
_LOWER_BOUNDS: Final = (
    "minimum",
    "minLength",
    "minItems",
    "minProperties",
    "minContains",
)
_UPPER_BOUNDS: Final = (
    "maximum",
    "maxLength",
    "maxItems",
    "maxProperties",
    "maxContains",
)
_CONSTRAINTS: Final = ("const", "pattern", "format", "multipleOf", "contentEncoding", "contentMediaType")
"""Keywords that refuse values, without an order of their own values."""
_DEFAULTS: Final[Mapping[str, Any]] = {
    "uniqueItems": False,
    "additionalProperties": True,
    "minLength": 0,
    "minItems": 0,
    "minProperties": 0,
    "minContains": 1,
    "required": [],
    "properties": {},
    "items": True,
}
_APPLICATORS: Final = frozenset(
    {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas"}
)
"""Keywords whose schemas evaluate properties too."""
_EVALUATING: Final = frozenset({"additionalProperties", "items"})
"""Keywords that evaluate members by their presence."""
_TYPES: Final = frozenset({"null", "boolean", "object", "array", "number", "string"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """Changed keyword of a schema."""

    direction: Direction
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Result of a comparison of two schemas."""

    changes: tuple[SchemaChange, ...]

    @property
    def direction(self) -> Direction | None:
        """`narrowed` if any keyword refuses more; None if both schemas accept the same values."""
        found = {change.direction for change in self.changes}
        return next((each for each in ("narrowed", "changed", "widened") if each in found), None)

    def details(self, most: int = 3) -> str:
        """Return the first changes of the schema as text, those that give the direction first."""
        direction = self.direction
        chosen = sorted(self.changes, key=lambda change: change.direction != direction)
        texts = list(dict.fromkeys(change.text for change in chosen))
        more = f", and {len(texts) - most} more" if len(texts) > most else ""
        return ", ".join(texts[:most]) + more


def compare(before: Any, after: Any) -> Comparison:
    """Compare two JSON Schemas: narrowed or widened; None accepts every value."""
    context = context_of(before, after)
    found = list(_compare(_whole(before), _whole(after), "", context))
    if context.reversed is None:
        found += [SchemaChange(direction="changed", text=change.text) for change in found]
    return Comparison(changes=tuple(found))


def accepts_all(schema: Any) -> bool:
    """Tell whether a JSON Schema has no keyword that refuses a value; None accepts every value."""
    return _whole(schema).keys() <= _VACUOUS


def _whole(schema: Any) -> Mapping[str, Any]:
    if schema is None or schema is True:
        return {}
    if schema is False:
        return {"not": {}}
    return schema if isinstance(schema, Mapping) else {}


def _compare(
    old: Mapping[str, Any], new: Mapping[str, Any], at: str, context: SchemaContext
) -> Iterator[SchemaChange]:
    names = [*new, *(name for name in old if name not in new)]
    for name in names:
        if name in _ANNOTATIONS:
            continue
        before, after = old.get(name, _DEFAULTS.get(name)), new.get(name, _DEFAULTS.get(name))
        if context.unevaluated and name in _EVALUATING and (name in old) != (name in new):
            yield SchemaChange(direction="changed", text=f"{at}{name} changed")
        if json_values.is_same(before, after) and (name in _DEFAULTS or (name in old) == (name in new)):
            continue
        rule = _RULES.get(name)
        if rule is None:
            yield SchemaChange(direction="changed", text=f"{at}{printable(shorten(name, 40))} changed")
        else:
            yield from rule(
                _Keyword(name=name, before=before, after=after, at=at, schemas=(old, new), context=context)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keyword:
    """Keyword with different values in two schemas."""

    name: str
    before: Any
    after: Any
    at: str
    """Place of the schema, as the start of a text."""
    schemas: tuple[Mapping[str, Any], Mapping[str, Any]]
    """The old and the new schema."""
    context: SchemaContext

    def compare(self, before: Any, after: Any, at: str) -> Iterator[SchemaChange]:
        """Compare two schemas of the values of the keyword."""
        return _compare(_whole(before), _whole(after), at, self.context)


_Rule = Callable[[_Keyword], Iterator[SchemaChange]]


def _type(keyword: _Keyword) -> Iterator[SchemaChange]:
    before, after, at = keyword.before, keyword.after, keyword.at
    old, new = _types(before), _types(after)
    text = f"{at}type {_shown(before)} → {_shown(after)}"
    if new < old:
        yield SchemaChange(direction="narrowed", text=text)
    elif old < new:
        yield SchemaChange(direction="widened", text=text)
    elif old != new:
        yield SchemaChange(direction="narrowed", text=text)
        yield SchemaChange(direction="widened", text=text)


def _types(value: Any) -> frozenset[str]:
    if value is None:
        return frozenset({*_TYPES, "integer"})
    found = {value} if isinstance(value, str) else set(value)
    return frozenset(found | ({"integer"} if "number" in found else set()))


def _enum(keyword: _Keyword) -> Iterator[SchemaChange]:
    before, after, at = keyword.before, keyword.after, keyword.at
    if before is None:
        yield SchemaChange(direction="narrowed", text=f"{at}only {_shown(after)} allowed")
        return
    if after is None:
        yield SchemaChange(direction="widened", text=f"{at}no longer restricted to a list of values")
        return
    old, new = ({json_values.canonical(value) for value in values} for values in (before, after))
    for value in before:
        if json_values.canonical(value) not in new:
            yield SchemaChange(direction="narrowed", text=f"{at}value {_shown(value)} not allowed any more")
    for value in after:
        if json_values.canonical(value) not in old:
            yield SchemaChange(direction="widened", text=f"{at}value {_shown(value)} allowed")


def _required(keyword: _Keyword) -> Iterator[SchemaChange]:
    before, after, at = keyword.before, keyword.after, keyword.at
    old, new = frozenset(before), frozenset(after)
    for each in after:
        if each not in old:
            yield SchemaChange(direction="narrowed", text=f"{at}{quoted(each)} required")
    for each in before:
        if each not in new:
            yield SchemaChange(direction="widened", text=f"{at}{quoted(each)} optional")


def _properties(keyword: _Keyword) -> Iterator[SchemaChange]:
    before, after, at = keyword.before, keyword.after, keyword.at
    others_before, others_after = map(_others, keyword.schemas)
    for each, schema in after.items():
        place = f"{at}{_step(each)}"
        if each in before:
            yield from keyword.compare(before[each], schema, place + ": ")
            continue
        if others_before is False:
            yield SchemaChange(direction="widened", text=f"{place} allowed")
            continue
        if others_before is None:
            yield SchemaChange(direction="changed", text=f"{place} has a schema of its own")
        elif others_before:
            yield from keyword.compare(others_before, schema, place + ": ")
        elif _whole(schema).keys() - _ANNOTATIONS:
            yield SchemaChange(direction="narrowed", text=f"{place} has a schema")
        if keyword.context.unevaluated:
            yield SchemaChange(direction="changed", text=f"{place} has a schema")
    for each, schema in before.items():
        if each in after:
            continue
        place = f"{at}{_step(each)}"
        if others_after is False:
            yield SchemaChange(direction="narrowed", text=f"{place} not allowed any more")
            continue
        if others_after is None:
            yield SchemaChange(direction="changed", text=f"{place} has no schema of its own any more")
        elif others_after:
            yield from keyword.compare(schema, others_after, place + ": ")
        elif _whole(schema).keys() - _ANNOTATIONS:
            yield SchemaChange(direction="widened", text=f"{place} has no schema any more")
        if keyword.context.unevaluated:
            yield SchemaChange(direction="changed", text=f"{place} has no schema any more")


def _others(schema: Mapping[str, Any]) -> Mapping[str, Any] | Literal[False] | None:
    """Return the schema to compare for properties that `properties` lacks; None if other keywords decide."""
    if "patternProperties" in schema:
        return None
    others = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
    if "additionalProperties" not in schema and others is not True and schema.keys() & _APPLICATORS:
        return None
    return False if others is False else _whole(others)


def _unevaluated(keyword: _Keyword) -> Iterator[SchemaChange]:
    name, before, after = keyword.name, keyword.before, keyword.after
    direction: Direction = "narrowed" if after is False else "widened" if before is False else "changed"
    yield SchemaChange(direction=direction, text=f"{keyword.at}{name} {_shown(before)} → {_shown(after)}")


def _not(keyword: _Keyword) -> Iterator[SchemaChange]:
    before, after, at = keyword.before, keyword.after, keyword.at
    if after in ({}, True):
        yield SchemaChange(direction="narrowed", text=f"{at}no value is allowed any more")
    elif before in ({}, True):
        yield SchemaChange(direction="widened", text=f"{at}values are allowed")
    else:
        yield SchemaChange(direction="changed", text=f'{at}"not" changed')


def _additional(keyword: _Keyword) -> Iterator[SchemaChange]:
    before, after, at = keyword.before, keyword.after, keyword.at
    if after is False:
        yield SchemaChange(direction="narrowed", text=f"{at}other properties not allowed any more")
    elif before is False:
        yield SchemaChange(direction="widened", text=f"{at}other properties allowed")
    else:
        yield from keyword.compare(before, after, f"{at}other properties: ")


def _items(keyword: _Keyword) -> Iterator[SchemaChange]:
    before, after, at = keyword.before, keyword.after, keyword.at
    if isinstance(before, list) or isinstance(after, list):  # of older drafts
        yield SchemaChange(direction="changed", text=f"{at}items changed")
    else:
        yield from keyword.compare(before, after, f"{at}items: ")


def _exclusive(keyword: _Keyword) -> Iterator[SchemaChange]:
    """Compare exclusive bounds; those of draft 4 are flags of `minimum` and `maximum`."""
    before, after, at = keyword.before, keyword.after, keyword.at
    if not isinstance(before, bool) and not isinstance(after, bool):
        yield from (_lower if keyword.name == "exclusiveMinimum" else _upper)(keyword)
    elif all(each is None or isinstance(each, bool) for each in (before, after)):
        if bool(before) != bool(after):
            yield _bound(before, after, f"{at}{keyword.name}", narrower=bool(after))
    else:
        yield SchemaChange(direction="changed", text=f"{at}{keyword.name} changed")


def _lower(keyword: _Keyword) -> Iterator[SchemaChange]:
    before, after, at = keyword.before, keyword.after, keyword.at
    narrower = before is None or (after is not None and after > before)
    yield _bound(before, after, f"{at}{keyword.name}", narrower=narrower)


def _upper(keyword: _Keyword) -> Iterator[SchemaChange]:
    before, after, at = keyword.before, keyword.after, keyword.at
    narrower = before is None or (after is not None and after < before)
    yield _bound(before, after, f"{at}{keyword.name}", narrower=narrower)


def _bound(before: Any, after: Any, name: str, *, narrower: bool) -> SchemaChange:
    text = f"{name} {_shown(before)} → {_shown(after)}"
    return SchemaChange(direction="narrowed" if narrower else "widened", text=text)


def _constraint(keyword: _Keyword) -> Iterator[SchemaChange]:
    name, (old, new) = keyword.name, keyword.schemas
    text = f"{keyword.at}{name} {_shown(keyword.before)} → {_shown(keyword.after)}"
    direction: Direction = "narrowed" if name not in old else "widened" if name not in new else "changed"
    yield SchemaChange(direction=direction, text=text)


def _unique(keyword: _Keyword) -> Iterator[SchemaChange]:
    before, after, at = keyword.before, keyword.after, keyword.at
    direction: Direction = "narrowed" if after else "widened"
    yield SchemaChange(direction=direction, text=f"{at}uniqueItems {_shown(before)} → {_shown(after)}")


def _branches(keyword: _Keyword) -> Iterator[SchemaChange]:
    """Compare the schemas of `allOf` and `anyOf`: only an alternative that is added or removed is certain.

    Their order has no effect.
    """
    before, after, at = keyword.before, keyword.after, keyword.at
    old, new = before or [], after or []
    known_old, known_new = ({json_values.canonical(each) for each in branches} for branches in (old, new))
    added = [each for each in new if json_values.canonical(each) not in known_old]
    removed = [each for each in old if json_values.canonical(each) not in known_new]
    if added and removed:
        if len(added) == len(removed) == 1 and len(old) == len(new):
            yield from keyword.compare(removed[0], added[0], f"{at}{keyword.name}: ")
        else:
            yield SchemaChange(direction="changed", text=f"{at}{keyword.name} changed")
        return
    if not added and not removed:
        return
    wider = bool(removed) if keyword.name == "allOf" else bool(added) and before is not None
    if keyword.name == "anyOf" and after is None:
        wider = True
    direction: Direction = "widened" if wider else "narrowed"
    yield SchemaChange(direction=direction, text=f"{at}{keyword.name} changed")
    if keyword.context.unevaluated:
        yield SchemaChange(direction="changed", text=f"{at}{keyword.name} changed")


def _definitions(keyword: _Keyword) -> Iterator[SchemaChange]:
    """Compare the definitions of both schemas; below a reversing keyword, their direction is not certain."""
    before, after, at, names = keyword.before, keyword.after, keyword.at, keyword.context.reversed
    for each in (before or {}).keys() & (after or {}).keys():
        for change in keyword.compare(before[each], after[each], f"{at}{printable(each)}: "):
            yield change
            if names is not None and each in names:
                yield SchemaChange(direction="changed", text=change.text)


def _step(name: str) -> str:
    return f"/{printable(shorten(name, 40))}"


def _shown(value: Any) -> str:
    """Return a value of a compared schema as short text."""
    return "none" if value is None else printable(shorten(json_values.to_json(value).strip('"'), 40))


_RULES: Final[dict[str, _Rule]] = {
    "type": _type,
    "enum": _enum,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "uniqueItems": _unique,
    "unevaluatedProperties": _unevaluated,
    "unevaluatedItems": _unevaluated,
    "not": _not,
    "allOf": _branches,
    "anyOf": _branches,
    "$defs": _definitions,
    "definitions": _definitions,
    "exclusiveMinimum": _exclusive,
    "exclusiveMaximum": _exclusive,
    **dict.fromkeys(_LOWER_BOUNDS, _lower),
    **dict.fromkeys(_UPPER_BOUNDS, _upper),
    **dict.fromkeys(_CONSTRAINTS, _constraint),
}
