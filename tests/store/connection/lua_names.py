"""Names of a Lua chunk: those that it defines at its top level, and those that it uses and does not define.

Used by the tests of scripts. Lua finds a missing function only when a line that calls it runs, and most lines
of a script run rarely. Reads Lua 5.1 by its tokens and blocks; a local variable counts as defined from its
declaration on, also in its own value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""--\[\[.*?\]\]|--[^\n]*                                 # comments
    | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \[\[.*?\]\]      # texts
    | (?P<name>[A-Za-z_]\w*) | (?P<number>\d[\w.]*) | (?P<mark>\.\.\.|\.\.|[=~<>]=|\S)""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = frozenset(
    re.findall(
        r"\w+",
        "and break do else elseif end false for function if in local nil not or repeat return then true "
        "until while",
    )
)
GIVEN = frozenset(
    re.findall(
        r"\w+",
        "KEYS ARGV redis cmsgpack cjson struct bit string table math os tonumber tostring type pairs ipairs "
        "next unpack select error pcall assert",
    )
)
"""Names that the server defines."""


@dataclass
class Names:
    """Names of a chunk."""

    defined: set[str] = field(default_factory=set)
    """Local variables and functions of the top level."""
    free: set[str] = field(default_factory=set)
    """Names that neither the chunk nor the server defines."""


def names_of(text: str) -> Names:
    """Return the names of a chunk."""
    return _Reader(list(_tokens(text))).read()


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Yield each token with the number of its line."""
    for match in _TOKEN.finditer(text):
        if match.lastgroup is not None:
            yield match[0], text.count("\n", 0, match.start())


def _is_name(token: str) -> bool:
    return token not in _WORDS and (token[0].isalpha() or token[0] == "_")


class _Reader:
    def __init__(self, tokens: list[tuple[str, int]]) -> None:
        self._tokens, self._at = [*(token for token, _ in tokens), ""], 0
        self._lines = [*(line for _, line in tokens), -1]
        self._found = Names()
        self._scopes: list[set[str]] = [self._found.defined]
        self._brackets: list[str] = []

    def read(self) -> Names:
        while self._at < len(self._tokens) - 1:
            self._step()
        assert len(self._scopes) == 1, "blocks that do not end"
        return self._found

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _step(self) -> None:
        before = self._tokens[self._at - 1] if self._at else ""
        token = self._next()
        match token:
            case "local":
                self._local()
            case "function":
                self._function()
            case "for":
                names = self._list_of_names()
                self._until_do(names)
            case "while":
                self._until_do([])
            case "do" | "then" | "repeat":
                self._scopes.append(set())
            case "elseif" | "end":
                self._scopes.pop()
            case "until":
                # The condition, which ends with its line, still sees the variables of the block.
                line = self._lines[self._at - 1]
                while self._lines[self._at] == line:
                    self._step()
                self._scopes.pop()
            case "else":
                self._scopes[-1] = set()
            case "(" | "{" | "[":
                self._brackets.append(token)
            case ")" | "}" | "]":
                self._brackets.pop()
            case _:
                self._use(token, before)

    def _use(self, token: str, before: str) -> None:
        if not token or not _is_name(token) or before in (".", ":"):
            return
        is_key = self._brackets[-1:] == ["{"] and before in ("{", ",", ";") and self._tokens[self._at] == "="
        if not is_key and token not in GIVEN and not any(token in scope for scope in self._scopes):
            self._found.free.add(token)

    def _list_of_names(self) -> list[str]:
        names = [self._next()]
        while self._tokens[self._at] == ",":
            self._next()
            names.append(self._next())
        return names

    def _local(self) -> None:
        if self._tokens[self._at] == "function":
            self._next()
            self._scopes[-1].add(self._tokens[self._at])
            self._function()
        else:
            self._scopes[-1].update(self._list_of_names())

    def _function(self) -> None:
        before = ""
        while self._tokens[self._at] != "(":
            token = self._next()
            self._use(token, before)
            before = token
        self._next()
        names = set()
        while (token := self._next()) != ")":
            if _is_name(token):
                names.add(token)
        self._scopes.append(names)

    def _until_do(self, names: list[str]) -> None:
        while self._tokens[self._at] != "do":
            self._step()
        self._next()
        self._scopes.append(set(names))
