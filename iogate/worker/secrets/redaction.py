"""Redaction of what a worker writes for people: journal, errors, details.

Used by `run`, `journal` and `secret_store`. Outputs are the author's data and stay as they are; a workflow
that copies a secret into its data is warned of when it is compiled. Invariant: no text that went through
`scrub` holds a known secret in one of the forms of `iogate.security.redaction`, wherever in a text it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from iogate.engine.commands import CallHttp, CallOpenApi, Perform, Performed
from iogate.engine.errors import RaisedError
from iogate.errors import STANDARD_TYPES, WorkflowError
from iogate.security.redaction import Redactor


class Redaction(Redactor):
    """Redactor that knows errors, outcomes and JSON values."""

    def text(self, text: str) -> str:
        """Redact a text, except for the standard's error types, which `catch` compares."""
        return text if text in STANDARD_TYPES else super().text(text)

    def scrub(self, value: Any) -> Any:
        """A JSON value without secrets in its texts and keys."""
        if self.idle:
            return value
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self.text(str(key)): self.scrub(member) for key, member in value.items()}
            case list() | tuple():
                return [self.scrub(member) for member in value]
            case _:
                return value

    def outcome(self, perform: Perform, performed: Performed) -> Performed:
        """What an effect gave, clean where it is our word: its error, and the request it shows.

        `output: response` repeats what the author put into headers and query; the answer is data.
        """
        if self.idle:
            return performed
        if performed.error is not None:
            return replace(performed, error=self.error(performed.error))
        match perform.effect, performed.output:
            case CallHttp(output="response") | CallOpenApi(output="response"), {"request": request, **answer}:
                return replace(performed, output={"request": self.scrub(request), **answer})
            case _:
                return performed

    def error(self, error: WorkflowError) -> WorkflowError:
        """Redact all texts of an error: it enters frames, and `catch` sees it."""
        if self.idle:
            return error
        kind = RaisedError if isinstance(error, RaisedError) else WorkflowError
        return kind(
            self.text(error.type),
            status=error.status,
            title=None if error.title is None else self.text(error.title),
            detail=None if error.detail is None else self.text(error.detail),
            instance=error.instance,
            response=self.scrub(error.response),
            process=self.scrub(error.process),
            sent_to=self.scrub(error.sent_to),
        )
