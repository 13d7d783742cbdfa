"""A real gateway process with operators: replaced tokens, a run followed live, no token in its log."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx

from iogate.security.secrets import generate_token
from iogate.store import keys
from iogate.store.store import Store
from tests.gateway.driver import accepts, announced, api, listening, publish, spawn, until

STARTED = b'{"at":1700000000000,"kind":"task.started","reference":"/do/0/a","name":"a"}'


async def test_a_gateway_reads_a_replaced_token_and_streams_a_run_to_its_end(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    old, new, other = generate_token(), generate_token(), generate_token()
    (tmp_path / "ada").write_text(old)
    operators = json.dumps(
        {
            "ada": {"token": {"file": "ada"}, "role": "operate"},
            "bob": {"token": {"file": "gone"}, "role": "admin"},
        }
    )
    await publish(store, api("a/b"))
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path, operators=operators, access_log="all")
        try:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
                await until(lambda: announced(store, gateway))
                await until(lambda: accepts(client))

                async def status(token: str) -> int:
                    headers = {"authorization": f"Bearer {token}"}
                    return (await client.get("/v1/runs", headers=headers)).status_code

                assert [await status(each) for each in (old, new, other)] == [200, 401, 401]
                (tmp_path / "ada").write_text(new)

                async def is_replaced() -> bool:
                    return await status(new) == 200

                await until(is_replaced)
                assert await status(old) == 401
                headers = {"authorization": f"Bearer {new}"}
                uid = (await client.post("/v1/api/a/b/async")).json()["response"]["uid"]
                following = asyncio.ensure_future(client.get(f"/v1/runs/{uid}/events", headers=headers))
                reply = await client.post(
                    f"/v1/runs/{uid}/cancel", headers=headers, json={"reason": "it hangs"}
                )
                assert reply.status_code == 202
                streamed = (await following).text
                assert "event: end" in streamed
                assert '"status":"cancelled"' in streamed
        finally:
            gateway.stop()
    log = gateway.log.read_text()
    assert "operator bob is shut out: secret file gone does not exist" in log
    stored = b"".join(await store.call("HVALS", keys.ACTIVITY)).decode()
    assert "it hangs" in stored
    for token in (old, new, other):
        assert token not in log + stored


def test_a_gateway_without_operators_does_not_load_what_only_they_need() -> None:
    """Each gateway process would start later and take more memory."""
    code = """\
import sys, iogate.gateway.__main__
needed = ("jinja2", "iogate.operators", "iogate.reconcile", "iogate.documents")
print([name for name in needed if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
