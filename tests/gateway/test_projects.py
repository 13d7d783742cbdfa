"""A gateway serves the live revisions of all projects, and a failure of one affects no other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from iogate.compiler.revision import Api, Bundle, Revision
from iogate.store import keys
from iogate.store.store import Store
from tests.gateway.driver import TOKEN, World, api
from tests.keys import RING


@pytest.fixture
async def shop(store: Store) -> AsyncIterator[Store]:
    opened = Store(store.url, client_name="test", keyring=RING, project="shop")
    yield opened
    await opened.close()


async def published(store: Store, *apis: Api) -> int:
    revision = Revision(apis={each.id: each for each in apis}, workflows={})
    return await store.revisions.publish(Bundle(revision=revision, programs={"p1": b"{}"}))


async def revision_of(world: World, path: str) -> str:
    reply = await world.call(path)
    assert reply.status == 202, reply
    return reply.headers["x-iogate-revision"]


async def test_apis_of_all_projects_are_served_each_with_its_revision(world: World, shop: Store) -> None:
    await world.publish(api("a/b"))
    assert (await world.call("shop/x")).status == 404
    assert await published(shop, api("shop/x")) == 2
    await world.refresher.reload()
    assert (await revision_of(world, "a/b"), await revision_of(world, "shop/x")) == ("1", "2")
    assert await published(world.store, api("a/b"), api("c/d")) == 3
    await world.refresher.reload()
    assert [await revision_of(world, each) for each in ("a/b", "c/d", "shop/x")] == ["3", "3", "2"]
    paths = msgspec.json.decode((await world.ask("/openapi.json")).body)["paths"]
    assert {"/v1/api/a/b/async", "/v1/api/shop/x/async"} <= paths.keys()
    # An emptied project takes nothing from the others.
    await published(world.store)
    await world.refresher.reload()
    assert (await world.call("a/b")).status == 404
    assert await revision_of(world, "shop/x") == "2"


async def test_a_project_whose_revision_cannot_be_loaded_keeps_its_last_one(
    world: World, shop: Store
) -> None:
    await published(shop, api("shop/x"))
    await world.publish(api("a/b"))
    broken = api("shop/x", input_schema={"type": "no such type"})
    assert await published(shop, broken, api("shop/y")) == 3
    await published(world.store, api("a/b", TOKEN))
    with pytest.raises(Exception, match="revision 3 cannot be used, 1 stays live"):
        await world.refresher.reload()
    assert (await world.call("a/b")).status == 401, "the other project is up to date"
    assert (await world.call("shop/y")).status == 404
    (process,) = await world.store.presence.list("gateway")
    assert process.loaded == {"default": 4, "shop": 1}
    assert process.failed["shop"].revision == 3
    assert process.failed["shop"].reason.startswith("revision 3 cannot be used, 1 stays live")
    late = (await shop.convergence.look(3)).late
    assert [each.id for each in late] in ([], [process.id])
    assert (await world.store.convergence.look(4)).late == ()
    await published(shop, api("shop/y"))
    await world.refresher.reload()
    assert await revision_of(world, "shop/y") == "5"


async def test_an_invalid_record_of_one_project_removes_none_of_its_apis(world: World, shop: Store) -> None:
    await published(shop, api("shop/x"))
    await world.publish(api("a/b"))
    await world.store.call("HSET", keys.LIVE, "project:shop", "junk")
    await published(world.store, api("c/d"))
    with pytest.raises(Exception, match="the record of the live revision of project shop"):
        await world.refresher.reload()
    assert [await revision_of(world, each) for each in ("c/d", "shop/x")] == ["3", "1"]


async def test_an_api_that_moves_to_another_project_is_served_by_its_new_owner(
    world: World, shop: Store
) -> None:
    await world.publish(api("a/b"), api("moves/x"))
    await published(world.store, api("a/b"))
    await published(shop, api("moves/x"))
    await shop.gates.set_enabled(["moves/x"], True, author="me")
    await world.refresher.reload()
    assert (await revision_of(world, "a/b"), await revision_of(world, "moves/x")) == ("2", "3")
