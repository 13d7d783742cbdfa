"""What leaves the system: HTTP calls, processes, Python functions. Effects are performed here and only here.

Nothing here knows the store, a frame or a document: an evaluated effect comes in, an outcome goes out.
"""

from iogate.effects.perform import EffectContext, Effects

__all__ = ["EffectContext", "Effects"]
