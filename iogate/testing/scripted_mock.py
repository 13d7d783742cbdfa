"""Mocks of a debug case: results in order, each with an optional expectation of the request.

Used by `case_replay` and `schedule_replay`. Invariant: a difference is a failure of the case and does not
change the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from iogate.effects.effect_files import with_empty_files
from iogate.effects.http.request import Request, build_request
from iogate.engine.commands import CallHttp, Perform, StartChild
from iogate.errors import WorkflowError
from iogate.http_syntax import media_type
from iogate.json_values import differences, short_json
from iogate.testing.outcome import Mock

if TYPE_CHECKING:
    from iogate.documents.debug_cases import Mock as StoredMock
    from iogate.documents.debug_cases import RequestExpectation


class ScriptedMock:
    """Mock of one task: one result for all attempts, or one per attempt."""

    def __init__(self, reference: str, answers: Sequence[StoredMock]) -> None:
        self._reference = reference
        self._answers = answers
        self._asked = 0
        self._failures: list[str] = []

    def __call__(self, asked: Perform | StartChild) -> Mock:
        self._asked += 1
        number = min(self._asked, len(self._answers))
        answer = self._answers[number - 1]
        if self._asked > len(self._answers) > 1:
            self._failures.append(
                f"{self._reference}: attempt {self._asked}, but there are {len(self._answers)} mocks"
            )
        elif answer.expect_request is not None:
            at = self._reference if len(self._answers) == 1 else f"{self._reference}[{number - 1}]"
            self._failures += _unlike(f"{at}: request", answer.expect_request, asked)
        return Mock(output=answer.output, error=None if answer.error is None else answer.error.to_json())

    def failures(self) -> list[str]:
        """Return the differences from requests that a mock expects, and its unused results."""
        unused = len(self._answers) - self._asked
        if unused > 0 and len(self._answers) > 1:
            return [
                *self._failures,
                f"{self._reference}: {unused} of {len(self._answers)} mocks were not used",
            ]
        if not self._asked and any(each.expect_request is not None for each in self._answers):
            return [*self._failures, f"{self._reference}: the expected request was not sent"]
        return self._failures


def scripted(stored: Mapping[str, Sequence[StoredMock]] | None) -> dict[str, ScriptedMock]:
    """Return the scripted mocks of a debug case, by the reference of their task."""
    return {reference: ScriptedMock(reference, answers) for reference, answers in (stored or {}).items()}


def _unlike(at: str, expected: RequestExpectation, asked: Perform | StartChild) -> list[str]:
    if not isinstance(asked, Perform) or not isinstance(asked.effect, CallHttp):
        return [f"{at}: expectRequest is for tasks that call http"]
    call = asked.effect
    try:
        request = build_request(with_empty_files(call), idempotency_key=asked.idempotency_key)
    except WorkflowError as error:
        return [f"{at}: cannot be sent: {error.detail}"]
    found: list[str] = []
    for name, wanted, sent in (
        ("method", (expected.method or request.method).upper(), request.method),
        ("url", expected.url, str(request.url.with_query(None))),
        ("path", expected.path, request.url.path),
    ):
        if wanted is not None and wanted != sent:
            found.append(f"{at}.{name}: expected {short_json(wanted)}, got {short_json(sent)}")
    for name, value in (expected.query or {}).items():
        values = [_text(each) for each in (value if isinstance(value, list) else [value])]
        if request.url.query.getall(name, []) != values:
            found.append(_apart(f"{at}.query.{name}", values, request.url.query.getall(name, [])))
    for name, text in (expected.headers or {}).items():
        if not _is_equal(name, text, request.headers.get(name)):
            found.append(_apart(f"{at}.headers.{name}", [text], request.headers.getall(name, [])))
    if expected.has_body:
        found += differences(expected.body, _body(call, request), f"{at}.body")
    return found


def _is_equal(name: str, expected: str, sent: str | None) -> bool:
    """Compare a header with a scripted mock's; of a Content-Type without parameters, the media type."""
    if sent is not None and name.lower() == "content-type" and ";" not in expected:
        return media_type(sent) == media_type(expected)
    return sent == expected


def _body(call: CallHttp, request: Request) -> Any:
    """Return the body of a call to compare with a scripted mock; for a form, the object of its fields."""
    if not call.has_body:
        return None
    return call.body if not isinstance(call.body, bytes) else (request.body or b"").decode(errors="replace")


def _apart(at: str, expected: list[str], sent: list[str]) -> str:
    got = ", ".join(short_json(each) for each in sent)
    wanted = ", ".join(short_json(each) for each in expected)
    return f"{at}: expected {wanted}, got {got}" if sent else f"{at}: expected {wanted}, it is missing"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
