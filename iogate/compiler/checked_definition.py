"""Definition of a workflow as the checks see it: its document, its program and the index of its elements."""

from __future__ import annotations

from dataclasses import dataclass

from iogate.compiler import program
from iogate.compiler.diagnostics import Document
from iogate.compiler.program import Program
from iogate.compiler.reader.index import Index
from iogate.json_values import JsonObject


@dataclass(frozen=True, slots=True)
class Definition:
    document: Document
    program: Program
    index: Index

    @property
    def loose(self) -> bool:
        """Whether each string of the definition may be an expression: `evaluate.mode: loose`."""
        return self._evaluate.get("mode") == "loose"

    @property
    def language(self) -> str:
        """Language of the definition's expressions: `evaluate.language`."""
        return str(self._evaluate.get("language", "jq"))

    @property
    def _evaluate(self) -> JsonObject:
        return self.document.data.get("evaluate") or {}


def read(document: Document) -> Definition:
    """Return the definition of a workflow as checks see it, from a document that is valid by its models."""
    found, index = program.read(document.data)
    return Definition(document, found, index)
