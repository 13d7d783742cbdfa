"""`emit`: creates a CloudEvent from the author's attributes and the defaults of the standard.

Called by `dispatch`. The event is published by the commit of its step. Its id is derived from the
idempotency key, so a repeated step emits the same event and receivers can deduplicate it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from iogate.compiler import tasks
from iogate.compiler.tasks import Task
from iogate.engine.commands import Emit
from iogate.engine.expression_scope import Scope, describe_time
from iogate.engine.interpreter.execution_context import ExecutionContext
from iogate.engine.state.frame import Frame
from iogate.errors import WorkflowError
from iogate.json_values import type_name
from iogate.security.one_time_links import EVENT

MOST = 100
"""Maximum number of events, or children, of one slice, to keep commits small."""
LONGEST = 2_048
"""Maximum length of an attribute: some are sent as headers, and no sink accepts longer ones."""

_TIME = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"
)
_FORMS = {
    "source": (re.compile(r"\S+"), "a URI reference, without spaces"),
    "dataschema": (re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+"), "an absolute URI"),
    "datacontenttype": (re.compile(r"[^\s/;]+/[^\s/;]+(\s*;.*)?"), "a media type such as application/json"),
    "time": (_TIME, "a time as in 2026-01-31T09:30:00Z"),
}
_NAME = re.compile(r"[a-z0-9]{1,64}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TEXTS = ("id", "source", "type", "subject", "datacontenttype", "dataschema", "time", "data_base64")
_NEEDED = ("id", "source", "type")
_DATA = ("data", "data_base64")


def begin(ctx: ExecutionContext, scope: Frame, task: Task, body: tasks.Emit, arguments: Scope) -> int | None:
    """Emit the event of an `emit` and complete the task; the output is the event's envelope.

    A task that fails in its `output` or `export` emits nothing, so that its repetition emits the event once.
    """
    reference, key = ctx.tree.effect_identity(scope, task, ctx.facts.uid)
    arguments.idempotency_key = key
    given = body.attributes.evaluate(arguments.input, arguments)
    head = ctx.program.definition["document"]
    event = envelope(
        given,
        id_=str(uuid.uuid5(uuid.NAMESPACE_URL, key)),
        source=f"/{head['namespace']}/{head['name']}/{head['version']}",
        now_ms=ctx.now_ms,
    )
    if str(event["type"]).startswith(EVENT):
        raise _invalid("type", f'must not begin with "{EVENT}": only the link of a run sends such an event')
    ctx.tree.count_definite_answer(scope)
    at = ctx.complete(ctx.tree[scope.id], task, arguments, event)
    ctx.emits.append(Emit(reference=reference, event=event, generated="id" not in given))
    if len(ctx.emits) >= MOST:
        ctx.end_slice()
    return at


def envelope(given: Any, *, id_: str, source: str, now_ms: int) -> dict[str, Any]:
    """Return the envelope of the event to emit, with the attributes in `given`; the rest are defaults.

    Raises WorkflowError `expression` for attributes that are invalid in a CloudEvent.
    """
    if not isinstance(given, Mapping):
        raise WorkflowError("expression", detail=f"emit.event.with must be an object, not {type_name(given)}")
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": id_,
        "source": source,
        "type": None,
        "time": describe_time(now_ms)["iso8601"],
    }
    kept = (*_NEEDED, "data")
    event |= {name: value for name, value in given.items() if value is not None or name in kept}
    for name, value in event.items():
        _check(name, value)
    if all(name in event for name in _DATA):
        raise _invalid("data", "must not be given together with data_base64")
    return event


def _check(name: str, value: Any) -> None:
    """Check an attribute of an event that `emit` creates, by the rules of `POST /v1/events`."""
    if name == "data":
        return
    if name == "specversion":
        if value != "1.0":
            raise _invalid(name, 'must be "1.0"')
    elif name in _TEXTS:
        if not isinstance(value, str):
            raise _invalid(name, f"must be text, not {type_name(value)}")
        if not value and name not in _DATA:
            raise _invalid(name, "must not be empty")
        form = _FORMS.get(name)
        if form and not form[0].fullmatch(value):
            raise _invalid(name, f"must be {form[1]}")
    elif not _NAME.fullmatch(name):
        raise _invalid(name, "must have a name of lower-case letters and digits")
    elif not isinstance(value, str | bool | int):
        raise _invalid(name, f"must be text, a whole number or a boolean, not {type_name(value)}")
    elif isinstance(value, int) and not -(2**31) <= value < 2**31:
        raise _invalid(name, "must be a whole number of 32 bits; write larger numbers as text")
    if isinstance(value, str) and name not in _DATA:
        if len(value) > LONGEST:
            raise _invalid(name, f"must have at most {LONGEST} characters")
        if _UNPRINTABLE.search(value):
            raise _invalid(name, "must be printable")


def _invalid(name: str, why: str) -> WorkflowError:
    return WorkflowError("expression", detail=f'attribute "{name}" of the event {why}')
