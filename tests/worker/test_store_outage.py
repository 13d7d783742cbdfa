"""The store does not answer for some seconds, while callbacks and windows wait: both continue, once each."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from iogate.auth.model import FileSecret
from iogate.compiler.revision import Callback
from iogate.settings import Settings
from iogate.store.runs.intake import Accepted
from iogate.store.runs.traffic import Traffic, key_hash
from tests.conftest import opened_store
from tests.keys import LINK_KEY
from tests.replicas import server
from tests.store.builders import request
from tests.worker.site import NOOP, Site, until
from tests.worker.test_run_ends import SECRET, Receiver


async def test_callbacks_and_windows_continue_after_an_outage_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "cb").write_text(SECRET)
    with server() as redis:
        async with opened_store(redis.url) as store, Receiver() as receiver:
            settings = Settings(
                redis_url=redis.url, data_dir=tmp_path / ".iogate", log_format="json", link_key=LINK_KEY
            )
            site = Site(store=store, intake=store.intake(), settings=settings, folder=tmp_path)
            await site.publish(NOOP, callback=Callback(url=f"{receiver.url}/x", secret=FileSecret(path="cb")))
            await site.worker()
            await site.worker()
            receiver.answers.append((500, ""))
            failed = await site.call()
            await until(lambda: len(receiver.ids) == 1)
            api = site.apis["test/noop"]
            coalesced = Traffic(merge=key_hash("a"), window=1_000, most=5_000)
            call = request(site.intake, api, revision=site.revision, traffic=coalesced)
            outcome = await site.intake.accept(call)
            assert isinstance(outcome, Accepted)
            redis.process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(3.0)
            finally:
                redis.process.send_signal(signal.SIGCONT)
            assert (await site.ended(outcome.uid)).status == "completed"

            async def is_delivered() -> bool:
                found = await store.callbacks.record(failed)
                return found is not None and found.delivered_ms is not None

            await until(is_delivered)
            found = await store.callbacks.record(failed)
            assert found is not None
            assert (found.tries, receiver.ids) == (2, [found.id] * 2)
            await site.close()
