"""Resolution of a child workflow: in the revision of its parent, else in the live one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from iogate.auth.model import NoAuth
from iogate.compiler.revision import Api, Bundle, Revision, Workflow, canonical, digest_of
from iogate.store import keys
from iogate.store.store import Store
from tests.keys import RING
from tests.worker.site import NOOP, decoded, until, workflow
from tests.worker.test_events import cloud_event, listen, listening, run_workflow

if TYPE_CHECKING:
    from tests.worker.site import Site


def versioned(version: str, *tasks: dict[str, Any], name: str = "child") -> dict[str, Any]:
    made = workflow(name, *tasks)
    return {**made, "document": {**made["document"], "version": version}}


def says(version: str) -> dict[str, Any]:
    return versioned(version, {"says": {"set": {"version": version}}})


async def publish(site: Site, parent: dict[str, Any], *others: dict[str, Any]) -> None:
    """Publish one API for the parent, and any number of versions of other workflows."""
    every = (parent, *others)
    names = {f"test/{d['document']['name']}:{d['document']['version']}": digest_of(d) for d in every}
    api = Api(
        id="test/parent",
        workflow="test/parent:1.0.0",
        program=digest_of(parent),
        auth=NoAuth(),
        enabled=True,
    )
    revision = Revision(
        apis={api.id: api}, workflows={name: Workflow(program=digest) for name, digest in names.items()}
    )
    programs = {digest_of(definition): canonical(definition) for definition in every}
    site.revision = await site.store.revisions.publish(Bundle(revision=revision, programs=programs))
    site.apis = {api.id: api}


def parent(version: str, name: str = "child") -> dict[str, Any]:
    return workflow("parent", {"waits": listen()}, {"asks": run_workflow(name, version=version)})


async def ended(site: Site) -> Any:
    uid = await site.call("parent")
    await listening(site, uid)
    await site.store.events.publish([cloud_event(uid)])
    return await site.ended(uid, 20)


@pytest.mark.parametrize(
    ("asked", "got"), [("latest", "1.10.0"), ("1.9.0", "1.9.0"), ("1.10.0-rc.1", "1.10.0-rc.1")]
)
async def test_latest_is_the_highest_by_precedence(site: Site, asked: str, got: str) -> None:
    await publish(site, parent(asked), says("1.9.0"), says("1.10.0"), says("1.10.0-rc.1"), says("1.2.30"))
    await site.worker()
    assert decoded((await ended(site)).output) == {"version": got}


@pytest.mark.parametrize(
    ("asked", "name", "detail"),
    [
        ("3.0.0", "child", "workflow test/child has no version 3.0.0; it has 1.2.0, 1.10.0"),
        (
            "latest",
            "cild",
            "there is no workflow test/cild; there is test/child, test/parent; apply it or correct the name",
        ),
    ],
)
async def test_missing_child_is_a_configuration_error_that_lists_the_others(
    site: Site, asked: str, name: str, detail: str
) -> None:
    await publish(site, parent(asked, name), says("1.10.0"), says("1.2.0"))
    await site.worker()
    run = await ended(site)
    error = decoded(run.error)
    assert (run.status, error["status"], error["instance"]) == ("faulted", 400, "/do/1/asks")
    assert error["type"].endswith("/configuration")
    assert error["detail"] == f'task "asks": {detail}'


async def test_child_is_of_the_revision_of_its_parent(site: Site) -> None:
    """Until this revision is no longer kept: then it is of the live one."""
    definition = parent("latest")
    await publish(site, definition, says("1.0.0"))
    await site.worker()
    old, older = await site.call("parent"), await site.call("parent")
    number = site.revision
    await listening(site, old)
    await listening(site, older)
    await publish(site, definition, says("2.0.0"))
    await site.store.events.publish([cloud_event(1)])
    for run in await site.all_ended([old, older]):
        assert decoded(run.output) == {"version": "1.0.0"}
    site.revision, kept = number, site.revision
    uid = await site.call("parent")
    site.revision = kept
    await listening(site, uid)
    await site.store.call("DEL", f"iogate:revision:{number}")
    other = await site.worker()
    site.workers[0].process.kill()
    await site.workers[0].wait()
    await site.store.events.publish([cloud_event(2)])
    assert decoded((await site.ended(uid)).output) == {"version": "2.0.0"}
    assert other.process.poll() is None


async def test_recursive_workflow_ends(site: Site) -> None:
    itself = workflow("parent", {"asks": run_workflow("parent")})
    await publish(site, itself)
    await site.worker()
    run = await site.ended(await site.call("parent"))
    error = decoded(run.error)
    assert (run.status, error["status"]) == ("faulted", 500)
    assert error["detail"] == ('task "asks": test/parent would have 33 ancestors; at most 32 are allowed')
    assert len(await site.store.runs.list(limit=100)) == 33


async def test_doubly_recursive_workflow_ends(site: Site) -> None:
    """Of 2**33 runs. The family is set to almost its maximum size."""
    starts = {"run": {**run_workflow("bomb")["run"], "await": False}}
    await site.publish(workflow("bomb", {"one": starts}, {"two": starts}), NOOP)
    first = await site.call("bomb")
    await site.store.call("HSET", keys.FAMILIES, first, keys.FAMILY_RUNS - 50)
    await site.worker()

    living = [keys.INDEX + status for status in keys.STATUSES if status not in keys.ENDED]
    # at one moment: one after the other, each could be empty while the runs are in the next
    count = "local n = 0 for _, key in ipairs(KEYS) do n = n + redis.call('ZCARD', key) end return n"

    async def over() -> bool:
        return not await site.store.call("EVAL", count, len(living), *living)

    await until(over, name="an end of all")
    assert (await site.ended(await site.call())).status == "completed"
    faulted = await site.store.call("ZRANGE", f"{keys.INDEX}faulted", 0, -1)
    assert 0 < len(faulted) <= 100
    error = decoded((await site.view(faulted[0].decode())).error)
    assert "one run may have at most 10000 descendants at once" in error["detail"]


async def test_missing_child_that_is_not_awaited_is_logged(site: Site) -> None:
    child = {"namespace": "test", "name": "gone", "version": "1.0.0"}
    asks = {"run": {"workflow": child, "await": False}}
    await publish(site, workflow("parent", {"asks": asks}, {"done": {"set": {"ok": True}}}))
    worker = await site.worker()
    run = await site.ended(await site.call("parent"))
    assert decoded(run.output) == {"ok": True}
    await until(lambda: "run.unawaited" in worker.log_text(), name="a line in the log")
    assert "there is no workflow test/gone; there is test/parent" in worker.log_text()


async def test_a_child_of_a_removed_revision_is_of_the_live_one_of_the_same_project(site: Site) -> None:
    shop = Store(site.store.url, client_name="test", keyring=RING, project="shop")
    default, site.store = site.store, shop
    await publish(site, parent("latest"), says("1.0.0"))
    number = site.revision
    await publish(site, parent("latest"), says("2.0.0"))
    site.store = default
    await default.revisions.publish(Bundle(revision=Revision(apis={}, workflows={}), programs={}))
    site.revision = number
    await default.call("DEL", f"iogate:revision:{number}")
    await site.worker()
    assert decoded((await ended(site)).output) == {"version": "2.0.0"}
    await shop.close()
