"""Declaration of one route of operators, and the request that its handler receives.

Used by the modules `NAME_routes`, which declare, and by `operator_api` and `openapi_operations`, which read.
Invariant: each operation names its role, and each change its action and its target.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from iogate.operators.activity import Record, Target
from iogate.operators.live_revision import of_project
from iogate.operators.roles import Actor, Role
from iogate.value_types.collection_types import Key

if TYPE_CHECKING:
    from iogate.gateway.http.request import Request
    from iogate.gateway.state import GatewayState
    from iogate.store.store import Store
    from iogate.timing.moments import Moment

Method: TypeAlias = Literal["GET", "POST", "PUT", "DELETE"]
LIMIT_S: Final = 10.0
BODY: Final = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request of an operator that has passed all checks."""

    store: Store
    state: GatewayState
    actor: Actor
    path: Mapping[str, str]
    """Values of the names in the path."""
    given: Mapping[str, Any]
    """Values of the query of a GET or DELETE, or of the body of a POST or PUT."""
    reason: str = ""
    id: str = ""
    """Id of the change; with the same id, the store changes nothing twice."""
    request: Request | None = None
    """None if a page of the console makes the call."""
    version: str | None = None
    """Version in If-Match of the object that is changed; None: any."""
    scope: Any = None
    """ASGI scope of the request."""
    is_dry_run: bool = False
    """Whether the change is only to be described."""
    record: Record = field(default_factory=Record)
    """Record of the change, to which the handler adds the revision, a note, or a number."""

    async def project(self) -> Store:
        """Return the store for the project that an operator's request names, by default the gateway's own.

        Raises NotFound if no live revision is of the named project.
        """
        return await of_project(self.store, self.given.get("project"), self.state.settings.project)

    def moment_ms(self, name: str) -> int | None:
        """Return a moment given to an operation in milliseconds since 1970, by the store's clock; or None."""
        moment: Moment | None = self.given.get(name)
        return None if moment is None else moment.at_ms(self.state.clock.now_ms())


Handler: TypeAlias = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One route of operators."""

    name: str
    """Unique name in /openapi.json, such as `runs.list`."""
    method: Method
    path: str
    role: Role
    """Least role that may call it."""
    summary: str
    handler: Handler
    description: str = ""
    query: Mapping[str, Key] = field(default_factory=dict)
    body: Mapping[str, Key] = field(default_factory=dict)
    path_types: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions of names in the path, of which any other value is a 404."""
    action: str = ""
    """Name of the change in the activity; empty for an operation that only reads."""
    target: Callable[[Call], Target] | None = None
    """Returns the objects that the change is about."""
    version: Callable[[Any], str] | None = None
    """Returns the version in a result, for the header ETag; None if the result has none."""
    takes_version: bool = False
    """Whether a request needs an If-Match with the version of the object that it changes."""
    names_version: bool = False
    """Whether the body has that version, in place of If-Match."""
    frees_memory: bool = False
    """Whether the change is made also if the store is too full to record it."""
    has_dry_run: bool = False
    """Whether its body may have `dry_run`: then it changes and records nothing, and needs no reason."""
    status: int = 200
    is_shared: bool = False
    """Whether callers have the same path, whose handler tries `OperatorApi.respond_if_operator` first."""
    is_file: bool = False
    """Whether the response is a file, and not JSON; the handler returns it."""
    is_stream: bool = False
    """Whether the response is a stream of server-sent events."""
    limit_s: float = LIMIT_S
    """Time for the whole operation."""
    body_limit: int = BODY

    @property
    def changes(self) -> bool:
        return bool(self.action)

    @property
    def reads_body(self) -> bool:
        return self.method in ("POST", "PUT")

    @property
    def names(self) -> list[str]:
        """Names in the path of an operation."""
        return re.findall(r"{(\w+)}", self.path)
