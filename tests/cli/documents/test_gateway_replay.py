"""`iogate debug` calls an API where its callers do, and leaves no run behind that waits for a person."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from iogate.cli.documents.gateway_replay import NOT_SENT
from tests import fork_server
from tests.cli.conftest import Cli
from tests.cli.place import Place, environment, until

ASKING = """\
document:
  dsl: '1.0.3'
  namespace: shop
  name: asking
  version: 1.0.0
  metadata: {iogate: {links: {approve: {ttl: 1h}}}}
do:
  - decided: {listen: {to: {one: {with: {type: iogate.link.approve}}}}}
"""
API = """\
module: refunds
auth: none
timeout: 5m
methods:
  request:
    workflow: shop/asking
    enabled: true
    limits: {concurrency: {key: /customer}}
    debug:
      - name: approved
        body: {customer: ada}
        events: [{type: iogate.link.approve}]
      - name: undecided
        body: {customer: ada}
"""


@pytest.fixture
def refunds(live: Cli) -> Iterator[Cli]:
    files = [live.write("workflows.d/asking.yaml", ASKING), live.write("apis.d/refunds.yaml", API)]
    live("apply", "--yes")
    yield live
    for file in files:
        file.unlink()
    live("apply", "--yes", "--prune")


def test_a_case_with_events_is_skipped_and_a_run_that_waits_is_cancelled_or_kept(
    refunds: Cli, shop: Place
) -> None:
    # On a slow machine its time may be over before it waits.
    told = "at /do/0/decided; debug waits 3s at most"
    debug = ("debug", "refunds/request", "--timeout", "3s", "-o", "json")
    ran = until(lambda: told in (found := refunds(*debug, code=9)).err and found)
    assert (ran.json["passed"], ran.json["failed"], ran.json["skipped"]) == (0, 1, 1)
    skipped, failed = ran.json["cases"]
    assert (skipped["passed"], skipped["skipped"], skipped["uid"]) == (None, NOT_SENT, None)
    uid = failed["uid"]
    assert failed["failures"][:2] == [
        f"run {uid} is still waiting after 3s: it waits for an event iogate.link.approve at /do/0/decided",
        "debug has cancelled it; --keep leaves it",
    ]
    waits = f"run {uid} waits for an event iogate.link.approve at /do/0/decided; debug waits 3s at most"
    assert f"refunds/request: undecided: {waits}\n" in ran.err
    until(lambda: refunds("runs", "show", uid, "-o", "json").json["status"] == "cancelled")
    text = refunds("debug", "refunds/request", "--timeout", "2s", "--name", "approved", code=9).out
    assert "refunds/request: approved  failed" in text, "chosen by its name, it is started"

    ran = refunds(
        "debug", "refunds/request", "--name", "undecided", "--timeout", "1s", "--keep", "-o", "json", code=9
    )
    (case,) = ran.json["cases"]
    assert case["failures"][1] == f"cancel it with: iogate runs cancel {case['uid']}"
    until(lambda: refunds("runs", "show", case["uid"], "-o", "json").json["status"] == "waiting")
    refunds("runs", "cancel", case["uid"], "-q")
    # Until a worker has ended it, it is listed as one that waits.
    until(lambda: refunds("runs", "show", case["uid"], "-o", "json").json["status"] == "cancelled")
    _check_interrupt(refunds, shop)  # with the same API: one that an apply deletes returns disabled


def _check_interrupt(refunds: Cli, shop: Place) -> None:
    """Ctrl-C cancels the run, too."""

    def status(name: str) -> list[str]:
        listed = refunds("runs", "list", "--api", "refunds/request", "--status", name, "-o", "json").json
        return [run["uid"] for run in listed["runs"]]

    with (refunds.root / "debug.err").open("wb") as err:
        process = fork_server.start(
            *("iogate", "debug", "refunds/request", "--name", "undecided"),
            environment={**environment(), "IOGATE_PORT": str(shop.port)},
            folder=refunds.root,
            stdout=err,
            stderr=err,
            patient=True,
        )
    try:
        until(lambda: bool(status("waiting")))
        (uid,) = status("waiting")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    until(lambda: uid in status("cancelled"))


def test_a_case_goes_to_the_path_of_the_api_and_its_curl_line_is_shown(live: Cli, shop: Place) -> None:
    ran = live("debug", "shop/buy", "--name", "one", "-o", "json")
    (case,) = ran.json["cases"]
    assert (case["passed"], case["http"]) == (True, 202), "an accepted call counts as a 202 in each mode"
    body = "-H 'Content-Type: application/json' -d '{\"sku\": \"A-1\"}'"
    assert f"shop/buy: one: curl {body} {shop.url}/hooks/buy\n" in ran.err
    guarded = live("debug", "shop/guarded").err
    assert (
        'curl -H "token: $SHOP_TOKEN" -H \'Content-Type: application/json\' -d \'{"sku": "A-2"}\'' in guarded
    )
    assert f"{shop.url}/v1/api/shop/guarded/async\n" in guarded
    assert "iog_shop" not in guarded


PRICES = """\
module: prices
auth: none
timeout: 5m
methods:
  change:
    workflow: shop/buy
    enabled: true
    coalesce: {key: /sku, window: 1h}
    debug:
      - name: known
        headers: {Idempotency-Key: debug}
        body: {sku: A-1}
"""


def test_a_run_that_stands_for_earlier_calls_is_not_cancelled(live: Cli, shop: Place) -> None:
    file = live.write("apis.d/prices.yaml", PRICES)
    live("apply", "--yes")
    try:
        status, first = shop.call("/v1/api/prices/change/async", {"sku": "A-1"})
        assert status == 202
        uid = first["uid"]
        ran = live("debug", "prices/change", "--timeout", "1s", "-o", "json", code=9)
        (case,) = ran.json["cases"]
        assert (case["uid"], case["failures"][1]) == (uid, f"cancel it with: iogate runs cancel {uid}")
        assert f"prices/change: known: the run {uid}" in ran.err
        shown = live("runs", "show", uid, "-o", "json").json
        assert (shown["status"], shown["mergedCalls"]) == ("pending", 1)
        live("runs", "cancel", uid, "-q")
    finally:
        file.unlink()
        live("apply", "--yes", "--prune")
