"""Performs effects: HTTP calls, processes and Python functions. All side effects of runs happen here.

This package does not know the store, frames or documents: its input is an evaluated effect, its output a
result.

    dispatcher                   the only entry point: dispatches each effect by its kind
    http_calls openapi/          `call: http`, `call: openapi`
    function_calls               registered Python functions
    authentication/              credentials of a call: policies, tokens, digests
    http/                        one request: address policy, transport, errors
    processes/                   shell commands, scripts, containers
    document_fetcher             for the compiler, not for workflows
    gateway_client               for commands that call a gateway
    key_set_fetcher              keys of token issuers, for gateways
    effect_files                 files of a run, for its effects

The dispatcher is imported at its first use: it needs the HTTP client, which a command that only looks for the
programs of workflows must not wait for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iogate.effects.dispatcher import EffectContext, Effects

__all__ = ["EffectContext", "Effects"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("iogate.effects.dispatcher"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
