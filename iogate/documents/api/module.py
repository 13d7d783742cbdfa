"""A module and its methods, each method complete: module defaults and our own are filled in.

`limits`, `idempotency` and `metadata` of a method add to the module's key by key; every other key
replaces it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from iogate.auth import model
from iogate.auth.allow_ips import ALLOW_IPS, AllowedAddresses
from iogate.auth.reader import AUTH
from iogate.documents.api.attributes import Attributes
from iogate.documents.api.callback import Callback
from iogate.documents.api.debug_cases import DebugCase
from iogate.documents.api.input import Input
from iogate.documents.api.own_path import OwnPath
from iogate.documents.base_model import (
    FORMAT,
    Maybe,
    StrictModel,
    field_error,
    rule_error,
)
from iogate.documents.field_types import (
    Flag,
    FreeMap,
    IsList,
    IsMapping,
    JsonPointer,
    Positive,
    Rate,
    Seconds,
    Size,
    Text,
    TextList,
    Whole,
    matching,
)
from iogate.documents.json_schema import reject_bare_schema
from iogate.documents.value_type_fields import validator
from iogate.messages import quoted

_ROUTE_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_VERSION = r"[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"

RouteName = Annotated[
    Text,
    AfterValidator(
        matching(_ROUTE_NAME, "1 to 63 letters, digits, - or _, with a letter or digit at both ends")
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{_ROUTE_NAME}$"}),
]
WorkflowName = Annotated[
    Text,
    AfterValidator(
        matching(rf"{_LABEL}/{_LABEL}(?::{_VERSION})?", "namespace/name or namespace/name:version")
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{_LABEL}/{_LABEL}(:{_VERSION})?$"}),
]
Auth = Annotated[
    model.Auth[model.Secret], PlainValidator(validator(AUTH)), WithJsonSchema(dict(AUTH.schema()))
]
AllowIps = Annotated[
    AllowedAddresses, PlainValidator(validator(ALLOW_IPS)), WithJsonSchema(dict(ALLOW_IPS.schema()))
]
_MOST_PRIORITY: Final = 9


def _priority(value: int) -> int:
    if not 0 <= value <= _MOST_PRIORITY:
        raise field_error(FORMAT, expected=f"a whole number from 0 to {_MOST_PRIORITY}", got=str(value))
    return value


Priority = Annotated[
    Whole,
    AfterValidator(_priority),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": _MOST_PRIORITY}),
]
_HeaderName = Annotated[
    Text, AfterValidator(matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", "the name of a header"))
]


def _verbs(value: list[Any]) -> list[Any]:
    if not value:
        raise rule_error("verbs is empty", code=6, hint="name GET, POST or both")
    if len(set(value)) < len(value):
        raise rule_error("a verb stands twice", code=9)
    return value


_Verbs = Annotated[list[Literal["GET", "POST"]], AfterValidator(_verbs), IsList]


class Concurrency(StrictModel):
    near: ClassVar = {"pointer": "key", "running": "limit", "max": "limit"}

    key: JsonPointer
    """Place of the key in the input."""
    limit: Positive = 1
    """Runs of one key that are not ended, at most; the others wait."""


class Limits(StrictModel):
    near: ClassVar = {"rps": "rate", "parallel": "running", "size": "body", "queue": "queued"}

    body: Size = 1024 * 1024
    """Largest request body."""
    rate: Maybe[Rate] = None
    """Calls accepted, over all gateways; absent: unlimited."""
    burst: Maybe[Positive] = None
    """Calls at once before the rate bites."""
    per: Literal["api", "caller", "address"] = "api"
    """What rate and burst count by."""
    queued: Positive = 10_000
    """Runs that may wait."""
    running: Maybe[Positive] = None
    """Runs at once; absent: unlimited."""
    concurrency: Maybe[Concurrency] = None
    """Bound of the runs of one key."""
    on_full: Literal["reject", "replace"] = "reject"
    """Whether a full queue refuses a call, or cancels its oldest run."""
    priority: Priority = 5
    """Runs of a higher priority are taken first."""


class Coalesce(StrictModel):
    near: ClassVar = {"pointer": "key", "delay": "window", "debounce": "window", "limit": "max"}

    key: JsonPointer
    """Place of the key in the input."""
    window: Seconds
    """Time without a call after which the run starts."""
    max: Maybe[Seconds] = None
    """Time after the first call at which it starts at the latest; absent: ten windows."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max is not None and self.max < self.window:
            raise rule_error(
                "max is shorter than window, so that the window never ends by itself",
                code=66,
                hint="make max at least as long as window",
                key="max",
            )
        return self


class Idempotency(StrictModel):
    near: ClassVar = {"key": "pointer", "path": "pointer", "mandatory": "required"}

    header: Maybe[_HeaderName] = None
    """Header with the key; absent: `Idempotency-Key`, unless `pointer` is given."""
    pointer: Maybe[JsonPointer] = None
    """Place of the key in the input; a key in the header has precedence."""
    ttl: Seconds = 86_400.0
    """How long a key is remembered."""
    required: Flag = False
    """Whether a call without a key is refused."""


class Method(StrictModel):
    """One route. In a loaded document nothing is left open that the module or a default can say."""

    near: ClassVar = {
        "ips": "allow_ips",
        "allowed_ips": "allow_ips",
        "methods": "verbs",
        "method": "verbs",
        "http_methods": "verbs",
        "authentication": "auth",
        "flow": "workflow",
        "run": "workflow",
        "url": "path",
        "route": "path",
        "tests": "debug",
        "cases": "debug",
        "webhook": "callback",
        "callbacks": "callback",
        "on_error": "on_fault",
        "on_failure": "on_fault",
        "search_attributes": "attributes",
        "index": "attributes",
    }
    elsewhere: ClassVar = {
        "schema": 'it belongs under "input"',
        "body": 'it belongs under "limits" or in a case of "debug"',
        "expect": 'it belongs in a case of "debug"',
        "mocks": 'it belongs in a case of "debug"',
        "rate": 'it belongs under "limits"',
        "burst": 'it belongs under "limits"',
        "queued": 'it belongs under "limits"',
        "running": 'it belongs under "limits"',
        "per": 'it belongs under "limits"',
        "concurrency": 'it belongs under "limits"',
        "on_full": 'it belongs under "limits"',
        "priority": 'it belongs under "limits"',
        "token": 'it belongs under "auth"',
        "password": 'it belongs under "auth"',
    }

    description: Maybe[Text] = None
    verbs: Maybe[_Verbs] = None
    path: Maybe[OwnPath] = None
    """An additional URL of the API: absolute, exact and case-sensitive, outside the paths of iogate."""
    mode: Maybe[Literal["async", "sync"]] = None
    """Response at `path`: async (default), the uid; sync, the result of the run."""
    workflow: WorkflowName
    """namespace/name, optionally :version."""
    enabled: Maybe[Flag] = None
    """Absent: owned by `iogate enable`, starting disabled."""
    auth: Maybe[Auth] = None
    allow_ips: Maybe[AllowIps] = None
    """Addresses that may call; absent: all."""
    input: Maybe[
        Annotated[Input, reject_bare_schema("input", "schema", "from", write="input: {schema: …}")]
    ] = None
    limits: Maybe[Limits] = None
    coalesce: Maybe[Coalesce] = None
    """Calls of one key that become one run."""
    attributes: Maybe[Attributes] = None
    """Names by which runs are found, with the places of their values in the input."""
    idempotency: Maybe[Idempotency] = None
    timeout: Maybe[Seconds] = None
    """Of the whole run."""
    retention: Maybe[Seconds] = None
    """Of finished runs; default 7d."""
    record: Maybe[Literal["errors", "all", "none"]] = None
    """Task input and output that the journal keeps; default errors."""
    callback: Maybe[Callback] = None
    """Request at the end of each run."""
    on_fault: Maybe[WorkflowName] = None
    """Workflow that a fault starts: namespace/name, optionally :version."""
    protect: Maybe[Flag] = None
    """Never deleted by an apply."""
    tags: Maybe[TextList] = None
    metadata: Maybe[FreeMap] = None
    debug: Maybe[Annotated[list[DebugCase], IsList]] = None

    @model_validator(mode="after")
    def _mode_of_a_path(self) -> Self:
        if self.mode is not None and self.path is None:
            raise rule_error(
                "mode is the response at path, and there is no path",
                code=58,
                hint="add path, or remove mode: callers choose /async or /sync by the URL",
                key="mode",
            )
        return self


_INHERITED: Final = (
    "verbs",
    "auth",
    "allow_ips",
    "limits",
    "idempotency",
    "timeout",
    "retention",
    "record",
    "callback",
    "on_fault",
    "protect",
    "tags",
    "metadata",
)
_RETENTION_S: Final = 604_800.0


def _indented(value: Any) -> Any:
    """Refuse a method of a module without a value, followed by one of its keys: wrong indentation."""
    if isinstance(value, dict) and value:
        names = ["", *value]
        for name, following in pairwise(names):
            lost = following in Method.key_names() and not isinstance(value[following], dict)
            if lost and name and value[name] is None:
                message = f"the definition of method {quoted(name)} is not indented below its name"
                raise rule_error(
                    message, code=11, hint=f"indent it deeper than {quoted(name)}", key=following
                )
            if lost and value[following] is not None:
                message = f"{quoted(following)} stands among the names of methods"
                raise rule_error(
                    message, code=11, hint="indent it below the name of its method", key=following
                )
    return value


class ApiModule(StrictModel):
    near: ClassVar = {"routes": "methods", "endpoints": "methods", "name": "module", "authentication": "auth"}
    elsewhere: ClassVar = dict.fromkeys(
        ("workflow", "enabled", "input", "coalesce", "attributes", "debug", "path", "mode"),
        "it belongs on a method",
    )

    module: RouteName
    """First part of the path of all methods."""
    description: Maybe[Text] = None
    verbs: Maybe[_Verbs] = None
    auth: Maybe[Auth] = None
    allow_ips: Maybe[AllowIps] = None
    limits: Maybe[Limits] = None
    idempotency: Maybe[Idempotency] = None
    timeout: Maybe[Seconds] = None
    retention: Maybe[Seconds] = None
    record: Maybe[Literal["errors", "all", "none"]] = None
    callback: Maybe[Callback] = None
    on_fault: Maybe[WorkflowName] = None
    protect: Maybe[Flag] = None
    tags: Maybe[TextList] = None
    metadata: Maybe[FreeMap] = None
    methods: Annotated[dict[RouteName, Method], Field(min_length=1), BeforeValidator(_indented), IsMapping]
    """The routes of this module, by their name."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Hand the defaults of the API module, and ours, down to each of its methods."""
        complete = {name: self._with_defaults(method) for name, method in self.methods.items()}
        self.methods.clear()
        self.methods.update(complete)
        return self

    def _with_defaults(self, method: Method) -> Method:
        filled = {name: getattr(self, name) for name in _INHERITED if getattr(method, name) is None}
        filled["limits"] = _joined(Limits(), self.limits, method.limits)
        filled["idempotency"] = _joined(Idempotency(), self.idempotency, method.idempotency)
        filled["metadata"] = {**(self.metadata or {}), **(method.metadata or {})}
        filled["verbs"] = method.verbs or self.verbs or ["POST"]
        filled["input"] = method.input or Input()
        filled["retention"] = method.retention or self.retention or _RETENTION_S
        for name, default in (("protect", False), ("tags", []), ("debug", []), ("record", "errors")):
            if getattr(method, name) is None:
                filled[name] = filled.get(name) or default
        return method.model_copy(update=filled)


def _joined(default: Any, *given: Any) -> Any:
    """Return a value of an API method from a default, module and method: for each key the last given."""
    update = {name: getattr(one, name) for one in given if one is not None for name in one.model_fields_set}
    return default.model_copy(update=update)
