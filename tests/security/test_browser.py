"""A real Chromium: a page of another origin starts and reads no run of a loopback gateway.

Runs if a Chromium is installed; `tests/gateway/http/test_origins.py` sends such requests without one.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import httpx
import pytest

from iogate.store.store import Store
from tests.gateway.driver import Gateway, api, listening, publish, spawn, until

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"no browser on PATH: none of {', '.join(NAMES)}")

PAGE = """<!doctype html><title>waiting</title>
<link rel="prefetch" href="{url}?by=prefetch">
<img src="{url}?by=img"><script src="{url}?by=script"></script><iframe src="{url}?by=iframe"></iframe>
<img referrerpolicy="no-referrer" src="{mapped}?by=mapped">
<img referrerpolicy="no-referrer" src="{any}?by=any">
<iframe name="f1"></iframe><iframe name="f2"></iframe><iframe name="f3"></iframe><iframe name="f4"></iframe>
<form id="get" action="{url}" target="f1"><input name="by" value="form-get"></form>
<form id="p1" action="{url}" target="f2" method="post"><input name="by" value="form-post"></form>
<form id="p2" action="{url}" target="f3" method="post" enctype="text/plain">
  <input name="{{" value="}}"></form>
<form id="p3" action="{url}" target="f4" method="post" enctype="multipart/form-data"><input name="a"></form>
<script>
for (const id of ["get", "p1", "p2", "p3"]) document.getElementById(id).submit();
fetch("{url}", {{method: "POST", mode: "no-cors", body: "{{}}"}}).catch(() => 0);
navigator.sendBeacon("{url}", "{{}}");
new EventSource("{url}?by=events");
try {{ new WebSocket("{url}?by=socket".replace("http", "ws")); }} catch (error) {{}}
const read = async (url) => {{
  try {{ return (await (await fetch(url)).text()).includes("response") ? "read" : "empty"; }}
  catch (error) {{ return "refused"; }}
}};
Promise.all([read("{url}"), read("{run}")]).then((found) =>
  setTimeout(() => fetch("/done?" + found.join("-")), 1500));
</script>"""


class Site:
    """The other origin: serves one page, and hears from it when it is done."""

    def __init__(self) -> None:
        self.page = ""
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        if path.startswith("/done?") and not self.done.done():
            self.done.set_result(path.partition("?")[2])
        body = self.page.encode() if path == "/" else b""
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()


async def visit(url: str, folder: Path, rules: str) -> asyncio.subprocess.Process:
    assert CHROMIUM is not None
    return await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", f"--user-data-dir={folder / 'profile'}",
        f"--host-resolver-rules={rules}", "--remote-debugging-port=0", url,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def taken(gateway: Gateway) -> str:
    """Return the uid of a run that the gateway has accepted."""
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:

        async def accepted() -> str | None:
            try:
                reply = await client.post("/v1/api/a/b/async", content=b"{}")
            except httpx.TransportError:
                return None
            return str(reply.json()["response"]["uid"]) if reply.status_code == 202 else None

        return str(await until(accepted))


async def reaches_mapped(port: int) -> bool:
    """Tell whether this machine connects to IPv4 addresses that are written as IPv6."""
    try:
        _, writer = await asyncio.open_connection("::ffff:127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["127.0.0.1", "rebound.example"])
async def test_a_page_of_another_origin_starts_and_reads_nothing(
    redis_url: str, store: Store, tmp_path: Path, name: str
) -> None:
    """Fourteen kinds of requests to the gateway's address, and under a name that resolves to it."""
    await publish(store, api("a/b"))
    site = Site()
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path)
        server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
        browser = None
        try:
            uid = await taken(gateway)
            before = sum((await store.runs.counts()).values())
            base = f"http://{name}:{gateway.port}"
            path = "/v1/api/a/b/async"
            site.page = PAGE.format(
                url=f"{base}{path}",
                run=f"{base}/v1/runs/{uid}",
                mapped=f"http://[::ffff:127.0.0.1]:{gateway.port}{path}",
                any=f"http://[::ffff:0:0]:{gateway.port}{path}",
            )
            mapped = 2 if await reaches_mapped(gateway.port) else 0
            port = server.sockets[0].getsockname()[1]
            browser = await visit(f"http://evil.example:{port}/", tmp_path, "MAP *.example 127.0.0.1")
            found = await asyncio.wait_for(site.done, 100)
            assert found == "refused-refused"

            async def refused() -> tuple[int, int] | None:
                """Return the counts of both refusals once the browser has sent all requests."""
                lines = [line for line in gateway.log.read_text().splitlines() if "call.refused" in line]
                misdirected, foreign = (
                    sum(f" {status} " in line for line in lines) for status in ("421", "403")
                )
                assert misdirected + foreign == len(lines), lines
                if name == "rebound.example":
                    is_all = misdirected >= 10 + mapped
                else:
                    # Without Sec-Fetch, Origin and Referer, only their host tells that a page sent them.
                    # Chromium repeats what gets a 421.
                    is_all = foreign >= 10 and misdirected in (mapped, 2 * mapped)
                return (misdirected, foreign) if is_all else None

            _, foreign = await until(refused)
            assert name != "rebound.example" or not foreign
            assert sum((await store.runs.counts()).values()) == before
        finally:
            if browser is not None and browser.returncode is None:
                browser.terminate()
                await browser.wait()
            server.close()
            await server.wait_closed()
            gateway.stop()
