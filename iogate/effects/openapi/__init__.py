"""Conversion of calls of OpenAPI operations to HTTP requests, which `http_calls` then makes.

Called by `dispatcher`. Pure, except for the loading of documents whose address a run computes.
"""

from iogate.effects.openapi.document_cache import DocumentCache
from iogate.effects.openapi.operation_request import build_call

__all__ = ["DocumentCache", "build_call"]
