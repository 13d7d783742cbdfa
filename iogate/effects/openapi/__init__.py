"""Calls of OpenAPI operations: parameters take their places in a request, which `calls` then makes.

Called by `perform`. All but the loading of documents whose address only a run knows is pure.
"""

from iogate.effects.openapi.loading import Documents
from iogate.effects.openapi.request import build

__all__ = ["Documents", "build"]
