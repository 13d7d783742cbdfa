"""A real gateway process with operators: replaced tokens, a run followed live, no token in its log."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from iogate.security.keyring import generate_pair
from iogate.security.secrets import generate_token
from iogate.settings import Settings
from iogate.store import keys
from iogate.store.integrity.trust import gateway_keyring
from iogate.store.store import Store
from tests.gateway.driver import accepts, announced, api, listening, publish, spawn, until
from tests.gateway.operators.conftest import OPERATORS, bearer
from tests.gateway.operators.test_large_bodies import large_bundle
from tests.gateway.operators.test_revision_routes import bundle, sent
from tests.keys import LINK_KEY

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


async def test_a_gateway_with_the_key_of_a_publisher_publishes(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    """A large bundle is signed by a process of its own, and served by the gateway."""
    pytest.importorskip("cryptography")
    private, public = generate_pair()
    (tmp_path / "publisher").write_text(private)
    with listening() as on:
        gateway = spawn(
            redis_url,
            on,
            tmp_path,
            operators=json.dumps(OPERATORS),
            publishers=json.dumps([public]),
            publish_key=json.dumps({"file": "publisher"}),
        )
        try:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=90) as client:

                async def is_open() -> bool:
                    try:
                        reply = await client.get("/v1/operator", headers=bearer("admin"))
                    except httpx.TransportError:
                        return False
                    return reply.status_code == 200

                await until(is_open)
                for number, found in enumerate((bundle("a/b"), large_bundle("a/b"))):
                    given = {"bundle": sent(found), "expected": number, "reason": "a test"}
                    reply = await client.post("/v1/revisions", headers=bearer("admin"), json=given)
                    assert reply.status_code == 200, reply.text
                    signature = await store.call("HGET", f"{keys.REVISION}{number + 1}", "sig")
                    assert signature.startswith(b"ed25519:")
                await until(lambda: announced(store, gateway))
                await until(lambda: accepts(client))
        finally:
            gateway.stop()
    assert private not in gateway.log.read_text()


def test_the_key_of_a_publisher_may_be_missing_at_a_gateway(tmp_path: Path) -> None:
    """Machines that share settings may not share the variables and files that these name."""
    pytest.importorskip("cryptography")
    private, public = generate_pair()
    (tmp_path / "publisher").write_text(private)
    (tmp_path / "invalid").write_text("hunter2")

    def signs(file: str, **more: Any) -> bool:
        given: dict[str, Any] = {"publishers": (public,), "operators": OPERATORS, **more}
        settings = Settings(link_key=LINK_KEY, publish_key={"file": file}, **given)
        return gateway_keyring(settings, tmp_path).signs_programs

    assert signs("publisher")
    assert not signs("gone")
    assert not signs("invalid")
    assert not signs("publisher", publishers=()), "no process would accept the signature"
    assert not signs("publisher", operators={}), "nobody can publish there"


def test_a_gateway_without_operators_does_not_load_what_only_they_need() -> None:
    """Each gateway process would start later and take more memory."""
    code = """\
import sys, iogate.gateway.__main__
needed = ("jinja2", "iogate.operators", "iogate.reconcile", "iogate.documents")
print([name for name in needed if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
