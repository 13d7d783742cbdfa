"""The short form of `make faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.store.embedded.server import temporary_server
from iogate.store.store import Store
from tests.faults import (
    batches,
    callbacks,
    canaries,
    commit_points,
    disables,
    fanout,
    forwarding,
    hostile_bodies,
    links,
    operator_canaries,
    publication,
    signatures,
    uploads,
)
from tests.faults.chaos import report, session_of_kills
from tests.faults.crash import crash
from tests.gateway.driver import opened


@pytest.mark.timeout(480)
async def test_nothing_accepted_is_lost_and_nothing_committed_repeats_whatever_is_killed(
    tmp_path: Path,
) -> None:
    """Worker, parent, gateway and store are killed at random under load; the seed is in the report."""
    outcome = await session_of_kills(
        tmp_path / "site", kills=4, seed=20261123, rps=20, poison=1, promise_s=180
    )
    assert outcome.kills.total() == 4, report(outcome)
    assert outcome.accepted, report(outcome)
    assert outcome.lost_nothing, report(outcome)
    assert set(outcome.statuses) == {"completed"}, report(outcome)


@pytest.mark.timeout(240)
async def test_run_of_every_task_ends_as_undisturbed_whichever_commit_its_worker_dies_at(
    tmp_path: Path,
) -> None:
    """At every fifth commit, at one point of each; `make faults` does all of them."""
    trials = await commit_points.all_points(tmp_path, every=5)
    assert trials.commits >= 12
    assert trials.hold, trials.table()


@pytest.mark.timeout(240)
async def test_crash_of_everything_delays_the_runs_that_were_at_work_and_poisons_none(tmp_path: Path) -> None:
    """Twice in the middle of the same calls; `python -m tests.faults.crash` does it with 300 calls of 8 s."""
    seen = await crash(tmp_path / "site", calls=20, delay_s=1.5, crashes=2)
    assert seen["ends"] == {"completed, attempt 1": 20}, seen


@pytest.mark.timeout(240)
async def test_no_call_is_accepted_after_disable_has_returned_not_by_a_stopped_gateway_either(
    tmp_path: Path,
) -> None:
    """Twice; `python -m tests.faults.disables` does it 200 times."""
    seen = await disables.campaign(tmp_path / "site", rounds=2, gateways=2)
    assert (seen.late_calls, seen.late_runs) == (0, 0), seen.to_json()
    assert seen.accepted, seen.to_json()
    assert seen.stopped[403], "no call was under way in the stopped gateway"


@pytest.mark.timeout(240)
async def test_all_callbacks_reach_a_receiver_that_fails_half_of_the_time(
    redis_url: str, store: Store, tmp_path: Path
) -> None:
    """Of 60 runs; `python -m tests.faults.callbacks` does it with 10,000."""
    seen = await callbacks.campaign(redis_url, store, tmp_path, runs=60, limit_s=120)
    assert seen.holds, seen.to_json()
    assert seen.tries > 80, seen.to_json()


@pytest.mark.timeout(300)
async def test_no_run_of_a_batch_is_retried_twice_whatever_is_killed(
    redis_url: str, store: Store, tmp_path: Path
) -> None:
    """Of 200 runs; `python -m tests.faults.batches` does it with 10,000."""
    seen = await batches.campaign(redis_url, store, tmp_path, runs=200, kills=1)
    assert seen.holds, seen.to_json()
    assert seen.killed_gateways == 2


@pytest.mark.timeout(240)
async def test_one_of_many_simultaneous_uses_of_a_link_succeeds(
    redis_url: str, store: Store, tmp_path: Path
) -> None:
    """For 8 links; `python -m tests.faults.links` does it for 1,000, with 50 requests each."""
    seen = await links.campaign(redis_url, store, tmp_path, links=8, posts=20, scans=40)
    assert seen.holds, seen.to_json()
    assert (seen.scans, seen.posts) == ({200: 40}, {202: 8, 409: 152}), seen.to_json()


@pytest.mark.timeout(240)
async def test_a_killed_gateway_leaves_no_file_for_longer_than_stated(redis_url: str, tmp_path: Path) -> None:
    """Three times; `python -m tests.faults.uploads` does it 100 times."""
    seen = await uploads.campaign(redis_url, tmp_path, rounds=3)
    assert seen.holds, seen.to_json()
    assert seen.expiring, "no gateway was killed while it stored a file"


@pytest.mark.usefixtures("no_old_garbage")
async def test_hostile_bodies_hold_neither_the_loop_nor_memory(store: Store) -> None:
    """Four bodies against four schemas; `python -m tests.faults.hostile_bodies` takes 50 against 20."""
    bodies = ["lines of {}", "deep lists", "31 KiB of pairs", "keys"]
    schemas = ["lines", "closed", "much required", "product"]
    async with opened(store) as world:
        campaign = await hostile_bodies.every_pair(world, bodies, schemas)
    assert {trial.status for trial in campaign.trials} <= {202, 400}, campaign.table()
    assert campaign.held_s < 5 * hostile_bodies.HOLD_S, campaign.table()
    assert campaign.grown + campaign.grown_beside < 2 * hostile_bodies.GROWTH, campaign.table()


async def test_no_forged_forwarding_header_lets_anybody_in(store: Store) -> None:
    """300 requests, each directly and through a proxy; `python -m tests.faults.forwarding` sends 10,000."""
    found = await forwarding.campaign(store, requests=300, seed=20261128)
    assert found.holds, found.table()
    assert found.good.total() == 3


async def test_no_malformed_signature_starts_a_run_or_fails_the_gateway(store: Store) -> None:
    """250 deliveries; `python -m tests.faults.signatures` sends 10,000."""
    found = await signatures.campaign(store, requests=250, seed=20261128)
    assert found.holds, found.table()


@pytest.mark.timeout(240)
def test_no_canary_secret_is_found_anywhere(tmp_path: Path) -> None:
    """Five secrets in runs of all kinds; `python -m tests.faults.canaries` does 1,000 runs of twenty."""
    secrets = canaries.canaries()
    chosen = [secrets[number] for number in (1, 7, 9, 13, 14)]
    search = canaries.campaign(tmp_path, runs=len(chosen) * len(canaries.KINDS), secrets=chosen, shown=1)
    assert not search.found, search.table()
    assert len(search.characters) == 12, search.table()


@pytest.mark.timeout(300)
def test_no_canary_secret_is_shown_to_an_operator(tmp_path: Path) -> None:
    """A run of each kind; `python -m tests.faults.operator_canaries` makes 1,000 with all secrets."""
    search = operator_canaries.campaign(tmp_path, runs=12, kept=2)
    assert not search.found, search.table()


@pytest.mark.timeout(240)
async def test_publication_under_load_refuses_no_call_and_shows_no_third_revision(tmp_path: Path) -> None:
    """Twenty applies; `python -m tests.faults.publication` does 1,000."""
    with temporary_server() as server:
        found = await publication.applies_under_load(server.url, tmp_path, applies=20, gateways=2)
    assert len(found.seconds) == 20
    assert found.statuses[202] >= 20
    assert found.hold, found.figures()


async def test_one_of_many_concurrent_applies_wins() -> None:
    """Eight at once, three times; `python -m tests.faults.publication` does it with 20, 50 times."""
    with temporary_server() as server:
        assert await publication.races(server.url, rounds=3, sides=8) == [1, 1, 1]


@pytest.mark.timeout(240)
async def test_killed_apply_or_rollback_leaves_the_old_or_the_new_revision(tmp_path: Path) -> None:
    """Six kills; `python -m tests.faults.publication` does 200."""
    with temporary_server() as server:
        found = await publication.kills(server.url, tmp_path, times=6, seed=20261128)
    assert found.ends.total() == 6
    assert not found.mixed, found.figures()


@pytest.mark.timeout(240)
async def test_parallel_loop_is_fast_keeps_its_order_and_repeats_only_calls_in_flight(tmp_path: Path) -> None:
    """40 items of 100 ms, one worker killed; `python -m tests.faults.fanout` does up to 10,000."""
    async with fanout.Items(delay_s=0.1, gate=10) as server:
        with temporary_server() as redis:
            site = await fanout.site_at(redis.url, tmp_path, server, parallel=10, workers=2)
            try:
                timed = await fanout.loop(site, server, 40, watched=True)
                killed = await fanout.loop(site, server, 40, kill_after=15)
            finally:
                await site.close()
                await site.store.close()
    assert timed.in_order
    assert killed.in_order
    assert (timed.calls, timed.repeated, timed.at_once) == (40, 0, 10)
    assert timed.frames <= 40 + 2 * 10 + 4
    assert killed.calls == 40
    assert 1 <= killed.repeated <= 10
