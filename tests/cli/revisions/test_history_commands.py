"""`history` and `show` tell who published which revision, and what is in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from iogate.cli import completion
from iogate.compiler.revision import Bundle, Revision, Workflow, canonical, digest_of
from iogate.compiler.schedules import Schedule
from iogate.store import keys
from iogate.store.revisions.origin import Origin
from iogate.store.store import Store
from tests.cli.conftest import Cli
from tests.cli.test_completion import context
from tests.keys import LINK_KEY, RING
from tests.store.builders import ORDERS, api, bundle

ANN = Origin(
    author="ann@host", commit="0123456789abcdef" + "0" * 24, message="first\nprices", changes="1 API added"
)
BACK = Origin(author="bob@host", commit="f" * 40, dirty=True, action="rollback", restores=1)
PROGRAM = {"document": {"name": "beat"}, "do": []}
SCHEDULED = Bundle(
    revision=Revision(
        apis={ORDERS.id: ORDERS, "a/b": api("a/b", enabled=None)},
        workflows={
            "shop/beat:1.0.0": Workflow(
                program=digest_of(PROGRAM),
                title="Beat",
                source="workflows.d/beat.yaml",
                schedule=Schedule(kind="cron", program=digest_of(PROGRAM), cron="0 0 * * *"),
            )
        },
        resources={"project:///a%20b.py#" + "e" * 64: "e" * 64},
    ),
    programs={digest_of(PROGRAM): canonical(PROGRAM)},
)


async def _three(store: Store) -> None:
    await store.revisions.publish(bundle(ORDERS), origin=ANN)
    await store.revisions.publish(SCHEDULED)
    await store.revisions.publish(bundle(ORDERS), origin=BACK)


@pytest.fixture
def filled(cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that empties the store and calls another one on it."""
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    monkeypatch.setenv("IOGATE_LINK_KEY", LINK_KEY)

    def fill(do: Callable[[Store], object] = _three) -> None:
        async def opened() -> None:
            store = Store(redis_url, client_name="test", keyring=RING)
            await store.call("FLUSHALL")
            await do(store)  # type: ignore[misc]
            await store.close()

        asyncio.run(opened())

    return fill


def test_the_history_has_a_row_per_revision(cli: Cli, filled: Callable[..., None]) -> None:
    filled()
    head, newest, middle, first = cli("history").out.splitlines()
    assert head.split() == ["REVISION", "LIVE", "TIME", "AUTHOR", "COMMIT", "ACTION", "CHANGES", "MESSAGE"]
    assert newest.split()[:2] == ["3", "live"]
    assert newest.split()[3:] == ["bob@host", "ffffffffffff*", "rollback", "to", "1", "-", "-"]
    assert middle.split()[:2] == ["2", "-"]
    assert middle.split()[3:] == ["-", "-", "apply", "-", "-"]
    assert first.endswith("ann@host  0123456789ab   apply          1 API added  first prices")
    rows = cli("history", "--limit", "2", "-o", "json").json
    assert rows["schema"] == "iogate.history/v1"
    assert [(row["revision"], row["live"]) for row in rows["revisions"]] == [(3, True), (2, False)]
    assert rows["revisions"][0]["restores"] == 1
    assert rows["revisions"][0]["commit"] == "f" * 40


def test_show_prints_one_revision_with_its_digests(cli: Cli, filled: Callable[..., None]) -> None:
    filled()
    text = cli("show", "2").out
    program = digest_of(PROGRAM)[:12]
    assert text.startswith(f"revision   2\ndigest     {SCHEDULED.revision.digest}\npublished  2")
    for row in (
        f"orders/submit  POST   none  enabled     shop/orders:1  {ORDERS.digest[:12]}",
        "a/b            POST   none  by command  shop/orders:1",
        f"shop/beat:1.0.0  {program}  Beat   workflows.d/beat.yaml",
        "shop/beat:1.0.0  cron 0 0 * * *",
        "a%20b.py  eeeeeeeeeeee",
    ):
        assert row in text
    live = cli("show", "-o", "json").json
    assert (live["schema"], live["revision"], live["live"], live["restores"]) == (
        "iogate.show/v1",
        3,
        True,
        1,
    )
    assert [each["api"] for each in live["apis"]] == ["orders/submit"]
    assert "commit     ffff" in (shown := cli("show").out)
    assert "and other changes of the folder\naction     rollback to 1\n" in shown


def test_an_unknown_revision_exits_8_and_names_those_that_exist(
    cli: Cli, filled: Callable[..., None]
) -> None:
    filled()
    ran = cli("show", "9", code=8)
    assert ran.err == (
        "iogate: there is no revision 9: the oldest that the store keeps is 1, and 3 is live [IOG614]\n"
        "  `iogate history` lists them\n"
    )
    cli("show", "0", code=64)

    async def nothing(_: Store) -> None:
        pass

    filled(nothing)
    assert cli("show", code=8).err.startswith("iogate: no revision was applied yet\n")
    assert "none was ever applied" in cli("show", "1", code=8).err
    ran = cli("history")
    assert (ran.out, ran.err) == ("", 'no revision was applied yet: publish one with "iogate apply"\n')


def test_a_forged_origin_is_shown_as_such(cli: Cli, filled: Callable[..., None]) -> None:
    async def forged(store: Store) -> None:
        await _three(store)
        await store.call("HSET", f"{keys.REVISION}1", "origin", '{"author": "eve"}')

    filled(forged)
    ran = cli("history")
    assert "not authentic" in ran.out.splitlines()[-1]
    assert "eve" not in ran.out
    assert "revision 1 in the store is refused" in cli("show", "1", code=4).err


@pytest.mark.parametrize(
    ("number", "field", "fault"),
    [
        (1, "data", "its signature does not match it"),
        (2, "data", "its signature does not match it"),
        (2, "digest", "its digest is not that of its content"),
    ],
)
def test_the_history_checks_the_content_of_a_revision(
    cli: Cli, filled: Callable[..., None], number: int, field: str, fault: str
) -> None:
    async def forged(store: Store) -> None:
        await _three(store)
        await store.call("HSET", f"{keys.REVISION}{number}", field, "forged")

    filled(forged)
    rows = cli("history", "-o", "json").json["revisions"]
    assert {row["revision"]: row["fault"] for row in rows} == {1: None, 2: None, 3: None, number: fault}


def test_numbers_of_revisions_are_completed(
    cli: Cli, filled: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled()
    monkeypatch.setattr(completion, "BUDGET_S", 20.0)
    assert completion.revisions(context(), "") == [("3", ""), ("2", ""), ("1", "first")]
    assert cli.root.exists()
