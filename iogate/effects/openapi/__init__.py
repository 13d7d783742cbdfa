"""Conversion of calls of OpenAPI operations to HTTP requests, which `calls` then makes.

Called by `perform`. Pure, except for the loading of documents whose address a run computes.
"""

from iogate.effects.openapi.loading import Documents
from iogate.effects.openapi.request import build

__all__ = ["Documents", "build"]
