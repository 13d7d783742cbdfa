"""Secret store: resolves the secrets of workflows from the sources in the settings, in workers only.

Used by `executor`. Invariant: a resolved secret is passed only to the engine environment of workflows that
declare it, and is never stored or logged. A missing secret is absent from the environment, so that its use is
an authorization error of that run. Earlier values are redacted, too: runs and processes may still hold them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from iogate import logs
from iogate.engine.expression_scope import Environment
from iogate.security import one_time_links
from iogate.security.keyring import NO_KEYS, Keyring
from iogate.security.redaction import disguises
from iogate.security.secrets import Unset, resolve
from iogate.settings import Settings
from iogate.settings.redis_url import passwords
from iogate.store.maintenance.process_presence import SECRETS, UNSET
from iogate.worker.events.sinks import read_sinks
from iogate.worker.secrets.redaction import Redaction

log = logging.getLogger(__name__)

REDACTED_VALUES: Final = 20
"""Latest values of each secret that are redacted."""


class SecretStore:
    """Resolved secrets and sink headers; `refresh` reads the sources again after a rotation."""

    def __init__(
        self,
        settings: Settings,
        root: Path,
        *,
        once: frozenset[str] = frozenset(),
        keyring: Keyring = NO_KEYS,
    ) -> None:
        self._once = once
        self._keyring = keyring
        self.fingerprints: dict[str, str] = {}
        """Fingerprint of each resolved secret, by its source."""
        self.error_types = settings.error_types
        self._sources: Mapping[str, Mapping[str, str]] = settings.secrets
        self._root = root
        self._own = passwords(settings.redis_url or "")
        self._resolved: dict[str, Any] | None = None
        self._faults: dict[str, str] = {}
        self._unset: dict[str, str] = {}
        self._sinks = {sink.name: sink.headers for sink in read_sinks(settings).all}
        self._headers: dict[str, dict[str, str] | None] = {}
        self._environments: dict[tuple[str, ...], Environment] = {}
        self._values: dict[str, dict[str, None]] = {}
        """Latest values of each secret, the present one last."""
        self._link = link_maker(settings.public_url, keyring)
        self.redaction = Redaction()
        self.refresh()

    def refresh(self) -> None:
        """Resolve all secrets of workflows again; log each missing secret once."""
        resolved: dict[str, Any] = {}
        faults: dict[str, str] = {}
        unset: dict[str, str] = {}
        self.fingerprints = {}
        for name, source in self._sources.items():
            label = f"secret {name}"
            text = self._text(label, source, "workflows that use it fail with an authorization error", faults)
            if text is None:
                unset[name] = faults[label]
            else:
                resolved[name] = _parsed(text)
        headers = {sink: self._resolved_headers(sink, given, faults) for sink, given in self._sinks.items()}
        self._faults = faults
        if unset != self._unset:
            self._unset = unset
            self._environments.clear()
        if resolved != self._resolved or headers != self._headers:
            self._resolved, self._headers = resolved, headers
            self._environments.clear()
            values = [text for known in self._values.values() for text in known]
            texts = [*self._own, *values, *map(_parsed, values)]
            self.redaction = Redaction(texts)
            logs.hide(disguises(texts))

    def announced(self) -> dict[str, str]:
        """Return for `Process.detail` the names of available secrets, and the reason for each missing one."""
        unset = {UNSET + name: reason for name, reason in self._unset.items()}
        return {SECRETS: "\n".join(sorted(self._resolved or {})), **unset}

    def headers(self, sink: str) -> Mapping[str, str] | None:
        """Return the headers for a sink, with secrets of the secret store; None while one is missing."""
        return self._headers[sink]

    def _resolved_headers(
        self, sink: str, given: Mapping[str, Any], faults: dict[str, str]
    ) -> dict[str, str] | None:
        headers: dict[str, str] = {}
        for name, value in given.items():
            text = (
                value
                if isinstance(value, str)
                else self._text(f"header {name} of sink {sink}", value, "nothing is sent there", faults)
            )
            if text is None:
                return None
            headers[name] = text
        return headers

    def _text(
        self, label: str, source: Mapping[str, str], consequence: str, faults: dict[str, str]
    ) -> str | None:
        """Resolve the text of a secret from its source; if it is missing, log that once and return None."""
        ((kind, value),) = source.items()
        try:
            text = resolve("env" if kind == "env" else "file", value, root=self._root)
        except Unset as unset:
            faults[label] = unset.message
            if self._faults.get(label) != unset.message:
                log.warning(
                    "%s: %s; %s",
                    label,
                    unset.message,
                    consequence,
                    extra={"action": "secret.unset", "secret": label},
                )
            return None
        self._remember(label, text)
        fingerprint = self._keyring.fingerprint(f"{kind} {value}", text)
        if fingerprint is not None:
            self.fingerprints[f"{kind} {value}"] = fingerprint
        return text

    def _remember(self, label: str, text: str) -> None:
        """Add the present value of a secret to those that are redacted; forget the oldest one."""
        known = self._values.setdefault(label, {})
        known.pop(text, None)
        known[text] = None
        if len(known) > REDACTED_VALUES:
            del known[next(iter(known))]

    def _redact(self, text: str) -> str:
        """Redact a text with the present redaction: runs keep their environment over a rotation."""
        return self.redaction.text(text)

    def environment(self, names: tuple[str, ...]) -> Environment:
        """Return the environment of workflows with those secrets of the secret store that they declare."""
        environment = self._environments.get(names)
        if environment is None:
            resolved = self._resolved or {}
            secrets = {name: resolved[name] for name in names if name in resolved}
            environment = Environment(
                secrets=secrets,
                unset={name: self._unset[name] for name in names if name in self._unset},
                once=self._once,
                error_types=self.error_types,
                redact=self._redact,
                link=self._link,
            )
            self._environments[names] = environment
        return environment


def link_maker(public_url: str | None, ring: Keyring) -> Callable[[str, str, int], str] | None:
    """Return the function for the secret store that makes URLs of links; None without `public_url` or key."""
    if public_url is None or not ring.can_sign:
        return None
    return partial(one_time_links.address, ring, public_url)


def _parsed(text: str) -> Any:
    """Decode a secret whose text is a JSON object; return other texts unchanged."""
    if text.lstrip()[:1] != "{":
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
