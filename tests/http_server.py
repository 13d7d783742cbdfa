"""Keep-alive HTTP/1.1 on loopback, for servers that answer as a test tells them."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class HttpServer:
    """Server whose responses a subclass chooses in `respond`."""

    url: str = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        """Return the whole response, or None to close the connection; names of headers are in lower case."""
        raise AssertionError(path, headers, body)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                response = await self.respond(head[0].split(" ")[1], headers, body)
                if response is None:
                    return
                writer.write(response)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
