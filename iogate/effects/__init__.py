"""What leaves the system: HTTP calls, processes, Python functions. Effects are performed here and only here.

Nothing here knows the store, a frame or a document: an evaluated effect comes in, an outcome goes out.

    perform                      the one door: hands each effect to what performs it
    calls openapi/ functions     `call: http`, `call: openapi`, registered Python functions
    authentication/              what a call presents: policies, tokens, digests
    http/                        one request: where it may go, how it is sent, how it fails
    processes/                   shell commands, scripts, containers
    fetching client              for the compiler and for commands, not for workflows
    values                       JSON at the border
"""

from iogate.effects.perform import EffectContext, Effects

__all__ = ["EffectContext", "Effects"]
