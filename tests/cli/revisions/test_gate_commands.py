"""`enable` and `disable`: selections, confirmation, holds, and what other commands say about them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
import typer

from iogate.cli.options import parse_rate
from iogate.errors import Misused, NotFound
from iogate.operators.live_revision import ApiSelection
from tests.cli.conftest import Cli
from tests.cli.place import Place, until
from tests.store.builders import api, bundle


@pytest.fixture(name="live")
def _live(live: Cli) -> Iterator[Cli]:
    """The command line against the project of all tests, whose switches are restored afterwards."""
    yield live
    live("enable", "shop/buy", "shop/guarded")
    live("override", "clear", "--all")


def rows(live: Cli, *command: str) -> dict[str, dict[str, object]]:
    found = live(*command, "-o", "json").json
    return {row["api"]: row for row in found["apis"]}


def hold(live: Cli, *selection: str) -> str:
    """Hold APIs by `disable` once the runs of earlier tests are taken, and return its output."""
    until(lambda: rows(live, "status")["shop/buy"]["queued"] == 0)
    return live("disable", *selection, "--hold", "--reason", "stock").out


def test_all_apis_are_disabled_in_one_step_with_a_confirmation(live: Cli, shop: Place) -> None:
    ran = live("disable", "--all", code=64)
    assert re.search(
        r"iogate: this would disable all \d+ live APIs \[IOG642\]\n  add --yes to confirm", ran.err
    )
    assert rows(live, "api", "list")["shop/buy"]["enabled"] is True
    ran = live("disable", "--all", "--yes", "--reason", "the payment provider is down")
    assert "disabled shop/buy\n" in ran.out
    assert "disabled shop/hashed (it was already)\n" in ran.out
    states = rows(live, "api", "list")
    assert {row["enabled"] for row in states.values()} == {False}
    assert shop.call("/v1/api/shop/fail/async", {})[0] == 403
    shown = live("status").out
    assert re.search(r"shop/buy +disabled .* by \S+@\S+: the payment provider is down", shown), shown
    live("override", "clear", "--all")
    states = rows(live, "api", "list")
    assert (states["shop/fail"]["enabled"], states["shop/hashed"]["enabled"]) == (True, False)


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_all_is_asked_about(live: Cli, monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:  # noqa: FBT001
    asked: list[str] = []

    def confirm(question: str, *, err: bool) -> bool:
        asked.append(question)
        assert err
        return answer

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(typer, "confirm", confirm)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    ran = live("disable", "--all", "--hold", code=0 if answer else 4)
    assert len(asked) == 1
    assert re.fullmatch(r"Hold all \d+ live APIs\?", asked[0])
    assert rows(live, "api", "list")["shop/buy"]["held"] is answer
    if not answer:
        assert "not confirmed: nothing was changed [IOG642]" in ran.err


def test_a_disable_without_a_reason_suggests_one(live: Cli) -> None:
    assert "no reason given: --reason TEXT tells others why" in live("disable", "shop/buy").err
    assert "no reason" not in live("disable", "shop/buy", "--reason", "x").err


def test_calls_on_hold_are_stored_and_shown_and_start_after_enable(live: Cli, shop: Place) -> None:
    assert hold(live, "shop/buy") == "held shop/buy: 0 runs on hold\n"
    status, answer = shop.call("/v1/api/shop/buy/sync", {"sku": "A-1"})
    assert status == 202, "a run on hold would not end in time"
    uid = answer["uid"]
    assert live("runs", "show", uid, "-o", "json").json["waitingFor"]["kind"] == "hold"
    until(lambda: shop.call(f"/v1/runs/{uid}")[1]["waitingFor"]["kind"] == "hold")
    (row,) = [each for each in live("runs", "list", "-o", "json").json["runs"] if each["uid"] == uid]
    assert (row["status"], row["held"]) == ("pending", True)
    assert re.search(rf"{uid} .* pending \(held\) ", live("runs", "list").out)
    for command in (("api", "list"), ("status",)):
        shown = rows(live, *command)["shop/buy"]
        assert (shown["held"], shown["enabled"], shown["queued"]) == (True, True, 1)
        assert re.search(r"shop/buy .*held .*by \S+: stock", live(*command).out)
    details = live("api", "show", "shop/buy", "-o", "json").json
    assert (details["held"], details["enabledInGit"], details["override"]["reason"]) == (True, True, "stock")
    (override,) = live("override", "list", "-o", "json").json["overrides"]
    assert (override["api"], override["held"]) == ("shop/buy", True)
    assert re.search(r"shop/buy +held ", live("override", "list").out)
    assert live("enable", "shop/buy").out == "enabled shop/buy: releases 1 run\n"
    live("runs", "wait", uid, "--timeout", "30")


def test_a_release_with_a_rate_is_shown_and_needs_no_command(live: Cli, shop: Place) -> None:
    hold(live, "shop/buy")
    uids = [shop.buy() for _ in range(4)]
    assert live("enable", "shop/buy", "--rate", "6/m").out == "enabled shop/buy: releases 4 runs, 6/m\n"
    assert re.search(r"shop/buy .*enabled, releasing 0\.1/s", live("api", "list").out)
    assert rows(live, "status")["shop/buy"]["releasePerS"] == pytest.approx(0.1)
    live("enable", "shop/buy", "--rate", "100/s")
    for uid in uids:
        live("runs", "wait", uid, "--timeout", "30")
    until(lambda: rows(live, "status")["shop/buy"]["releasePerS"] is None)


def test_clearing_overrides_releases_by_a_rate(live: Cli, shop: Place) -> None:
    hold(live, "--module", "shop")
    assert rows(live, "api", "list")["shop/hashed"]["enabled"] is False, "a hold opens nothing"
    uids = [shop.buy() for _ in range(3)]
    live("override", "clear", "--all", "--rate", "6/m")
    # The first run is released at once, but a worker may still have to take it.
    shown = until(lambda: (found := rows(live, "status"))["shop/buy"]["queued"] == 2 and found)
    assert shown["shop/buy"]["enabled"] is True
    assert shown["shop/buy"]["releasePerS"] == pytest.approx(0.1)
    assert shown["shop/hashed"]["enabled"] is False
    live("enable", "shop/buy")
    for uid in uids:
        live("runs", "wait", uid, "--timeout", "30")


def test_an_api_is_opened_on_hold(live: Cli, shop: Place) -> None:
    until(lambda: rows(live, "status")["shop/buy"]["queued"] == 0)
    live("disable", "shop/buy", "--reason", "x")
    assert live("enable", "--hold", "shop/buy").out == "held shop/buy: 0 runs on hold\n"
    uid = shop.buy()
    assert live("enable", "shop/buy").out == "enabled shop/buy: releases 1 run\n"
    live("runs", "wait", uid, "--timeout", "30")
    assert (
        "--hold and --rate cannot be combined"
        in live("enable", "--hold", "--rate", "1/s", "shop/buy", code=64).err
    )


def test_queued_runs_of_a_disabled_api_are_mentioned(live: Cli, shop: Place) -> None:
    hold(live, "shop/buy")
    for _ in range(2):
        shop.buy()
    live("enable", "shop/buy", "--rate", "0.001/s")
    until(lambda: rows(live, "status")["shop/buy"]["queued"] == 1)  # a worker has taken the first run
    ran = live("disable", "shop/buy", "--reason", "x")
    assert "1 queued run will still start: iogate disable --hold keeps new runs from starting" in ran.err
    live("enable", "shop/buy")


def test_a_disabled_api_with_runs_on_hold_says_so(live: Cli, shop: Place) -> None:
    hold(live, "shop/buy")
    shop.buy()
    assert live("disable", "shop/buy", "--reason", "x").out == "disabled shop/buy: 1 run on hold\n"
    assert re.search(r"shop/buy .*disabled, held", live("api", "list").out)
    assert shop.call("/v1/api/shop/buy/async", {})[0] == 403


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["disable"], "give either the ids of APIs, --module or --tag, or --all", 64),
        (["disable", "--all", "shop/buy"], "give either the ids of APIs, --module or --tag, or --all", 64),
        (["disable", "--module", "shopp"], 'no live API in module shopp; did you mean "shop"? [IOG641]', 8),
        (["enable", "--tag", "none"], "no live API with tag none [IOG641]", 8),
        (["enable", "shop/buy", "--rate", "fast"], "--rate fast: expected a rate such as 50/s", 64),
        (["enable", "shop/buy", "--rate", "0/s"], "--rate 0/s: expected a rate such as 50/s", 64),
    ],
)
def test_wrong_selections_and_rates_are_reported(
    live: Cli, arguments: list[str], message: str, code: int
) -> None:
    assert message in live(*arguments, code=code).err


def test_a_revision_that_changes_all_the_time_ends_the_attempts(
    live: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iogate.store.revisions.gates import Gates

    async def before_now(self: Gates) -> int:
        return 0

    with monkeypatch.context() as patched:
        patched.setattr(Gates, "changes", before_now)
        ran = live("disable", "--module", "shop", code=4)
    assert "changed 10 times meanwhile: nothing was switched [IOG643]\n  repeat the command" in ran.err


def test_criteria_add_up_and_name_an_api_once() -> None:
    import msgspec

    tagged = msgspec.structs.replace(api("pay/one"), tags=("money",))
    revision = bundle(api("shop/b"), api("shop/a"), tagged, api("other/one")).revision

    def selected(*apis: str, modules: tuple[str, ...] = (), tags: tuple[str, ...] = ()) -> list[str]:
        return ApiSelection(apis=apis, modules=modules, tags=tags, all_=False).resolve(revision)

    assert selected("shop/b", modules=("shop",), tags=("money",)) == ["shop/b", "shop/a", "pay/one"]
    assert ApiSelection(apis=(), modules=(), tags=(), all_=True).resolve(revision) == sorted(revision.apis)
    with pytest.raises(NotFound, match="no live API gone/one"):
        selected("gone/one")
    left = ApiSelection(apis=("gone/one",), modules=(), tags=(), all_=False)
    assert left.resolve(revision, {"gone/one"}) == ["gone/one"]


def test_a_rate_is_a_number_per_second() -> None:
    assert [parse_rate(text, "--rate") for text in (None, "50/s", "6/m", "1.5/h")] == [
        None,
        50.0,
        0.1,
        1.5 / 3600,
    ]
    with pytest.raises(Misused):
        parse_rate("50", "--rate")
