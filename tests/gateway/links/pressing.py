"""Runs that wait for the use of a link, for tests of the gateway and for `tests/faults/links`."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from iogate.compiler.revision import Api, Bundle, Revision, Workflow, digest_of
from iogate.security.one_time_links import EVENT, address
from iogate.store.runs.intake import AcceptRequest
from iogate.store.runs.leases import Commit
from iogate.store.store import Store
from tests.gateway.driver import api as plain_api

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["decision", "amount"],
    "additionalProperties": False,
    "properties": {
        "decision": {"enum": ["approve", "reject"], "title": "Decision"},
        "amount": {"type": "integer", "minimum": 1, "description": "In cents"},
        "comment": {"type": "string", "maxLength": 1000},
        "urgent": {"type": "boolean"},
    },
}
LINKS: dict[str, Any] = {
    "approve": {"title": "Refund <A-1>?", "description": "Line one\n\nLine two", "schema": SCHEMA},
    "seen": {},
    "asked": {"description": '${ "Refund \\(.amount)?" }'},
}


def api(program: str) -> Api:
    return msgspec.structs.replace(plain_api("a/b"), program=program)


def definition(links: dict[str, Any] | None = None) -> dict[str, Any]:
    head = {"dsl": "1.0.3", "namespace": "test", "name": "echo", "version": "1"}
    return {
        "document": {**head, "metadata": {"iogate": {"links": LINKS if links is None else links}}},
        "do": [{"wait": {"set": {}}}],
    }


async def publish_links(store: Store, links: dict[str, Any] | None = None) -> str:
    """Publish an API whose workflow has these links; return the digest of the program."""
    document = definition(links)
    program = digest_of(document)
    revision = Revision(apis={"a/b": api(program)}, workflows={"test/echo:1": Workflow(program=program)})
    await store.revisions.publish(
        Bundle(revision=revision, programs={program: json.dumps(document).encode()})
    )
    return program


async def start(store: Store, program: str, count: int = 1) -> list[str]:
    """Accept runs of that program."""
    intake = store.intake()
    of = api(program)
    uids = []
    for _ in range(count):
        request = AcceptRequest(
            uid=intake.uid(),
            api="a/b",
            digest=of.digest,
            revision=1,
            workflow=of.workflow,
            program=program,
            input=b"{}",
        )
        uids.append((await intake.accept(request)).uid)  # type: ignore[union-attr]  # it is not refused
    return uids


def wanting(name: str, asks: str | None = None) -> bytes:
    more = {} if asks is None else {"asks": asks}
    return json.dumps([{"match": {"type": EVENT + name}, "correlate": [], **more}]).encode()


async def listen(store: Store, wants: dict[int, bytes], limit: int = 1) -> int:
    """Let the next runs park with these subscriptions, at most `limit`; return their number."""
    taken = await store.leases.take("w1", limit)
    commits = [
        Commit(
            uid=claim.uid,
            token=claim.token,
            seq=claim.seq + 1,
            move="park",
            status="waiting",
            head=b"h",
            wants=wants,
        )
        for claim in taken.claims
    ]
    assert all(each.applied for each in await store.leases.commit(commits))
    return len(commits)


def path(store: Store, uid: str, name: str, expires_s: int) -> str:
    """Return the path of a link."""
    return address(store.keyring, "", uid, name, expires_s)


async def events(store: Store, uid: str) -> list[dict[str, Any]]:
    """Return the events in the inbox of a run, whose lease is taken for that."""
    taken = await store.leases.take("w1", 1000)
    return [json.loads(message.data) for claim in taken.claims if claim.uid == uid for message in claim.inbox]
