"""Secrets and events of a run in a test, where the author of the test leaves something open.

Used by `harness`, `simulation` and `schedules`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from iogate.engine.expression_scope import Environment
from iogate.engine.tasks.emit import envelope
from iogate.errors import ExpectationFailed, WorkflowError
from iogate.security.keyring import Keyring
from iogate.worker.secrets.redaction import Redaction
from iogate.worker.secrets.secret_store import link_maker

_RING = Keyring(("key of tests",))
"""Signs the links of tests, always in the same way, so that a case may expect a URL."""
_OBJECT_POLICIES: Final = frozenset({"basic", "digest", "oauth2", "oidc"})
"""Policies whose secret is an object."""
_MEMBER: Final = re.compile(r"\$secrets\.([A-Za-z_]\w*)\.([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", re.ASCII)
"""Read of a member of a secret."""


def policy_secrets(definition: Any) -> Iterator[str]:
    """Yield the names of the secrets that policies of a workflow use as an object, for their placeholders."""
    match definition:
        case Mapping():
            for name, member in definition.items():
                policy = member if name in _OBJECT_POLICIES and isinstance(member, Mapping) else {}
                if isinstance(used := policy.get("use"), str):
                    yield used
                yield from policy_secrets(member)
        case list():
            for member in definition:
                yield from policy_secrets(member)
        case _:
            pass


def object_placeholders(programs: Iterable[bytes]) -> dict[str, dict[str, Any]]:
    """Return the placeholder of each secret in a test that programs use as an object.

    It has the members that a policy may need, and those that expressions read.
    """
    found: dict[str, dict[str, Any]] = {}
    for program in programs:
        for name in policy_secrets(json.loads(program)):
            found.setdefault(name, _members(name))
        for name, path in _MEMBER.findall(program.decode()):
            _add(found.setdefault(name, _members(name)), path.split("."), f"secret {name}")
    return found


def _members(name: str) -> dict[str, Any]:
    """Return the members of the placeholder of a secret that is an object."""
    return {
        **dict.fromkeys(("username", "password", "token"), f"secret {name}"),
        "authority": "https://secret.invalid",
        "grant": "client_credentials",
    }


def _add(holder: dict[str, Any], path: Sequence[str], text: str) -> None:
    """Add a member at a path to the placeholder of a secret, unless there is one."""
    first, *rest = path
    if not rest:
        holder.setdefault(first, text)
        return
    if not isinstance(holder.get(first), dict):
        holder[first] = {}
    _add(holder[first], rest, text)


@dataclass(frozen=True, kw_only=True)
class GivenSecrets:
    """Secrets of a test; nothing is redacted, so that a test sees what its workflow does with them."""

    values: Mapping[str, Any] | None
    """None gives each declared secret a placeholder."""
    objects: Mapping[str, Any] = field(default_factory=dict)
    """Placeholders that are objects; those of the other secrets are texts."""
    error_types: str
    public_url: str | None = None
    """Base of the URLs of links; None: an example."""
    redaction: Redaction = field(default_factory=Redaction)

    def environment(self, names: tuple[str, ...]) -> Environment:
        """Return the environment of a run in a test; by default, each of these secrets has a placeholder."""
        values = self.values
        if values is None:
            values = {name: self.objects.get(name, f"secret {name}") for name in names}
        link = link_maker(self.public_url or "http://localhost:8000", _RING)
        return Environment(secrets=values, error_types=self.error_types, link=link)


def envelope_of(event: Mapping[str, Any], index: int, now_ms: int) -> dict[str, Any]:
    """Return an event of a test with defaults for its missing attributes.

    Raises:
        ExpectationFailed: it has an attribute that no CloudEvent has.
    """
    try:
        return envelope(event, id_=str(index), source="/test", now_ms=now_ms)
    except WorkflowError as error:
        said = (error.detail or "").replace("emit.event.with", "it")
        raise ExpectationFailed(f"event {index + 1} of the case is no CloudEvent: {said}") from None
