"""The compiled revision, which `apply` publishes and gateways and workers load.

Made by `compile`, read by gateway, reconcile and cli. Immutable, without a secret in clear, and
encoded in one canonical form whose SHA-256 is its digest: equal files give equal digests.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal
from urllib.parse import quote, unquote

import msgspec

from iogate.auth.allow_ips import AllowedAddresses
from iogate.auth.model import EnvSecret, FileSecret, StoredAuth
from iogate.compiler.schedules import Schedule
from iogate.url_paths import Mode

Verb = Literal["GET", "POST"]
Record = Literal["errors", "all", "none"]
"""Tasks whose input and output the journal of a run keeps."""

DEFAULT_HEADER = "Idempotency-Key"
"""Header of the idempotency key where the API names neither a header nor a pointer."""
PRIORITY = 5
"""Priority of the runs of an API that declares none."""
RETENTION_S = 604_800.0
"""How long a finished run is kept where its API does not say: seven days."""


class Concurrency(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    """Place of the key in the input, as a JSON Pointer."""
    limit: int = 1
    """Runs of one key that have a place at once."""


class Coalesce(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    """Place of the key in the input, as a JSON Pointer."""
    window_s: float
    max_s: float


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    body: int = 1024 * 1024
    """Bytes."""
    rate: float | None = None
    """Calls a second over all gateways; absent: unlimited."""
    burst: int | None = None
    """Calls at once before `rate` bites; absent: one second's worth, at least one."""
    queued: int = 10_000
    """Runs accepted and not yet ended that wait to be taken."""
    running: int | None = None
    """Runs held by workers at once; absent: unlimited."""
    per: Literal["caller", "address"] | msgspec.UnsetType = msgspec.UNSET
    """What rate and burst count by; absent: the API."""
    concurrency: Concurrency | msgspec.UnsetType = msgspec.UNSET
    """Absent: no key. Absent, as the ones below, so that the digests of earlier releases stay valid."""
    on_full: Literal["replace"] | msgspec.UnsetType = msgspec.UNSET
    priority: int | msgspec.UnsetType = msgspec.UNSET
    """Absent: PRIORITY."""

    @property
    def of_key(self) -> Concurrency | None:
        """The limit `concurrency` of an API in the revision, with its default."""
        return None if isinstance(self.concurrency, msgspec.UnsetType) else self.concurrency

    @property
    def replaces(self) -> bool:
        """Whether a full queue of an API in the revision cancels its oldest run and accepts the call."""
        return self.on_full == "replace"

    @property
    def rank(self) -> int:
        """The limit `priority` of an API in the revision, with its default."""
        return PRIORITY if isinstance(self.priority, msgspec.UnsetType) else self.priority

    @property
    def counted_by(self) -> str:
        """The limit `per` of an API in the revision, with its default."""
        return "api" if isinstance(self.per, msgspec.UnsetType) else self.per


class Idempotency(msgspec.Struct, frozen=True, kw_only=True):
    header: str | None = DEFAULT_HEADER
    """None: the key is only at `pointer`."""
    ttl_s: float = 86_400.0
    pointer: str | msgspec.UnsetType = msgspec.UNSET
    """Place of the key in the input, as a JSON Pointer."""
    required: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    """Whether a call without a key is refused. Absent, like `pointer`, so that earlier digests stay valid."""

    @property
    def key_pointer(self) -> str | None:
        """The `pointer` of `idempotency` of an API in the revision, with its default."""
        return None if isinstance(self.pointer, msgspec.UnsetType) else self.pointer

    @property
    def is_required(self) -> bool:
        """The value `required` of `idempotency` of an API in the revision, with its default."""
        return self.required is True


class Example(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Call of an API that its documentation shows, without secrets."""

    name: str
    verb: Verb
    query: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    body: Any = msgspec.UNSET
    output: Any = msgspec.UNSET
    """Output of the run."""


End = Literal["cancelled", "completed", "faulted"]
"""Status of an ended run."""
ENDS: tuple[End, ...] = ("cancelled", "completed", "faulted")


class Callback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Request to a receiver at the end of a run."""

    url: str = ""
    """Empty: the caller names it."""
    allow: tuple[str, ...] = ()
    """Hosts that a caller may name."""
    secret: EnvSecret | FileSecret
    """Of the signature; resolved by workers."""
    on: tuple[End, ...] = ENDS


class FaultHandler(msgspec.Struct, frozen=True, kw_only=True):
    """Workflow that the fault of a run starts."""

    workflow: str
    """`namespace/name:version`, resolved."""
    program: str


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the files that a call may have; in bytes, except `count`."""

    size: int
    total: int
    count: int


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one module, with every default filled in."""

    id: str
    """`module/method`."""
    description: str = ""
    verbs: tuple[Verb, ...] = ("POST",)
    path: str | msgspec.UnsetType = msgspec.UNSET
    """Additional URL path. Absent: none, so that the digests of earlier releases stay valid."""
    mode: Literal["sync"] | msgspec.UnsetType = msgspec.UNSET
    """Response at `path`. Absent: `async`."""
    workflow: str
    """`namespace/name:version`, resolved."""
    program: str
    """Digest of the workflow's definition: what a run of this API is pinned to."""
    enabled: bool | None = None
    """What git says; None leaves it to `iogate enable`, starting disabled."""
    auth: StoredAuth
    input_from: Literal["body", "request"] = "body"
    input_schema: Any = None
    """JSON Schema 2020-12 by which the gateway validates the input; None: all input is valid."""
    files: Files | msgspec.UnsetType = msgspec.UNSET
    """Absent: the input has the content of a file. Absent, like `raw`, so that earlier digests stay valid."""
    raw: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    """Whether the input has the body as a file."""
    limits: Limits = Limits()
    idempotency: Idempotency = Idempotency()
    coalesce: Coalesce | msgspec.UnsetType = msgspec.UNSET
    attributes: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    """Name of each attribute to the pointer of its value in the input. Absent: none."""
    timeout_s: float | None = None
    retention_s: float = RETENTION_S
    record: Literal["all", "none"] | msgspec.UnsetType = msgspec.UNSET
    """Absent: `errors`, so that the digests of earlier releases stay valid."""
    allow_ips: AllowedAddresses | msgspec.UnsetType = msgspec.UNSET
    """Absent: every address may call."""
    examples: tuple[Example, ...] | msgspec.UnsetType = msgspec.UNSET
    """Absent: none. Not part of the digest: a gateway checks no call by them."""
    callback: Callback | msgspec.UnsetType = msgspec.UNSET
    on_fault: FaultHandler | msgspec.UnsetType = msgspec.UNSET
    protect: bool = False
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    source: str = ""
    """File that declares it, relative to the project; not part of the digest."""

    @property
    def coalesces(self) -> Coalesce | None:
        """The value of `coalesce` of an API in the revision, with its default."""
        return None if isinstance(self.coalesce, msgspec.UnsetType) else self.coalesce

    @property
    def indexed(self) -> dict[str, str]:
        """The attributes of an API in the revision: name to pointer."""
        return {} if isinstance(self.attributes, msgspec.UnsetType) else self.attributes

    @property
    def has_files(self) -> bool:
        """Whether calls of an API in the revision may have files in forms."""
        return isinstance(self.files, Files)

    @property
    def has_raw(self) -> bool:
        """The value of `raw` of an API in the revision, with its default."""
        return self.raw is True

    @property
    def records(self) -> Record:
        """The value of `record` of an API in the revision, with its default."""
        return "errors" if isinstance(self.record, msgspec.UnsetType) else self.record

    @property
    def own_path(self) -> tuple[str, Mode] | None:
        """The additional path of an API in the revision, with the response that it gives."""
        if isinstance(self.path, msgspec.UnsetType):
            return None
        return self.path, "async" if isinstance(self.mode, msgspec.UnsetType) else self.mode

    @property
    def started(self) -> tuple[str, ...]:
        """The workflows that calls of an API in the revision, and faults of their runs, start."""
        handler = self.on_fault
        return (self.workflow, handler.workflow) if isinstance(handler, FaultHandler) else (self.workflow,)

    @property
    def digest(self) -> str:
        """Digest of all parts of an API in the revision that a gateway applies; for the store to compare."""
        return digest_of(
            msgspec.structs.replace(self, source="", record=msgspec.UNSET, examples=msgspec.UNSET)
        )


class Workflow(msgspec.Struct, frozen=True, kw_only=True):
    program: str
    title: str = ""
    summary: str = ""
    source: str = ""
    schedule: Schedule | None = None
    """When it runs by itself; None: only when it is called, or when a newer version has the schedule."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """All compiled documents of a project. Its number is given by the store when it is published."""

    format: Literal[1] = 1
    apis: dict[str, Api]
    workflows: dict[str, Workflow]
    """`namespace/name:version` to its program."""
    resources: dict[str, str] = {}
    """URI of a file that a workflow names to the digest of its stored content: `project:///PATH#DIGEST`."""

    @property
    def digest(self) -> str:
        return digest_of(self)

    @property
    def programs(self) -> set[str]:
        """Digests of all programs that runs of this revision may execute."""
        return {
            *(api.program for api in self.apis.values()),
            *(api.on_fault.program for api in self.apis.values() if isinstance(api.on_fault, FaultHandler)),
            *(workflow.program for workflow in self.workflows.values()),
            *(schedule.program for _, schedule in self.scheduled.values()),
        }

    @property
    def scheduled(self) -> dict[str, tuple[str, Schedule]]:
        """Each scheduled workflow of the revision: `namespace/name` to its full name and its schedule."""
        return {
            name.partition(":")[0]: (name, workflow.schedule)
            for name, workflow in self.workflows.items()
            if workflow.schedule is not None
        }


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """Revision with all documents and programs that it refers to, as `apply` publishes it."""

    revision: Revision
    programs: dict[str, bytes]
    """Digest to the JSON of a workflow's definition, its members in the author's order; and to that of a
    schedule's standing run."""
    contents: dict[str, bytes] = {}
    """Digest to the content of a resource."""


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Revision)


def canonical(value: Any) -> bytes:
    """Return a part of a revision as JSON with sorted keys and no spaces: equal values give equal bytes."""
    return _encoder.encode(value)


def digest_of(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


_RESOURCE = re.compile(rb'project:///[^"#\\]*#([0-9a-f]{64})')


def resource_uri(path: str, digest: str) -> str:
    """Return the URI by which a program of the revision names a file, with the digest of its content."""
    return f"project:///{quote(path)}#{digest}"


def resource_digest(uri: str) -> str | None:
    """Return the digest in a URI of the revision's `resource_uri`; None for any other."""
    found = _RESOURCE.fullmatch(uri.encode())
    return None if found is None else found[1].decode()


def resource_name(uri: str) -> str | None:
    """Return the path or URL given to the revision's `resource_uri`; None for any other text."""
    return None if resource_digest(uri) is None else unquote(uri[len("project:///") : -65])


def contents_of(program: bytes) -> set[str]:
    """Return the digests of all contents of the revision that the JSON of a program names."""
    return {digest.decode() for digest in _RESOURCE.findall(program)}


def encode(revision: Revision) -> bytes:
    return canonical(revision)


def decode(data: bytes) -> Revision:
    """Decode a compiled revision from its published bytes.

    Raises msgspec.ValidationError for one that a newer release wrote.
    """
    return _decoder.decode(data)
