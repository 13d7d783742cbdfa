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
    json_values                  validation of JSON values from outside
"""

from iogate.effects.dispatcher import EffectContext, Effects

__all__ = ["EffectContext", "Effects"]
