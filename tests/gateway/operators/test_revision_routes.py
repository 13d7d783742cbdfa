"""Routes of revisions: pages, differences, rollback and publication, each with its guard."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis

from iogate.auth.allow_ips import AllowedAddresses
from iogate.auth.model import AnyAuth, FileSecret, JwtAuth, SignatureAuth, TokenAuth, UserAuth
from iogate.compiler.revision import Bundle, Revision, Workflow, digest_of
from iogate.gateway.operators.operations import OPERATIONS
from iogate.operators.publication_plan import PublicationPlan
from iogate.operators.publications import read_publication
from iogate.reconcile import bundle_codec
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.maintenance.process_presence import Process
from iogate.store.revisions.convergence import Convergence, Convergences, Late
from tests.gateway.driver import World, api
from tests.gateway.operators.conftest import bearer, refusal
from tests.gateway.operators.test_api_routes import read, send
from tests.keys import LINK_KEY

GUARDED = "this would delete 1 API (shop/sell); pass prune and max_deletes 1 to delete"
DEFINITION: dict[str, Any] = {
    "document": {"dsl": "1.0.3", "namespace": "test", "name": "echo", "version": "1"},
    "do": [{"a": {"set": {"x": 1}}}],
}
PROGRAM, DATA = digest_of(DEFINITION), json.dumps(DEFINITION).encode()
ECHO = Workflow(program=PROGRAM)


def bundle(*names: str, **more: Any) -> Bundle:
    apis = {name: msgspec.structs.replace(api(name), program=PROGRAM) for name in names}
    revision = Revision(apis=apis, workflows={"test/echo:1": ECHO}, **more)
    return Bundle(revision=revision, programs={PROGRAM: DATA})


async def publish(world: World, found: Bundle, expected: int, role: str = "admin", **more: Any) -> Any:
    given = {"bundle": json.loads(bundle_codec.encode(found)), "expected": expected, "wait": 0} | more
    return await send(world, "/v1/revisions", "POST", role, headers={}, **given)


async def test_a_bundle_is_published_listed_and_compared(operated: World) -> None:
    first = await publish(operated, bundle("shop/buy"), 0, commit="0123abc", dirty=True)
    assert (first.status, first.json["revision"], first.json["changed"]) == (200, 1, True), first.body
    await operated.refresher.reload()
    assert (await operated.call("shop/buy")).status == 202
    second = await publish(operated, bundle("shop/buy", "shop/sell"), 1)
    assert (second.json["previous"], second.json["plan"]["summary"]["add"]) == (1, 1)
    listed = await read(operated, "/v1/revisions?limit=1")
    assert (listed.json["live"], listed.headers["etag"], listed.json["nextCursor"]) == (2, '"2"', "2")
    (entry,) = (await read(operated, "/v1/revisions?cursor=2")).json["revisions"]
    assert (entry["author"], entry["message"]) == ("adminer", "the shop is down")
    assert (entry["commit"], entry["dirty"], entry["changes"]) == (
        "0123abc",
        True,
        "1 API added; 1 workflow added",
    )
    shown = (await read(operated, "/v1/revisions/live")).json
    assert [each["api"] for each in shown["apis"]] == ["shop/buy", "shop/sell"]
    diff = (await read(operated, "/v1/revisions/live/diff/1")).json
    assert (diff["from"]["revision"], diff["to"]["revision"], diff["needs"]) == (
        2,
        1,
        ["--prune", "--max-deletes 1"],
    )
    assert [(each["action"], each["id"]) for each in diff["changes"]] == [("delete", "shop/sell")]
    entries = (await read(operated, "/v1/activity?action=revisions")).json["activity"]
    assert [(each["revision"], each["message"].partition(";")[0]) for each in entries] == [
        (2, "1 API added"),
        (1, "1 API added"),
    ]
    same = await publish(operated, bundle("shop/buy", "shop/sell"), 2)
    assert (same.json["revision"], same.json["changed"]) == (2, False)


async def test_revisions_are_listed_if_the_record_of_the_live_one_is_refused(operated: World) -> None:
    assert (await publish(operated, bundle("shop/buy"), 0)).status == 200
    await operated.store.call("HSET", keys.LIVE, keys.LIVE_SEAL, "1 x")
    listed = await read(operated, "/v1/revisions")
    assert (listed.json["live"], [each["live"] for each in listed.json["revisions"]]) == (None, [False])
    assert (await read(operated, "/v1/revisions/1")).json["live"] is False
    refused = await operated.ask("/v1/revisions/live", headers=bearer("read"))
    assert refusal(refused)[:2] == (409, "requestError.conflict")


@pytest.mark.parametrize("path", ["9", "9/diff/1", "1/diff/9"])
async def test_an_unknown_revision_is_not_found(operated: World, path: str) -> None:
    await publish(operated, bundle("shop/buy"), 0)
    reply = await operated.ask(f"/v1/revisions/{path}", headers=bearer("read"))
    assert refusal(reply)[:2] == (404, "requestError.notFound")
    assert reply.message.startswith(
        "there is no revision 9: the oldest that the store keeps is 1, and 1 is live"
    )
    for wrong in ("0", "x", "1x", "1/diff/x"):
        assert (await operated.ask(f"/v1/revisions/{wrong}", headers=bearer("read"))).status == 404


async def test_a_rollback_replaces_only_the_seen_revision_and_is_guarded(operated: World) -> None:
    for number, found in enumerate((bundle("shop/buy"), bundle("shop/buy", "shop/sell"))):
        assert (await publish(operated, found, number)).status == 200
    path = "/v1/revisions/1/rollback"
    missing = await send(operated, path, "POST", "admin", headers={})
    assert refusal(missing)[:2] == (428, "requestError.preconditionRequired")
    stale = await send(operated, path, "POST", "admin", headers={"if_match": '"1"'}, prune=True)
    assert refusal(stale) == (
        412,
        "requestError.preconditionFailed",
        "the live revision is 2, not 1: someone else applied in between; fetch what they committed, then "
        "apply again",
    )
    seen = {"if_match": '"2"'}
    guarded = await send(operated, path, "POST", "admin", headers=seen)
    assert refusal(guarded)[:2] == (409, "requestError.conflict")
    assert guarded.message == GUARDED
    assert (await read(operated, "/v1/revisions")).json["live"] == 2
    forbidden = await send(operated, path, "POST", "operate", headers=seen)
    assert refusal(forbidden)[2] == "This takes the role admin; operator operateer has the role operate"
    done = await send(operated, path, "POST", "admin", headers=seen, prune=True, max_deletes=1, wait=0)
    assert (done.status, done.json["revision"], done.json["processes"]["total"]) == (200, 3, 0)
    (entry, *_) = (await read(operated, "/v1/revisions")).json["revisions"]
    assert (entry["action"], entry["restores"], entry["author"]) == ("rollback", 1, "adminer")
    entries = (await read(operated, "/v1/activity?action=revisions.rollback")).json["activity"]
    assert [(each["outcome"], each["revision"]) for each in entries] == [
        ("done", 3),
        ("refused", None),
        ("refused", None),
    ]
    unknown = await send(operated, "/v1/revisions/9/rollback", "POST", "admin", headers={"if_match": "*"})
    assert unknown.status == 404


async def test_a_publication_is_guarded_and_names_its_base(operated: World) -> None:
    assert (await publish(operated, bundle("shop/buy", "shop/sell"), 0)).status == 200
    late = await publish(operated, bundle("shop/buy", "shop/sell", "shop/lend"), 0)
    assert refusal(late)[:2] == (412, "requestError.preconditionFailed")
    guarded = await publish(operated, bundle("shop/buy"), 1)
    assert guarded.message == f"{GUARDED}, or keep_orphans to keep what the files lack"
    kept = await publish(operated, bundle("shop/buy"), 1, keep_orphans=True)
    assert (kept.json["revision"], kept.json["changed"]) == (1, False)
    assert (await publish(operated, bundle("shop/buy"), 1, prune=True, max_deletes=1)).json["revision"] == 2
    assert (await publish(operated, bundle("shop/buy"), 2, role="operate")).status == 403
    missing = await send(operated, "/v1/revisions", "POST", "admin", headers={}, bundle={})
    assert refusal(missing)[2] == "The member expected of the body is missing"


async def plan(world: World, role: str = "read", **given: Any) -> Any:
    headers = bearer(role) | {"content-type": "application/json"}
    return await world.ask("/v1/plan", "POST", headers, json.dumps(given).encode())


def sent(found: Bundle) -> Any:
    return json.loads(bundle_codec.encode(found))


async def test_a_plan_is_computed_for_a_reader_and_changes_nothing(operated: World) -> None:
    first = (await plan(operated, bundle=sent(bundle("shop/buy")))).json
    assert (first["base"], first["identity"], first["summary"]["add"]) == (None, None, 2)
    assert PublicationPlan.read(first).number == 0
    assert (await read(operated, "/v1/revisions")).json["live"] is None
    assert (await publish(operated, bundle("shop/buy", "shop/sell"), 0)).status == 200
    found = (await plan(operated, bundle=sent(bundle("shop/buy")))).json
    assert (found["base"]["revision"], found["needs"]) == (1, ["--prune", "--max-deletes 1"])
    assert found["deletions"]["apis"] == {"deleted": ["shop/sell"], "live": 2, "left": 1}
    assert [(each["action"], each["id"]) for each in found["changes"]] == [("delete", "shop/sell")]
    assert not (await plan(operated, bundle=sent(bundle("shop/buy")), keep_orphans=True)).json["changes"]
    assert not (await plan(operated, restores=1)).json["changes"]
    unknown = await plan(operated, restores=9)
    assert refusal(unknown)[:2] == (404, "requestError.notFound")
    selected = await plan(operated, bundle=sent(bundle("shop/buy")), select="shp")
    assert selected.message == (
        'no API has the tag or module shp; did you mean "shop"?; select a tag, or a module, of APIs in the '
        "files or live"
    )
    actions = (await read(operated, "/v1/activity")).json["activity"]
    assert [each["action"] for each in actions] == ["revisions.publish"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "a plan is that of a bundle or of a revision: expected either bundle or restores"),
        ({"bundle": {}, "restores": 1}, "a plan is that of a bundle or of a revision"),
        ({"restores": 1, "select": "a"}, "select, keep_orphans and cases need a bundle"),
        (
            {"bundle": {}},
            "the bundle cannot be published: it has another form: Object missing required field",
        ),
        ({"bundle": 1}, "The member bundle of the body must be an object that `iogate bundle` has made"),
        (
            {"bundle": {}, "cases": {"shop/buy": {"total": -1}}},
            "The member cases of the body must be an object with `total` and `failing` for each API",
        ),
        ({"bundle": {}, "reason": "x"}, 'Unknown member of the body "reason"'),
    ],
)
async def test_a_plan_of_nothing_is_refused(operated: World, given: dict[str, Any], why: str) -> None:
    reply = await plan(operated, **given)
    assert refusal(reply)[:2] == (400, "requestError.invalidParams")
    assert reply.message.startswith(why)


@pytest.fixture
def opened_files() -> Iterator[list[str]]:
    """Paths of the files that this process opens."""
    found: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open":
            found.append(str(arguments[0]))

    sys.addaudithook(watch)
    yield found
    watching = False


async def test_a_bundle_is_checked_without_the_secrets_and_files_of_the_machine(
    operated: World, tmp_path: Path, opened_files: list[str]
) -> None:
    secret, networks, pipe = tmp_path / "secret", tmp_path / "networks", tmp_path / "pipe"
    secret.write_text("0123456789abcdef")
    networks.write_text("192.0.2.0/24")
    os.mkfifo(pipe)
    files = tuple(FileSecret(path=str(each)) for each in (secret, pipe, Path("/dev/zero")))
    auth = AnyAuth(
        any=(
            TokenAuth(tokens={"token": files}),
            UserAuth(users={"ada": files}),
            SignatureAuth(scheme="github", secrets=files, caller="github"),
            JwtAuth(issuer="https://issuer.test", audience=("orders",)),
            JwtAuth(issuer="https://other.test", audience=("orders",), key=files),
        )
    )
    allowed = AllowedAddresses(networks=("198.51.100.7",), files=(str(networks), str(pipe)))
    asked = bundle("shop/buy")
    buy = msgspec.structs.replace(asked.revision.apis["shop/buy"], auth=auth, allow_ips=allowed)
    revision = msgspec.structs.replace(asked.revision, apis={"shop/buy": buy})
    asked = Bundle(revision=revision, programs=asked.programs)
    opened_files.clear()
    planned = await plan(operated, bundle=sent(asked))
    assert planned.status == 200, planned.body
    done = await publish(operated, asked, 0)
    assert done.status == 200, done.body
    assert [each for each in opened_files if each.startswith((str(tmp_path), "/dev/zero"))] == []
    assert not operated.live.key_sets._added.is_set(), "the gateway fetches no keys for it"
    await operated.refresher.reload()
    assert set(opened_files) >= {str(secret), str(networks)}, "a revision that is live reads them"
    reply = await operated.ask("/v1/api/shop/buy/async", "POST")
    assert reply.status == 503, "files that cannot be used close the API"


async def test_debug_cases_under_another_schema_are_part_of_a_plan(operated: World) -> None:
    assert (await publish(operated, bundle("shop/buy"), 0)).status == 200
    narrow = bundle("shop/buy")
    schema = {"type": "object", "required": ["sku"]}
    apis = {"shop/buy": msgspec.structs.replace(narrow.revision.apis["shop/buy"], input_schema=schema)}
    narrow = Bundle(revision=msgspec.structs.replace(narrow.revision, apis=apis), programs=narrow.programs)
    without = (await plan(operated, bundle=sent(narrow))).json
    assert without["inputSchemas"] == {"shop/buy": bundle("shop/buy").revision.apis["shop/buy"].input_schema}
    verdicts = {"shop/buy": {"total": 3, "failing": ["one"]}}
    found = (await plan(operated, bundle=sent(narrow), cases=verdicts)).json
    (change,) = found["changes"]
    told = "input schema narrowed: 1 of 3 debug cases are now refused"
    assert change["meanings"][0]["text"].startswith(told)


async def test_a_part_is_published_and_a_response_may_lack_the_plan(operated: World) -> None:
    assert (await publish(operated, bundle("shop/buy"), 0)).status == 200
    both = await publish(operated, bundle("shop/buy"), 1, select="shop", clear_overrides=True)
    assert both.message == "clear_overrides and select cannot be combined"
    part = await publish(operated, bundle("shop/sell", "tape/play"), 1, select="tape", with_plan=False)
    assert (part.json["revision"], "plan" in part.json, part.json["notEnabled"]) == (2, False, [])
    shown = (await read(operated, "/v1/revisions/live")).json
    assert [each["api"] for each in shown["apis"]] == ["shop/buy", "tape/play"]


async def test_a_bundle_is_shown_to_those_who_may_publish_it(operated: World) -> None:
    assert (await publish(operated, bundle("shop/buy"), 0, commit="0123abc")).status == 200
    for side in ("1", "live"):
        shown = await operated.ask(f"/v1/revisions/{side}/bundle", headers=bearer("admin"))
        assert (shown.json["revision"], shown.json["commit"]) == (1, "0123abc")
        assert bundle_codec.decode(shown.json["bundle"]) == bundle("shop/buy")
    for role in ("read", "operate"):
        assert (await operated.ask("/v1/revisions/1/bundle", headers=bearer(role))).status == 403
    assert (await operated.ask("/v1/revisions/9/bundle", headers=bearer("admin"))).status == 404


async def test_drift_has_overrides_and_differences_of_the_store(operated: World) -> None:
    nothing = await operated.ask("/v1/drift", headers=bearer("read"))
    assert refusal(nothing)[0] == 404
    assert (await publish(operated, bundle("shop/buy"), 0)).status == 200
    await send(operated, "/v1/apis/shop/buy/override", "PUT", enabled=False)
    found = (await read(operated, "/v1/drift")).json
    assert (found["revision"], found["store"]) == (1, [])
    assert [(each["api"], each["author"]) for each in found["overrides"]] == [("shop/buy", "operateer")]


async def test_a_publication_that_is_not_loaded_is_undone_and_read_back(
    operated: World, redis_url: str
) -> None:
    assert (await publish(operated, bundle("shop/buy"), 0)).status == 200
    late = Process(
        kind="worker", id="w1", pid=7, host="h", started_at_ms=0, revision=1, loaded={"default": 1}
    )
    await operated.store.presence.announce(late)
    with contextlib.closing(Redis.from_url(redis_url)) as client:
        channels = client.pubsub()  # type: ignore[no-untyped-call]  # redis-py is partly typed
        channels.subscribe("iogate:process:worker:w1")
        assert channels.get_message(timeout=60) is not None
        more = bundle("shop/buy", "shop/sell")
        made = (await plan(operated, bundle=sent(more))).json
        reply = await publish(operated, more, 1, wait=1, rollback_on_failure=True)
        channels.close()
    assert (reply.json["revision"], reply.json["rolledBack"], reply.json["notRolledBack"]) == (2, 3, None)
    shown = PublicationPlan.read(made)
    done = read_publication(reply.json, shown.plan)
    assert (shown.number, shown.needs, done.applied.plan) == (1, [], shown.plan)
    assert done.late is not None
    assert re.fullmatch(
        r"revision 2 is live, but only 0 of 1 processes have loaded it after \d+\.\d s"
        ": worker w1 has not answered",
        done.late.message,
    )
    assert done.undone is not None
    assert str(done.undone.convergence) == "0/1 on revision 3"
    assert (await read(operated, "/v1/revisions")).json["live"] == 3


async def test_an_undo_leaves_the_operation_time_to_respond(
    operated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that does not answer uses up both waits."""
    waits: list[float] = []

    async def wait(_: Convergences, number: int, timeout_s: float) -> Convergence:
        waits.append(timeout_s)
        silent = Late(kind="worker", id="w1", revision=1, reason="")
        return Convergence(number=number, total=1, late=(silent,), took_s=timeout_s)

    monkeypatch.setattr(Convergences, "wait", wait)
    assert (await publish(operated, bundle("shop/buy"), 0)).status == 200
    more = bundle("shop/buy", "shop/sell")
    reply = await publish(operated, more, 1, wait=30, rollback_on_failure=True)
    assert (reply.json["revision"], reply.json["rolledBack"]) == (2, 3), reply.body
    (publication,) = [each for each in OPERATIONS if each.name == "revisions.publish"]
    assert waits == [0, 30, 10]
    assert sum(waits) < publication.limit_s


async def test_of_concurrent_publications_and_rollbacks_one_is_made(operated: World) -> None:
    """Both rollbacks have the same content: if both have read revision 2, one makes what the other finds."""
    for number, name in enumerate(("shop/buy", "shop/sell")):
        found = bundle("shop/buy", "shop/lend", name)
        assert (await publish(operated, found, number, prune=True, max_deletes=9)).status == 200
    replies = await asyncio.gather(
        *(
            publish(operated, bundle("shop/buy", f"shop/new{number}"), 2, prune=True, max_deletes=9)
            for number in range(4)
        ),
        *(
            send(
                operated,
                "/v1/revisions/1/rollback",
                "POST",
                "admin",
                headers={"if_match": '"2"'},
                prune=True,
                max_deletes=9,
                wait=0,
            )
            for _ in range(2)
        ),
    )
    statuses = [reply.status for reply in replies]
    assert set(statuses) == {200, 412}
    assert statuses.count(200) == 1 or statuses == [412, 412, 412, 412, 200, 200]
    (made,) = {reply.json["revision"] for reply in replies if reply.status == 200}
    listed = (await read(operated, "/v1/revisions")).json
    assert (listed["live"], [each["revision"] for each in listed["revisions"]]) == (made, [made, 2, 1])


def changed(**more: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda sent: sent.update(more)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            changed(digest="0" * 64),
            "its revision has members that this release does not know",
        ),
        (lambda sent: sent["revision"].update(new=1), None),
        (changed(programs={}), f"program {PROGRAM[:12]}… is missing"),
        (changed(programs={PROGRAM: "eyJhIjoxfQ=="}), f"program {PROGRAM[:12]}… is not the definition"),
        (changed(contents={"0" * 64: "AA=="}), "content 000000000000… has another digest"),
        (changed(more=1), "it has another form: Object contains unknown field `more`"),
        (lambda sent: sent.pop("revision"), "it has another form: Object missing required field `revision`"),
    ],
)
async def test_a_changed_bundle_is_refused(
    operated: World, spoil: Callable[[dict[str, Any]], Any], why: str | None
) -> None:
    sent = json.loads(bundle_codec.encode(bundle("shop/buy")))
    spoil(sent)
    reply = await send(
        operated, "/v1/revisions", "POST", "admin", headers={}, bundle=sent, expected=0, wait=0
    )
    if why is None:  # what this release ignores is in no digest
        assert reply.status == 200
        return
    assert refusal(reply)[:2] == (400, "requestError.invalidParams")
    assert reply.message.startswith(f"the bundle cannot be published: {why}"), reply.message
    assert reply.message.endswith("; compile it with the release of the gateway: `iogate bundle`")
    assert (await read(operated, "/v1/revisions")).json["live"] is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {"workflow": "test/gone:1"},
            "API shop/buy starts workflow test/gone:1, which is missing",
        ),
        ({"id": "shop/other"}, "API 'shop/buy' has another id, or one of a wrong form"),
        ({"path": "/v1/runs"}, "API shop/buy has the path '/v1/runs', which no API may have"),
        ({"input_schema": {"type": "objct"}}, '"objct" is not valid under any of the schemas'),
    ],
)
async def test_an_inconsistent_bundle_is_refused(operated: World, given: dict[str, Any], why: str) -> None:
    good = bundle("shop/buy").revision
    apis = {"shop/buy": msgspec.structs.replace(good.apis["shop/buy"], **given)}
    wrong = Bundle(revision=msgspec.structs.replace(good, apis=apis), programs={PROGRAM: DATA})
    reply = await publish(operated, wrong, 0)
    assert reply.message.startswith(f"the bundle cannot be published: {why}"), reply.message


@pytest.mark.parametrize(
    ("definition", "why"),
    [
        ({}, "workflow test/echo:1 has a definition that this release cannot execute"),
        (DEFINITION | {"do": [{"a": 1}]}, "workflow test/echo:1 has a definition that this release cannot"),
        (
            DEFINITION | {"document": {**DEFINITION["document"], "name": "other"}},
            "workflow test/echo:1 has the definition of test/other:1",
        ),
    ],
)
async def test_a_definition_that_no_compiler_made_is_refused(
    operated: World, definition: dict[str, Any], why: str
) -> None:
    program = digest_of(definition)
    good = bundle("shop/buy").revision
    apis = {"shop/buy": msgspec.structs.replace(good.apis["shop/buy"], program=program)}
    workflows = {"test/echo:1": Workflow(program=program)}
    wrong = Bundle(
        revision=Revision(apis=apis, workflows=workflows), programs={program: json.dumps(definition).encode()}
    )
    for reply in (await publish(operated, wrong, 0), await plan(operated, bundle=sent(wrong))):
        assert reply.status == 400
        assert reply.message.startswith(f"the bundle cannot be published: {why}"), reply.message


async def test_a_gateway_without_the_key_of_a_publisher_publishes_nothing(operated: World) -> None:
    """With `publishers`, who can change the settings of a gateway cannot publish."""
    pytest.importorskip("cryptography")
    from iogate.security.keyring import generate_pair

    _, public = generate_pair()
    ring = Keyring((LINK_KEY,), publishers=(public,))
    operated.store.keyring = ring
    reply = await publish(operated, bundle("shop/buy"), 0)
    assert refusal(reply)[:2] == (400, "requestError.invalidParams")
    assert reply.message.startswith("publishers are set, and publish_key is not set")
