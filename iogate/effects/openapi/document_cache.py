"""Loading of OpenAPI documents at run time: from the revision, or from an address that data chose.

Called by `dispatcher`. Parsed documents are cached, since parsing a large document is expensive.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

from iogate.compiler.openapi import Operation, Unusable, find
from iogate.compiler.resources.document_sources import MAX_BYTES, Unreadable, plain_data
from iogate.compiler.revision import resource_name
from iogate.effects.http.failures import CallFailed
from iogate.effects.http_calls import HttpCalls
from iogate.engine.commands import CallHttp, CallOpenApi
from iogate.errors import WorkflowError

MAX_DOCUMENTS: Final = 32
MAX_AGE_S: Final = 300.0
"""Seconds after which a cached document is loaded again."""


class DocumentCache:
    """Cache of the OpenAPI documents of one worker."""

    def __init__(self, http: HttpCalls) -> None:
        self._http = http
        self._kept: OrderedDict[tuple[str, bool, bool, str], tuple[float, Any]] = OrderedDict()

    async def operation(self, call: CallOpenApi, load: Callable[[str], Awaitable[bytes]]) -> Operation:
        """Return the operation that a call names, of a cached OpenAPI document.

        Raises WorkflowError if there is none, and CallFailed if the document cannot be fetched.
        """
        if call.operation is not None:
            return call.operation
        data = await self._data(call, load)
        try:
            return find(data, call.name, url=_address(call.document))
        except Unusable as why:
            hint = f'; did you mean "{why.near}"?' if why.near else ""
            raise _configuration_error(f"the OpenAPI document cannot be used: {why.reason}{hint}") from None

    async def _data(self, call: CallOpenApi, load: Callable[[str], Awaitable[bytes]]) -> Any:
        key = (call.document, call.computed, call.foreign, repr(call.presented))
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < MAX_AGE_S:
            self._kept.move_to_end(key)
            return kept[1]
        if call.fetched:
            content = await self._fetched(call)
        else:
            content = await load(call.document)
        if len(content) > MAX_BYTES:
            raise _configuration_error("the OpenAPI document is over 5 MiB")
        # Parsing may take seconds; the other runs of this worker continue meanwhile.
        data = await asyncio.to_thread(_parse, content)
        self._kept[key] = (time.monotonic(), data)
        while len(self._kept) > MAX_DOCUMENTS:
            self._kept.popitem(last=False)
        return data

    async def _fetched(self, call: CallOpenApi) -> bytes:
        request = CallHttp(
            method="GET",
            url=call.document,
            redirect=True,
            authentication=call.presented,
            computed=call.computed,
            foreign=call.foreign,
            address=call.address,
        )
        try:
            return await self._http.fetch(request)
        except CallFailed as failed:
            error = failed.error
            error.detail = f"the OpenAPI document cannot be fetched: {error.detail}"
            raise CallFailed(error, definite=False) from None  # the call itself was not made


def _parse(content: bytes) -> Any:
    try:
        return plain_data(content.decode("utf-8-sig"), "the document")
    except UnicodeDecodeError:
        raise _configuration_error("the OpenAPI document is not UTF-8 text") from None
    except Unreadable as why:
        raise _configuration_error(f"the OpenAPI document cannot be read: {why.reason}") from None


def _address(document: str) -> str | None:
    """Return the URL of an OpenAPI document; None for a file of the project."""
    found = resource_name(document) or document
    return found if "://" in found else None


def _configuration_error(detail: str) -> WorkflowError:
    return WorkflowError("configuration", title="OpenAPI call cannot be made", detail=detail)
