"""Redaction of journals, errors and details that a worker writes.

Used by `commit_builder`, `journal` and `secret_store`. Outputs are data of the author and stay unchanged; the
compiler warns of a workflow that copies a secret into its data. Invariant: a text that `scrub` returns
contains no known secret in any of the encodings of `iogate.security.redaction`.
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
        """Redact a text of a run, except for the standard's error types, which `catch` compares."""
        return text if text in STANDARD_TYPES else super().text(text)

    def scrub(self, value: Any) -> Any:
        """Redact all strings and keys of a JSON value of a run."""
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
        """Redact the error of an effect, and the request that its output repeats.

        `output: response` repeats the headers and query of the request; the response itself is data.
        """
        if self.idle:
            return performed
        if performed.error is not None:
            return replace(performed, error=self.error(performed.error))
        match perform.effect, performed.output:
            case CallHttp(output="response") | CallOpenApi(output="response"), {
                "request": request,
                **response,
            }:
                return replace(performed, output={"request": self.scrub(request), **response})
            case _:
                return performed

    def error(self, error: WorkflowError) -> WorkflowError:
        """Redact all texts of a run's error: it enters frames, and `catch` sees it."""
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
