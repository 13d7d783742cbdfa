"""Validation process of a gateway: validates large requests outside of the event loop.

Started by `validator` as `python -m iogate.gateway.validation.validation_process`. It reads jobs from
standard input and writes one result per job to standard output, as msgpack (see `child_process`).
Decoder and validator hold the interpreter lock while they run, and a schema may make a small body costly.
Invariants: a job that takes too much processor time ends this process, one that takes too much memory is
refused, and the process ends with its gateway.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from iogate.gateway.child_process import read_message, write_message
from iogate.gateway.events import cloudevents
from iogate.gateway.http.responses import HTTPError
from iogate.gateway.validation import call_input, link_data
from iogate.gateway.validation.call_input import Input, Sent
from iogate.gateway.validation.input_keys import Tokens
from iogate.gateway.validation.link_data import LinkData
from iogate.gateway.validation.schema import Schema
from iogate.store.runs import presentation

CPU_S: Final = 2.0
CPU_S_PER_MIB: Final = 1.0
MEMORY_BYTES: Final = 8 * 1024 * 1024
MEMORY_PER_BYTE: Final = 64
"""Objects of two bytes take 30 times as much once they are decoded, and a redacted copy as much again."""
KEPT_BYTES: Final = 16 * 1024 * 1024
"""Growth in memory after which the process is replaced."""
SCHEMAS: Final = 256
"""Limit of cached schemas; when it is reached, the process drops all of them."""
_MIB: Final = 1024 * 1024

TOO_COSTLY: Final = (400, "requestError.invalidParams", "The input takes too much time or memory to validate")


class CallJob(msgspec.Struct, frozen=True, kw_only=True, tag="call"):
    """Job: validate the request of a call; `digest` is that of the schema, `schema` its JSON if it is new."""

    sent: Sent
    digest: str
    schema: bytes | None
    fingerprint: bool
    pointers: tuple[Tokens, ...] = ()
    attributes: tuple[Tokens, ...] = ()


class EventsJob(msgspec.Struct, frozen=True, kw_only=True, tag="events"):
    """Job: validate the CloudEvents of a request."""

    headers: dict[bytes, bytes]
    repeated: frozenset[bytes]
    body: bytes


class LinkJob(msgspec.Struct, frozen=True, kw_only=True, tag="link"):
    """Job: validate the data of a request for a one-time link; `form` is its JSON Schema, as JSON."""

    body: bytes
    content_type: bytes
    form: bytes


class RedactJob(msgspec.Struct, frozen=True, kw_only=True, tag="redact"):
    """Job: redact a stored input for a response."""

    input: bytes


class Redacted(msgspec.Struct, frozen=True, kw_only=True, tag="redacted"):
    """An input as JSON without secrets."""

    json: bytes


class Events(msgspec.Struct, frozen=True, kw_only=True, tag="events"):
    """Valid events, each as JSON."""

    events: list[bytes]


class UnknownSchema(msgspec.Struct, frozen=True, kw_only=True, tag="unknown"):
    """The process needs the schema of the job."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal"):
    """An error response."""

    status: int
    code: str
    message: str


class Defect(msgspec.Struct, frozen=True, kw_only=True, tag="defect"):
    """An unexpected exception, for the log of the gateway."""

    traceback: str


Outcome = Input | Events | LinkData | Redacted | Refusal | Defect


class Result(msgspec.Struct, frozen=True, kw_only=True):
    outcome: Outcome | UnknownSchema
    last: bool = False
    """True if the process ends after this result."""


Job = CallJob | EventsJob | LinkJob | RedactJob

_decode_job = msgspec.msgpack.Decoder(Job).decode
_encode_result = msgspec.msgpack.Encoder().encode
_schemas: dict[str, Schema | None] = {}


def perform(job: Job) -> Outcome | UnknownSchema:
    """Perform a job of the validation process."""
    try:
        match job:
            case CallJob():
                if job.schema is None and job.digest not in _schemas:
                    return UnknownSchema()
                schema = _schema(job.digest, job.schema, files=job.sent.files)
                return call_input.read(
                    job.sent,
                    schema,
                    fingerprint=job.fingerprint,
                    pointers=job.pointers,
                    attributes=job.attributes,
                )
            case EventsJob():
                return Events(events=cloudevents.read(job.headers, job.repeated, job.body))
            case LinkJob():
                form = msgspec.json.decode(job.form)
                of_form = None if form is None else Schema(form)
                return link_data.read(job.body, job.content_type, form, of_form)
            case RedactJob():
                return Redacted(json=presentation.redacted(job.input))
    except HTTPError as failed:
        response = failed.response
        return Refusal(status=response.status, code=response.code, message=response.message)
    except BaseException as error:  # noqa: BLE001 - the gateway logs it
        # The validator panics without memory; its PanicException is not an Exception.
        if not isinstance(error, MemoryError) and type(error).__name__ != "PanicException":
            return Defect(traceback=traceback.format_exc())
        status, code, message = TOO_COSTLY
        return Refusal(status=status, code=code, message=message)


def _schema(digest: str, given: bytes | None, *, files: bool) -> Schema | None:
    if given is not None:
        if len(_schemas) >= SCHEMAS:
            _schemas.clear()
        document = msgspec.json.decode(given)
        _schemas[digest] = None if document in (None, True) else Schema(document, files=files)
    return _schemas[digest]


class _Bounds:
    """Limits of processor time, and of memory beyond that in use before each job."""

    def __init__(self) -> None:
        self._resident = _memory()[1]

    def set(self, size: int) -> None:
        """Set the limits of the validation process for the next job by the size of its request."""
        signal.setitimer(signal.ITIMER_PROF, CPU_S + CPU_S_PER_MIB * size / _MIB)
        virtual = _memory()[0]
        if virtual:
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            soft = virtual + MEMORY_BYTES + MEMORY_PER_BYTE * size
            resource.setrlimit(resource.RLIMIT_AS, (soft if hard < 0 else min(soft, hard), hard))

    def clear(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    @property
    def outgrown(self) -> bool:
        """Tell whether this validation process has used so much memory that it should be replaced."""
        return _memory()[1] > self._resident + KEPT_BYTES


def _memory() -> tuple[int, int]:
    """Return virtual and resident bytes of the validation process; without /proc, 0 and the peak."""
    with contextlib.suppress(OSError), Path("/proc/self/statm").open(encoding="ascii") as file:
        virtual, resident = file.read().split()[:2]
        return int(virtual) * resource.getpagesize(), int(resident) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 0, peak if sys.platform == "darwin" else peak * 1024


def serve(jobs: BinaryIO, results: BinaryIO) -> None:
    """Perform jobs as the validation process until the gateway closes the connection."""
    bounds = _Bounds()
    while (body := read_message(jobs)) is not None:
        bounds.set(len(body))
        outcome = perform(_decode_job(body))
        bounds.clear()
        last = bounds.outgrown
        write_message(results, _encode_result(Result(outcome=outcome, last=last)))
        if last:
            return


def main() -> int:
    # A terminal sends its interrupt to the whole group, but the gateway decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)
    # Values have no cycles.
    gc.disable()
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
