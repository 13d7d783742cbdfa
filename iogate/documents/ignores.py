"""Ignore comments: `# iogate: ignore IOG504` switches a lint rule off at one place.

At the end of a line it applies to the problems of that line, on a line of its own to those of the next
line with content; `# iogate: ignore-file IOG504` before the first value applies to the whole file. Used by
every command that shows problems. Invariant: an error is never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from iogate.documents.problems import Problem, in_order
from iogate.documents.yaml.comments import Comment, comments
from iogate.documents.yaml.source import Source, Span
from iogate.messages import nearest, quoted
from iogate.settings.lint_rules import INVALID_IGNORE, LINT_RULES, OFF, PARTLY_WARNINGS

_WANTED: Final = re.compile(r"(?<!#)#+\s*iogate\s*:", re.IGNORECASE)
"""Begin of an ignore comment; without the lookbehind, a search would try each `#` of a row up to its end."""
_DIRECTIVE: Final = re.compile(
    r"#+\s*iogate\s*:\s*(?P<word>[A-Za-z-]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
_CODE: Final = re.compile(r"[\s,]*(?P<code>I[O0]G[0-9]\w*)", re.IGNORECASE)
_WORDS: Final = ("ignore", "ignore-file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """One code of an ignore comment."""

    comment: Comment
    code: str
    whole_file: bool
    span: Span
    """Position of the code."""

    def without(self) -> str:
        """Return the text of an ignore comment without this code; empty if no other code remains."""
        parsed = _DIRECTIVE.fullmatch(self.comment.text.rstrip())
        assert parsed is not None, "the comment was read with this pattern"
        start = parsed.start("rest")
        codes = [code for code, _ in _codes(parsed["rest"], self.comment, start) if code != self.code]
        if not codes:
            return ""
        at = 0
        while found := _CODE.match(parsed["rest"], at):
            at = found.end()
        return f"{self.comment.text[:start]} {', '.join(codes)}{parsed['rest'][at:]}"


class _Places:
    """Ignore comments of one file, by the problems that they apply to."""

    def __init__(self, ignores: Iterable[Ignore]) -> None:
        self._whole: dict[str, list[Ignore]] = {}
        self._lines: dict[tuple[str, int], list[Ignore]] = {}
        self._ranges: dict[str, dict[range, list[Ignore]]] = {}
        """Those of texts over several lines."""
        for each in ignores:
            lines = each.comment.applies_to
            if each.whole_file:
                self._whole.setdefault(each.code, []).append(each)
            elif len(lines) == 1:
                self._lines.setdefault((each.code, lines[0]), []).append(each)
            else:
                self._ranges.setdefault(each.code, {}).setdefault(lines, []).append(each)

    def covering(self, problem: Problem) -> list[Ignore]:
        """Return the ignore comments of a file that apply to a problem."""
        found = [
            *self._whole.get(problem.code, ()),
            *self._lines.get((problem.code, problem.line), ()),
        ]
        for lines, ignores in self._ranges.get(problem.code, {}).items():
            if problem.line in lines:
                found += ignores
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignores:
    """Ignore comments of all files, by path."""

    valid: Mapping[str, tuple[Ignore, ...]]
    problems: tuple[Problem, ...]
    """Problems of comments that ignore nothing because they are wrong."""

    def split(
        self, problems: Iterable[Problem], lint: Mapping[str, str]
    ) -> tuple[list[Problem], frozenset[Ignore]]:
        """Return the problems that no comment ignores, and the comments that removed one.

        `lint` is the setting: a rule that it makes an error cannot be ignored; one that is off is not shown.
        """
        shown: list[Problem] = []
        used: set[Ignore] = set()
        places = {path: _Places(ignores) for path, ignores in self.valid.items()}
        for problem in problems:
            level = lint.get(problem.code, problem.severity)
            if problem.severity == "error" or level == "error":
                shown.append(problem)
            elif level != OFF:
                covering = places[problem.path].covering(problem) if problem.path in places else []
                used.update(covering)
                shown += [] if covering else [problem]
        return shown, frozenset(used)


def directive(comment: str) -> str:
    """Return `ignore` or `ignore-file` for an ignore comment, from its `#` on; an empty text for another."""
    found = _DIRECTIVE.match(comment)
    word = found["word"].lower() if found is not None else ""
    return word if word in _WORDS else ""


def without_ignored(
    problems: Iterable[Problem], sources: Mapping[str, Source], lint: Mapping[str, str]
) -> tuple[Problem, ...]:
    """Return the problems without the warnings that a comment ignores or the setting `lint` turns off."""
    return in_order(read_ignores(sources).split(problems, lint)[0])


def read_ignores(sources: Mapping[str, Source]) -> Ignores:
    """Read the ignore comments of all files that could be read as YAML."""
    valid: dict[str, tuple[Ignore, ...]] = {}
    problems: list[Problem] = []
    for path, source in sources.items():
        if not source.read or not _WANTED.search(source.text):
            continue
        found: list[Ignore] = []
        for comment in comments(source, _WANTED):
            for each in _read(comment, source):
                if isinstance(each, Ignore):
                    found.append(each)
                else:
                    problems.append(each)
        if found:
            valid[path] = tuple(found)
    return Ignores(valid=valid, problems=tuple(problems))


def _read(comment: Comment, source: Source) -> Iterator[Ignore | Problem]:
    parsed = _DIRECTIVE.fullmatch(comment.text.rstrip())
    assert parsed is not None, "comments() yields only what begins like a directive"
    word, rest = parsed["word"].lower(), parsed["rest"]
    codes = list(_codes(rest, comment, parsed.start("rest")))
    if word not in _WORDS:
        meant = nearest(word, _WORDS)
        if meant is not None or codes:
            # Other comments may begin with the name of the product.
            message = f"{quoted(word)} is no directive of a comment"
            span = Span(comment.line, comment.column + parsed.start("word"), max(len(word), 1))
            yield _invalid(source, span, message, f'did you mean "{meant or "ignore"}"?')
        return
    whole = Span(comment.line, comment.column, len(comment.text.rstrip()))
    if not codes:
        hint = "write # iogate: ignore IOG504, and then a reason if you like"
        yield _invalid(source, whole, "the comment names no lint rule to ignore", hint)
    if word == "ignore-file" and not comment.leading:
        hint = "move it to the top of the file, or write ignore"
        yield _invalid(source, whole, '"ignore-file" must be before the first key of the file', hint)
        return
    for code, span in codes:
        if code not in LINT_RULES and code not in PARTLY_WARNINGS:
            yield _unknown(source, code, span)
        else:
            yield Ignore(comment=comment, code=code, whole_file=word == "ignore-file", span=span)


def _codes(text: str, comment: Comment, start: int) -> Iterator[tuple[str, Span]]:
    """Yield the codes of an ignore comment; its text begins `start` characters after the `#`."""
    at = 0
    while found := _CODE.match(text, at):
        column = comment.column + start + found.start("code")
        yield found["code"].upper(), Span(comment.line, column, len(found["code"]))
        at = found.end()


def _unknown(source: Source, code: str, span: Span) -> Problem:
    if re.fullmatch(r"IOG[1-46]\d\d", code):
        return _invalid(
            source, span, f"{code} prevents an apply, so no comment can ignore it", "correct its cause"
        )
    digits = "IOG" + code[len("IOG") :].replace("O", "0")
    meant = digits if digits in LINT_RULES else nearest(code, LINT_RULES)
    hint = f'did you mean "{meant}"?' if meant else 'list the codes with "iogate explain"'
    return _invalid(source, span, f"no lint rule has the code {quoted(code)}", hint)


def _invalid(source: Source, span: Span, message: str, hint: str) -> Problem:
    return Problem.at(
        span, path=source.path, code=INVALID_IGNORE, message=message, hint=hint, severity="warning"
    )
