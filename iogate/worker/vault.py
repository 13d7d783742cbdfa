"""Secrets of workflows: resolved here, in workers only, from what the settings name.

Used by `drive`. Invariant: a resolved secret goes to the engine's environment for the workflows that
declare it, to nothing that is stored or logged; one that is missing is absent there, so that its use
is an authorization error of that run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from iogate import logs
from iogate.engine.scope import Environment
from iogate.secrets import Unset, resolve
from iogate.settings import Settings
from iogate.worker.redaction import Redaction, disguises

log = logging.getLogger(__name__)


class Vault:
    """What the settings name, resolved; `refresh` reads files again, so that a rotated secret arrives."""

    def __init__(self, settings: Settings, root: Path, *, once: frozenset[str] = frozenset()) -> None:
        self._once = once
        self._sources: Mapping[str, Mapping[str, str]] = settings.secrets
        self._root = root
        password = urlsplit(settings.redis_url).password if settings.redis_url else None
        self._own = (password, unquote(password)) if password else ()
        self._resolved: dict[str, Any] | None = None
        self._faults: dict[str, str] = {}
        self._environments: dict[tuple[str, ...], Environment] = {}
        self.redaction = Redaction()
        self.refresh()

    def refresh(self) -> None:
        """Resolve all secrets again; what is missing is said once, not each time."""
        resolved: dict[str, Any] = {}
        texts: list[Any] = list(self._own)
        faults: dict[str, str] = {}
        for name, source in self._sources.items():
            try:
                ((kind, value),) = source.items()
                text = resolve("env" if kind == "env" else "file", value, root=self._root)
            except Unset as unset:
                faults[name] = unset.message
                if self._faults.get(name) != unset.message:
                    log.warning(
                        "secret %s: %s; workflows that use it fail with an authorization error",
                        name,
                        unset.message,
                        extra={"action": "secret.unset", "secret": name},
                    )
                continue
            resolved[name] = _parsed(text)
            texts += (text, resolved[name])
        self._faults = faults
        if resolved != self._resolved:
            self._resolved = resolved
            self._environments.clear()
            self.redaction = Redaction(texts)
            logs.hide(disguises(texts))

    def environment(self, names: tuple[str, ...]) -> Environment:
        """What is around the runs of a workflow that declares these secrets."""
        environment = self._environments.get(names)
        if environment is None:
            resolved = self._resolved or {}
            secrets = {name: resolved[name] for name in names if name in resolved}
            environment = Environment(secrets=secrets, once=self._once)
            self._environments[names] = environment
        return environment


def _parsed(text: str) -> Any:
    """A secret whose text is a JSON object is that object."""
    if text.lstrip()[:1] != "{":
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
