"""Fetches a document that a workflow is made of: an OpenAPI description, a schema, a script, a function.

Called where documents are compiled, once for each revision: workers read what the revision stores. The
address policy and `endpoints` hold as they do for calls; redirects are followed.
"""

from __future__ import annotations

from iogate.effects.http import HttpCalls
from iogate.engine.commands import Authentication, CallHttp
from iogate.settings import Settings


async def fetch_document(uri: str, authentication: Authentication | None, settings: Settings) -> bytes:
    """Give the content at an absolute http(s) URL, decompressed.

    Raises CallFailed, whose `error` says what went wrong in the words of a call's errors.
    """
    calls = HttpCalls(
        allow_hosts=settings.allow_hosts, endpoints=settings.endpoints, redis_url=settings.redis_url
    )
    call = CallHttp(method="GET", url=uri, address=uri, redirect=True, authentication=authentication)
    try:
        return await calls.fetch(call)
    finally:
        await calls.close()
