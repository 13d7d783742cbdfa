"""Performs effects: HTTP calls, processes and Python functions. All side effects of runs happen here.

This package does not know the store, frames or documents: its input is an evaluated effect, its output a
result.

    perform                      the only entry point: dispatches each effect by its kind
    calls openapi/ functions     `call: http`, `call: openapi`, registered Python functions
    authentication/              credentials of a call: policies, tokens, digests
    http/                        one request: address policy, transport, errors
    processes/                   shell commands, scripts, containers
    fetching client              for the compiler and for commands, not for workflows
    values                       validation of JSON values from outside
"""

from iogate.effects.perform import EffectContext, Effects

__all__ = ["EffectContext", "Effects"]
