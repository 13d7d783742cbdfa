"""Views of runs, decoded from the hash of a live run or the record of an ended run.

Used by `operations`. Pure. Invariant: both forms of a record give the same view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import pairs
from iogate.store.connection.packing import bytes_of
from iogate.store.integrity.seals import Facts, decode_facts
from iogate.store.runs.compression import inflate

TASK_BYTES: Final = 256
"""Bytes of one task in a response."""


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """View of one task of a run."""

    reference: str
    name: str
    status: str
    started_at_ms: int
    ended_at_ms: int | None
    attempt: int
    count: int


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """Full view of a run."""

    uid: str
    status: str
    state: str
    """window, lane, backlog, queue, woken, lease, timer, suspended, suspect or end."""
    api: str
    workflow: str
    program: str
    revision: int
    caller: str
    attempt: int
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    deadline_ms: int | None
    retention_s: float
    input: bytes
    output: bytes | None
    error: bytes | None
    waiting_for: bytes | None
    cancel_reason: str | None
    worker: str
    deaths: int
    tasks: tuple[TaskView, ...]
    parent: str | None = None
    """Uid of the parent that waits for it, or whose fault started it."""
    trace: str = ""
    """Trace context that is kept on it; its seal was not verified."""
    behind: tuple[str, ...] = ()
    """Uids of the runs with the places of its concurrency key, if it waits for one."""
    merged: int = 0
    """Number of further calls that it stands for, because its API coalesces calls."""
    attributes: dict[str, str] = {}
    """Attributes by which it is found."""
    unread: int = 0
    """Stored bytes of its data that were not read, since they are more than the reader wanted: the view then
    has no input and, if the run has ended, no output, error and tasks."""

    @property
    def data_bytes(self) -> int:
        """Memory that the data in this view of a run take: input, output, and tasks."""
        output = 0 if self.output is None or self.output is self.input else len(self.output)
        return len(self.input) + output + TASK_BYTES * len(self.tasks)

    @property
    def ended(self) -> bool:
        return self.status in keys.ENDED


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """View of a run in a list."""

    uid: str
    status: str
    api: str
    workflow: str
    revision: int
    caller: str
    attempt: int
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    state: str = "end"
    """State, as in RunView."""
    parent: str | None = None
    """Uid of the parent, as in RunView."""
    is_awaited: bool = False
    """Whether the parent waits for this run, or has waited; false for one that a fault started."""
    error: bytes | None = None
    cancel_reason: str | None = None
    attributes: dict[str, str] = {}


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """Packed record that `finish.lua` writes; the order of fields is that of `ended.lua`."""

    status: str
    api: str
    facts: str
    created: int
    started: int
    ended: int
    attempt: int
    token: int
    seq: int
    retention: int | str
    deaths: int
    reason: str
    input: str
    output: str
    error: str
    tasks: list[tuple[int, str, str, str, int, int, int, int]]
    journal: str
    big: int
    dropped: int = 0
    """Number of journal entries that were dropped for later ones."""
    posted: int = 0
    """Number of the last message in its inbox."""
    depth: int = 0
    parent: str = ""
    """Uid of the parent that waited for it."""
    key: str = ""
    """Hash of its concurrency key."""
    merged: int = 0
    """Number of further calls that it stands for."""
    files: str = ""
    """Id of its files; empty without any."""
    attributes: str = ""
    """Its attributes, as `traffic.packed_attributes` returns them; empty without any."""


SAME = "="
"""Stored output of an ended run whose output equals its input; a large value is stored once."""

ended_record = msgspec.msgpack.Decoder(Ended)
_rows = msgspec.msgpack.Decoder(list[tuple[int, str, str, str, int, int, int, int]])
_parked = msgspec.msgpack.Decoder(tuple[list[msgspec.Raw], list[msgspec.Raw], list[msgspec.Raw], msgspec.Raw])
_attributes_decoder = msgspec.json.Decoder(dict[str, str])
_row = msgspec.msgpack.Decoder(dict[str, Any])


class Parked(msgspec.Struct, frozen=True):
    """Parts of a folded run, as `live_view` takes them."""

    run: dict[str, bytes]
    tasks: dict[str, bytes]
    journal: list[bytes]


def unpack_parked(packed: bytes) -> Parked:
    """Unpack a run that `record.lua` has folded, for a view."""
    run, tasks, journal, _ = _parked.decode(packed)
    return Parked(
        pairs([bytes_of(part) for part in run]),
        pairs([bytes_of(part) for part in tasks]),
        [bytes_of(entry) for entry in journal],
    )


def head_summary(head: Sequence[bytes | int]) -> tuple[Summary, bool]:
    """Decode the head of a run, as `page.lua` returns it, and whether it has large parts.

    Raises ValueError or msgspec.MsgspecError for a head that iogate did not write.
    """
    (
        uid,
        status,
        api,
        packed,
        state,
        attempt,
        created,
        started,
        ended,
        parent,
        error,
        reason,
        big,
        attributes,
    ) = head
    facts = decode_facts(_text(packed))
    is_cancelled = status == b"cancelled"
    return Summary(
        uid=_text(uid),
        status=_text(status),
        api=_text(api),
        state=_text(state),
        workflow=facts.workflow,
        revision=facts.revision,
        caller=facts.caller,
        attempt=int(attempt),
        created_at_ms=int(created),
        started_at_ms=int(started) or None,
        ended_at_ms=int(ended) or None,
        parent=_text(parent) or _starter(facts),
        is_awaited=bool(_text(parent)),
        error=_text(error).encode() or None,
        cancel_reason=_text(reason) if is_cancelled else None,
        attributes=_attributes(_text(attributes)),
    ), int(big) == 1


def _text(value: bytes | int) -> str:
    if isinstance(value, int):
        raise ValueError("a text is a number")  # noqa: TRY004 - as other wrong data
    return value.decode()


def _starter(facts: Facts) -> str | None:
    """Return the run whose fault started the viewed one; None if there is none."""
    return facts.parent.partition("/")[0] or None


def live_view(uid: str, run: dict[str, bytes], rows: dict[str, bytes], unread: int = 0) -> RunView:
    facts = decode_facts(run["f"])
    tasks = sorted(
        ((reference, _row.decode(row)) for reference, row in rows.items()), key=lambda t: t[1]["o"]
    )
    reason = run.get("cxl")
    return RunView(
        uid=uid,
        status=run["st"].decode(),
        state=run["pl"].decode(),
        api=run["api"].decode(),
        workflow=facts.workflow,
        program=facts.program,
        revision=facts.revision,
        caller=facts.caller,
        attempt=int(run.get("att", 1)),
        created_at_ms=int(run["crt"]),
        started_at_ms=int(run["sta"]) if "sta" in run else None,
        ended_at_ms=None,
        deadline_ms=int(run["ddl"]) if "ddl" in run else None,
        retention_s=int(run["ret"]) / 1000,
        input=inflate(run.get("in", b"")),
        output=None,
        error=None,
        waiting_for=_waiting_for(run),
        cancel_reason=None if reason is None else reason.decode(),
        worker=run.get("wkr", b"").decode(),
        deaths=int(run.get("dth", 0)),
        tasks=tuple(
            _task(reference, r["n"], r["s"], r["b"], r["e"], r["a"], r["c"]) for reference, r in tasks
        ),
        parent=run.get("par", b"").decode() or _starter(facts),
        merged=int(run.get("mrg", 0)),
        trace=facts.trace,
        attributes=_attributes(run.get("at", b"").decode()),
        unread=unread,
    )


def _attributes(packed: str) -> dict[str, str]:
    """Decode the packed attributes of a run; none if another program has overwritten them."""
    try:
        return _attributes_decoder.decode(packed[packed.index("{") :])
    except (ValueError, msgspec.MsgspecError):
        return {}


def _waiting_for(run: dict[str, bytes]) -> bytes | None:
    match run["pl"]:
        case b"timer":
            return run.get("wt") or None
        case b"window":
            return b'{"kind":"coalesce","task":null,"until":%d}' % int(run["due"])
        case _:
            return None


def ended_view(uid: str, e: Ended, big: dict[str, bytes], unread: int = 0) -> RunView:
    facts = decode_facts(e.facts)
    rows = _rows.decode(big["tasks"]) if "tasks" in big else e.tasks
    data = inflate(big.get("input", e.input.encode()))
    return RunView(
        uid=uid,
        status=e.status,
        state="end",
        api=e.api,
        workflow=facts.workflow,
        program=facts.program,
        revision=facts.revision,
        caller=facts.caller,
        attempt=e.attempt,
        created_at_ms=e.created,
        started_at_ms=e.started or None,
        ended_at_ms=e.ended,
        deadline_ms=None,
        retention_s=int(e.retention) / 1000,
        input=data,
        output=(data if e.output == SAME else inflate(big.get("output", e.output.encode()))) or None,
        error=big.get("error", e.error.encode()) or None,
        waiting_for=None,
        cancel_reason=e.reason if e.status == "cancelled" else None,
        worker="",
        deaths=e.deaths,
        tasks=tuple(_task(*row[1:]) for row in rows),
        parent=e.parent or _starter(facts),
        merged=e.merged,
        trace=facts.trace,
        attributes=_attributes(e.attributes),
        unread=unread,
    )


def _task(
    reference: str, name: str, status: str, begun: int, ended: int, attempt: int, count: int
) -> TaskView:
    return TaskView(
        reference=reference,
        name=name,
        status=status,
        started_at_ms=int(begun),
        ended_at_ms=int(ended) or None,
        attempt=int(attempt),
        count=int(count),
    )
