"""Check of plain text that looks like an expression without its `${ }`.

A guess, and so a warning: it is made only where an expression may stand, of text that jq compiles and that is
a path, a variable, or several parts of which one reads the input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from iogate import expressions as language
from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.expressions import literals
from iogate.compiler.diagnostics import CheckContext, warning_at
from iogate.documents.fixes import ReplaceText
from iogate.documents.problems import Problem
from iogate.expressions.reads import reads
from iogate.json_pointer import Pointer
from iogate.messages import quoted

_PATH: Final = re.compile(
    r"\.[A-Za-z_]\w*(?:\[\d*\])*(?:\.[A-Za-z_]\w*(?:\[\d*\])*)*(?P<more>\s*(?:\||//|==|!=|>=|<=|[<>+*-]).*)?"
)
_VARIABLE: Final = re.compile(r"\$(?P<name>[A-Za-z_]\w*)(?:[.\[|\s].*)?", re.DOTALL)
_TEMPLATE: Final = re.compile(r"\{\{-?\s*(?P<inner>[.$][^{}]*?)\s*-?\}\}")
_COMPOUND: Final = re.compile(r"""["(\[{]|if\s|(?P<call>[a-z_]\w*)\(""")
"""Beginning of an expression of several parts: few texts that begin like this compile as jq."""
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_MEMBER: Final = re.compile(r"\.[A-Za-z_]")
_ENDINGS: Final = re.compile(
    r"bak|bin|bz2|cfg|conf|css|csv|db|docx?|env|gif|git\w*|gz|html?|ini|jpe?g|jsx?|json\w*|log|lua|md|mp[34]"
    r"|parquet|pdf|pem|png|pptx?|py|rs|sh|sql|svg|tar|tgz|tmp|toml|tsx?|tsv|txt|wav|webp|xlsx?|xml|xz|ya?ml|zip|zst",
    re.IGNORECASE,
)
"""A lone `.csv` is the ending of a file."""
_OF_FILES: Final = frozenset(
    {"command", "code", "source", "image", "path", "file", "fileName", "filename", "extension", "ext"}
    | {"suffix", "selector", "domain", "pattern", "glob", "format"}
)
"""Keys of values that may begin with a dot."""
_LONGEST: Final = 200


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    if definition.language != "jq" or definition.loose:
        return
    for pointer, text, variables in literals(definition):
        meant = None if len(text) > _LONGEST else _meant(pointer, text.strip(), variables)
        if meant is not None:
            yield warning_at(
                definition.document,
                pointer,
                "IOG521",
                f"{quoted(text)} is plain text here, and looks like an expression",
                hint=f"if it is one, write ${{ {meant} }}",
                fix=ReplaceText(pointer=pointer, text=f"${{ {meant} }}"),
            )


def _meant(pointer: Pointer, text: str, variables: frozenset[str]) -> str | None:
    """Return the expression that a text with missing `${ }` probably is; None if it is probably none."""
    if _is_of_filter(pointer) or (pointer and pointer[-1] in _OF_FILES):
        return None
    if template := _TEMPLATE.fullmatch(text):
        text = template["inner"]
    elif path := _PATH.fullmatch(text):
        if path["more"] is None and _ENDINGS.fullmatch(text[1:]):
            return None
    elif _COMPOUND.match(text):
        return text if language.compiles(text) and _reads_data(text, variables) else None
    elif (variable := _VARIABLE.fullmatch(text)) is None or variable["name"] not in variables:
        return None
    return text if language.compiles(text) else None


def _reads_data(text: str, variables: frozenset[str]) -> bool:
    """Tell whether a text with missing `${ }` reads a member of its input, also as an argument."""
    named = bool(_MEMBER.search(_STRING.sub("", text)))  # `{id}` is a URI template
    found = [each for each in reads(text) if each.steps and not _ENDINGS.fullmatch(str(each.steps[-1]))]
    if any(each.variable is None or each.variable in variables for each in found):
        return named or text.startswith('"')
    call = _COMPOUND.match(text)
    return named and call is not None and call["call"] is not None


def _is_of_filter(pointer: Pointer) -> bool:
    """Tell whether a text without `${ }` is a pattern that an event is compared with."""
    return "with" in pointer and ("listen" in pointer or pointer[:1] == ("schedule",))
