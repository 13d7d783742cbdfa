"""Debug cases of the live APIs, and their comparison with the responses and runs of a gateway.

Used by `apis`, by the route that replays a debug case, and by `debug` over HTTP. Invariant: secrets are
redacted in a result, on both sides of the comparison.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from iogate.compiler.revision import Api, Example
from iogate.errors import NotFound
from iogate.json_values import differences
from iogate.messages import did_you_mean, listed, quoted
from iogate.security.redaction_patterns import redact
from iogate.store.runs import presentation
from iogate.store.runs.views import RunView

NO_CASE: Final = "IOG801"


def examples(api: Api) -> tuple[Example, ...]:
    """Return the debug cases that the revision keeps of an API; none has files, or headers that are input."""
    return () if isinstance(api.examples, msgspec.UnsetType) else api.examples


def find_case(api: Api, name: str) -> Example:
    """Return a debug case that the live revision keeps of an API, by its name.

    Raises NotFound if the revision keeps no such case.
    """
    known = {each.name: each for each in examples(api)}
    if name not in known:
        raise case_not_found(api.id, name, known)
    return known[name]


def case_not_found(api: str, name: str, known: Collection[str]) -> NotFound:
    """Return the error for a debug case that the revision does not keep; `known` are those that it keeps."""
    return NotFound(
        f"the live revision keeps no debug case {quoted(name)} of {api}{did_you_mean(name, known)}",
        code=NO_CASE,
        hint=f"it keeps {listed(map(quoted, known))}" if known else "it keeps none of this API",
    )


def case_failures(status: str, output: Any, error: Any, expect: Mapping[str, Any]) -> list[str]:
    """Return how the run of a live API's debug case differs from its expectation; empty if it does not.

    `expect` has the expected `output`, if any is expected.
    """
    if status != "completed":
        detail = f": {error['message']}" if error else ""
        return [f"status: expected completed, got {status}{detail}"]
    return list(differences(expect["output"], output)) if "output" in expect else []


def case_result(
    api: Api,
    case: Example,
    *,
    http: int,
    message: str = "",
    run: RunView | None = None,
    coalesced: bool = False,
    took_s: float = 0.0,
) -> dict[str, Any]:
    """Compare the response to a debug case, and its run, with the expectation, as `iogate debug` does.

    `passed` is None as long as the run has not ended; `coalesced`: earlier calls have started the run.
    Secrets are redacted on both sides.
    """
    failures: list[str] = []
    output, error = None, None
    expect = {} if case.output is msgspec.UNSET else {"output": case.output}
    if run is None:
        failures = [f"http: the request was refused with {http}: {message}"]
    elif run.ended:
        output = None if run.output is None else redact(json.loads(run.output))
        error = redact(presentation.error(run, operator=True))
        failures = case_failures(run.status, output, error, expect)
    is_open = run is not None and not run.ended
    return {
        "api": api.id,
        "name": case.name,
        "passed": None if is_open else not failures,
        "skipped": None,
        "http": http,
        "message": message or None,
        "uid": None if run is None else run.uid,
        "coalesced": coalesced,
        "status": None if run is None else run.status,
        "output": output,
        "error": error,
        "expect": expect,
        "failures": failures,
        "tookS": round(took_s, 3),
    }
