"""A retry from before the use of a link sends a new link; one that was used or has expired stays so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from iogate.errors import Refused
from iogate.operators.runs.run_retry import Retrier
from iogate.security import one_time_links
from iogate.security.one_time_links import OneTimeLink
from tests.http_server import HttpServer
from tests.worker.site import Site, until, workflow

LINKS = {"iogate": {"links": {"approve": {"title": "Approve?", "ttl": "1d"}}}}


@dataclass
class Mail(HttpServer):
    """Receiver of the links that runs send."""

    links: list[str] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        del path, headers
        self.links.append(json.loads(body)["link"])
        await self.may_answer.wait()
        return b"HTTP/1.1 204 Sent\r\n\r\n"


def approval(mail: Mail) -> dict[str, Any]:
    """Return a workflow that sends a link, waits for it, and faults."""
    found = workflow(
        "approval",
        {
            "mail": {
                "call": "http",
                "with": {
                    "method": "post",
                    "endpoint": mail.url,
                    "body": {"link": '${ $runtime.links["approve"] }'},
                },
            }
        },
        {"decided": {"listen": {"to": {"one": {"with": {"type": "iogate.link.approve"}}}}}},
        {"bad": {"raise": {"error": {"type": "https://e/x", "status": 500, "title": "No"}}}},
    )
    found["document"]["metadata"] = LINKS
    return found


async def use(site: Site, url: str) -> str:
    return await site.store.links.use(link_of(site, url), b'{"type":"iogate.link.approve","data":{}}')


def link_of(site: Site, url: str) -> OneTimeLink:
    link = one_time_links.verified(site.store.keyring, url.rpartition("/")[2])
    assert link is not None
    return link


async def retried(site: Site, uid: str, pointer: str | None, *, later_ms: int = 0) -> list[str]:
    now_ms = await site.store.now_ms() + later_ms
    retrier = Retrier(store=site.store, pointer=pointer, current=False, by="me", now_ms=now_ms)
    assert await retrier.retry(uid)
    return retrier.remarks


async def test_a_retry_from_before_a_used_link_sends_a_new_one(site: Site) -> None:
    async with Mail() as mail:
        await site.publish(approval(mail))
        await site.worker(public_url="https://gate.example")
        uid = await site.call("approval")
        for attempt in (1, 2, 3):
            await until(lambda count=attempt: len(mail.links) == count, name="the mail")  # type: ignore[misc]
            view = await site.store.links.look(link_of(site, mail.links[-1]))
            assert (view.used, view.run) == (False, "live")
            for spent in mail.links[:-1]:
                assert (await site.store.links.look(link_of(site, spent))).used
                assert await use(site, spent) == "used"
            assert await use(site, mail.links[-1]) == "ok"
            assert await use(site, mail.links[-1]) == "used"
            assert (await site.ended(uid)).status == "faulted"
            if attempt < 3:
                assert await retried(site, uid, "/do/0/mail") == [
                    f"{uid}: link approve was used; a task that sends it again gets a new URL"
                ]
        assert len(set(mail.links)) == 3


async def test_a_retry_after_a_used_link_keeps_it_and_one_that_nobody_could_continue_is_refused(
    site: Site,
) -> None:
    async with Mail() as mail:
        await site.publish(approval(mail))
        await site.worker(public_url="https://gate.example")
        uid = await site.call("approval")
        await until(lambda: len(mail.links) == 1)
        assert await use(site, mail.links[0]) == "ok"
        assert (await site.ended(uid)).status == "faulted"
        with pytest.raises(Refused) as refused:
            await retried(site, uid, "/do/1/decided")
        assert str(refused.value) == (
            'link "approve" was used, and /do/1/decided would wait for it again, while the task that sends '
            "it, /do/0/mail, would not run again"
        )
        assert refused.value.hint == "retry from that task: --from /do/0/mail"
        assert await retried(site, uid, None) == []
        assert (await site.ended(uid)).attempt == 2
        assert (await site.store.links.look(link_of(site, mail.links[0]))).used
        assert len(mail.links) == 1


async def test_a_link_that_was_not_used_stays_the_same(site: Site) -> None:
    async with Mail() as mail:
        definition = approval(mail)
        definition["do"] = [definition["do"][0], definition["do"][2], definition["do"][1]]
        await site.publish(definition)
        await site.worker(public_url="https://gate.example")
        uid = await site.call("approval")
        assert (await site.ended(uid)).status == "faulted"
        assert await use(site, mail.links[0]) == "ended"
        assert await retried(site, uid, "/do/0/mail") == []
        assert (await site.ended(uid)).attempt == 2
        assert mail.links[0] == mail.links[1], "a link that was not used stays the same"


DAY_MS = 86_400_000


async def test_a_retry_after_the_end_of_a_link_sends_a_new_one(site: Site) -> None:
    async with Mail() as mail:
        definition = approval(mail)
        mailed, _, bad = definition["do"]
        definition["do"] = [mailed, bad, {"again": mailed["mail"]}]
        await site.publish(definition)
        await site.worker(public_url="https://gate.example")
        uid = await site.call("approval")
        assert (await site.ended(uid)).status == "faulted"
        remark = f"{uid}: link approve has expired; a task that sends it again gets a new URL"
        assert await retried(site, uid, "/do/0/mail") == []
        assert (await site.ended(uid)).attempt == 2
        assert mail.links[0] == mail.links[1]
        assert await retried(site, uid, "/do/0/mail", later_ms=DAY_MS) == [remark]
        assert (await site.ended(uid)).attempt == 3
        assert link_of(site, mail.links[2]).expires_s >= link_of(site, mail.links[0]).expires_s + 86_400
        # Another mail is after the task that faulted, so a plain retry renews the link as well.
        assert await retried(site, uid, None, later_ms=3 * DAY_MS) == [remark]


async def test_a_retry_that_waits_for_an_expired_link_is_refused(site: Site) -> None:
    async with Mail() as mail:
        definition = approval(mail)
        definition["do"][1]["decided"]["timeout"] = {"after": {"milliseconds": 200}}
        await site.publish(definition)
        await site.worker(public_url="https://gate.example")
        uid = await site.call("approval")
        assert (await site.ended(uid)).status == "faulted"
        for pointer in (None, "/do/1/decided"):
            with pytest.raises(Refused) as refused:
                await retried(site, uid, pointer, later_ms=DAY_MS)
            assert str(refused.value) == (
                'link "approve" has expired, and /do/1/decided would wait for it again, while the task that '
                "sends it, /do/0/mail, would not run again"
            )
            assert refused.value.hint == "retry from that task: --from /do/0/mail"
        assert await retried(site, uid, "/do/0/mail", later_ms=DAY_MS) == [
            f"{uid}: link approve has expired; a task that sends it again gets a new URL"
        ]
        await until(lambda: len(mail.links) == 2)
        assert mail.links[0] != mail.links[1]
        assert await use(site, mail.links[1]) in {"ok", "ended"}


async def test_an_event_that_waits_survives_the_end_of_its_link(site: Site) -> None:
    async with Mail() as mail:
        definition = approval(mail)
        mailed, decided, bad = definition["do"]
        bad["bad"]["if"] = "${ $context.fixed != true }"
        definition["do"] = [mailed, {"pause": {"wait": {"milliseconds": 400}}}, bad, decided]
        await site.publish(definition)
        await site.worker(public_url="https://gate.example")
        mail.may_answer.clear()
        uid = await site.call("approval")
        await until(lambda: len(mail.links) == 1)
        assert await use(site, mail.links[0]) == "ok"
        mail.may_answer.set()
        assert (await site.ended(uid)).status == "faulted"
        assert await retried(site, uid, None, later_ms=DAY_MS) == []
