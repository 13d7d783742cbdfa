"""Secrets and events of a run in a test, where the author of the test leaves something open.

Used by `harness`, `simulation` and `schedules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from iogate.engine.expression_scope import Environment
from iogate.engine.tasks.emit import envelope
from iogate.errors import ExpectationFailed, WorkflowError
from iogate.security.keyring import Keyring
from iogate.worker.secrets.redaction import Redaction
from iogate.worker.secrets.secret_store import link_maker

_RING = Keyring(("key of tests",))
"""Signs the links of tests, always in the same way, so that a case may expect a URL."""


@dataclass(frozen=True, kw_only=True)
class GivenSecrets:
    """Secrets of a test; nothing is redacted, so that a test sees what its workflow does with them."""

    values: Mapping[str, Any] | None
    """None gives each declared secret a placeholder."""
    error_types: str
    public_url: str | None = None
    """Base of the URLs of links; None: an example."""
    redaction: Redaction = field(default_factory=Redaction)

    def environment(self, names: tuple[str, ...]) -> Environment:
        """Return the environment of a run in a test; by default, each of these secrets has a placeholder."""
        values = self.values
        if values is None:
            values = {name: f"secret {name}" for name in names}
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
