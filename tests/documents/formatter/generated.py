"""Random YAML texts as careless authors write them: any indentation, style, comment and empty line."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

WORDS = st.sampled_from(
    [
        "a",
        "plain text",
        '${ .x // "y" }',
        "${ {a: .b} }",
        "yes",
        "on",
        "null",
        "~",
        "0123",
        "1.0",
        "1.0.3",
        "2024-01-01",
        "12:30",
        "- dash",
        "# hash",
        "a #b",
        "a: b",
        "it's",
        'say "x"',
        "back\\slash",
        "é ü 漢字",
        "😀",
        "x\ty",
        " lead",
        "trail ",
        "",
        "&a",
        "*a",
        "!t",
        "%d",
        "@x",
        "`q",
        "{b}",
        "[c]",
        "a,b",
        "-",
        "?",
        ":",
        "<<",
        "=",
        "two\nlines",
        "end\n",
        "\n",
        "a\n\nb",
        "  indented\nb",
        "x\u2028y",
        "x\x85y",
        "\u200b",
        "\ufeff",
        "\x07",
        "|",
        ">-",
        "x" * 130,
        "word " * 30 + "end",
        "line one\n\n\n",
        " \n",
        "\tx\n",
    ]
)
SAFE = st.sampled_from(
    ["a", "b1", "some words", "${ .x }", "https://x/y", "1", "2.5", "true", "~", "x-y", "é"]
)
COMMENTS = st.sampled_from(
    ["# one", "#two", "# iogate: ignore IOG512", "# é {x: 1}", "#", "# 'quote", "# a # b"]
)
KEYS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "'quoted key'",
    '"on"',
    "200",
    "document",
    "a b",
    "é",
    "$x",
    "/do/0/a",
]
ROOTS = [
    "module",
    "description",
    "auth",
    "methods",
    "timeout",
    "document",
    "input",
    "use",
    "do",
    "output",
    "schedule",
]


def quoted(draw: DrawFn, word: str) -> str:
    """A word in quotes, as the author may write it."""
    if "'" not in word and word.isprintable() and draw(st.booleans()):
        return f"'{word}'"
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return (
        '"'
        + "".join(
            escapes.get(char) or (char if char.isprintable() else f"\\u{ord(char):04x}") for char in word
        )
        + '"'
    )


class Writer:
    """Writes one document line by line."""

    def __init__(self, draw: DrawFn) -> None:
        self.draw = draw
        self.lines: list[str] = []
        self.anchors: list[str] = []

    def chance(self, of: int) -> bool:
        return self.draw(st.integers(0, of - 1)) == 0

    def noise(self, column: int) -> None:
        """Comments and empty lines between two entries."""
        for _ in range(self.draw(st.integers(0, 2)) if self.chance(3) else 0):
            if self.chance(2):
                self.lines.append(self.draw(st.sampled_from(["", "  ", "\t"])) if self.chance(2) else "")
            else:
                at = self.draw(st.sampled_from([0, column, column, column, column + 1, column + 3]))
                self.lines.append(" " * at + self.draw(COMMENTS))

    def comment(self) -> str:
        return " " * self.draw(st.integers(1, 3)) + self.draw(COMMENTS) if self.chance(4) else ""

    def properties(self) -> str:
        if self.chance(12):
            name = f"n{len(self.anchors)}"
            self.anchors.append(name)
            return f" &{name}"
        return ""

    def flow(self, depth: int, *, several: bool) -> str:
        kind = self.draw(st.integers(0, 5 if depth else 2))
        if kind <= 1:
            return self.draw(SAFE)
        if kind == 2:
            text = quoted(self.draw, self.draw(WORDS))
            return text.replace(" ", "\n" + " " * 12, 1) if several and self.chance(2) else text
        gap = "\n" + " " * 12 if several and self.chance(2) else " " if self.chance(2) else ""
        if several and self.chance(4):
            gap = " " + self.draw(COMMENTS) + "\n" + " " * 12
        count = self.draw(st.integers(0, 3))
        if kind == 3:
            parts = [self.flow(depth - 1, several=several) for _ in range(count)]
            return f"[{gap}" + f",{gap or ' '}".join(parts) + f"{gap}]"
        names = self.draw(st.permutations(KEYS))[:count]
        parts = [
            name if self.chance(6) else f"{name}: {self.flow(depth - 1, several=several)}" for name in names
        ]
        return f"{{{gap}" + f",{gap or ' '}".join(parts) + f"{gap}}}"

    def block_scalar(self, column: int, lead: str) -> None:
        header = self.draw(st.sampled_from(["|", ">", "|-", ">-", "|+", ">+"]))
        indent = column + self.draw(st.integers(1, 4))
        lines = self.draw(
            st.lists(
                st.sampled_from(["text", "  more", "# no comment", "a: b", "", "", "\ttab", "end  "]),
                max_size=5,
            )
        )
        if lines and (lines[0].startswith(" ") or not lines[0]):
            header = header[0] + str(indent - column) + header[1:]
        self.lines.append(f"{lead}{self.properties()} {header}{self.comment()}")
        self.lines += [" " * indent + line if line else "" for line in lines]

    def value(self, column: int, lead: str, depth: int) -> None:
        """The value behind a key or dash; `column` is that of the key or dash."""
        kind = self.draw(st.integers(0, 11 if depth else 7))
        if kind <= 2:
            self.lines.append(f"{lead}{self.properties()} {self.draw(SAFE)}{self.comment()}")
        elif kind == 3:
            self.lines.append(f"{lead} {quoted(self.draw, self.draw(WORDS))}{self.comment()}")
        elif kind == 4:
            several = self.chance(3)
            self.lines += f"{lead}{self.properties()} {self.flow(2, several=several)}{self.comment()}".split(
                "\n"
            )
        elif kind == 5:
            self.block_scalar(column, lead)
        elif kind == 6:
            style = self.draw(st.sampled_from(["{}", "'{}'", '"{}"']))
            text = "\n".join(
                [self.draw(st.sampled_from(["first", "${ .a", "x  "]))]
                + [
                    " " * (column + 3) + self.draw(st.sampled_from(["next", "| more }", ""]))
                    for _ in range(2)
                ]
                + [" " * (column + 2) + "last"]
            )
            self.lines += (lead + " " + style.format(text) + self.comment()).split("\n")
        elif kind == 7:
            if self.anchors and self.chance(2):
                self.lines.append(f"{lead} *{self.draw(st.sampled_from(self.anchors))}{self.comment()}")
            elif self.chance(3):
                self.lines += [lead + self.comment(), " " * (column + 2) + self.draw(COMMENTS)]
            elif self.chance(2):
                self.lines += [lead + self.comment(), " " * (column + 3) + self.draw(SAFE) + self.comment()]
            else:
                self.lines.append(f"{lead}{self.comment()}")
        elif kind <= 9:
            indent = column + self.draw(st.integers(1, 4))
            if lead.endswith("-") and self.chance(2):
                self.mapping(column + 2, depth - 1, first=lead + " ")
            else:
                self.lines.append(f"{lead}{self.properties()}{self.comment()}")
                self.mapping(indent, depth - 1)
        else:
            self.lines.append(f"{lead}{self.properties()}{self.comment()}")
            least = 1 if lead.endswith("-") else 0
            self.sequence(column + self.draw(st.integers(least, 3)), depth - 1)

    def mapping(self, column: int, depth: int, first: str = "", names: list[str] = KEYS) -> None:
        for name in self.draw(st.permutations(names))[: self.draw(st.integers(1, 4))]:
            if not first:
                self.noise(column)
            if self.chance(12):
                self.lines.append((first or " " * column) + "? " + name + self.comment())
                self.value(column, " " * column + ":", depth)
            else:
                self.value(column, (first or " " * column) + name + ":", depth)
            first = ""

    def sequence(self, column: int, depth: int) -> None:
        for _ in range(self.draw(st.integers(1, 3))):
            self.noise(column)
            self.value(column, " " * column + "-", depth)


@st.composite
def documents(draw: DrawFn) -> str:
    """The text of a mapping with the keys of documents, and others."""
    writer = Writer(draw)
    if writer.chance(6):
        writer.lines += draw(
            st.sampled_from([["---"], ["# top", "---"], ["%YAML 1.1", "---"], ["--- # here"]])
        )
    writer.noise(0)
    writer.mapping(0, 3, names=ROOTS)
    writer.noise(0)
    text = "\n".join(writer.lines) + draw(st.sampled_from(["\n", "\n", "", "\n\n\n"]))
    if writer.chance(6):
        text = text.replace("\n", "\r\n")
    return "\ufeff" + text if writer.chance(12) else text
