"""Live workflows: their newest version, and definitions without literal secrets."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.compiler.revision import Bundle, Revision, Workflow, canonical, digest_of
from iogate.errors import NotFound
from iogate.operators import workflows
from iogate.store.store import Store
from tests.store.builders import api


def definition(version: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    head = {"dsl": "1.0.3", "namespace": "shop", "name": "orders", "version": version}
    return {"document": head, "do": [*tasks] or [{"done": {"set": {"x": 1}}}]}


async def publish(store: Store, **definitions: dict[str, Any]) -> None:
    revision = Revision(
        apis={"orders/submit": api("orders/submit")},
        workflows={
            name: Workflow(program=digest_of(each), title=f"title of {name}")
            for name, each in definitions.items()
        },
    )
    programs = {digest_of(each): canonical(each) for each in definitions.values()}
    await store.revisions.publish(
        Bundle(revision=revision, programs=programs | {digest_of({}): b"{}"}), origin=None
    )


async def test_a_name_without_version_is_the_newest_one(store: Store) -> None:
    versions = ("1.9.0", "1.10.0", "1.10.0-rc.1")
    await publish(store, **{f"shop/orders:{version}": definition(version) for version in versions})
    assert (await workflows.show(store, "shop/orders"))["workflow"] == "shop/orders:1.10.0"
    shown = await workflows.show(store, "shop/orders:1.9.0")
    assert (shown["revision"], shown["definition"]["document"]["version"]) == (1, "1.9.0")
    with pytest.raises(NotFound, match=r'no live workflow shop/order; did you mean "shop/orders"\?'):
        await workflows.show(store, "shop/order")


async def test_a_list_names_the_apis_that_start_a_workflow(store: Store) -> None:
    await publish(store, **{"shop/orders:1": definition("1"), "shop/other:1": definition("1")})
    listed = await workflows.list_all(store)
    assert [(row["workflow"], row["apis"]) for row in listed["workflows"]] == [
        ("shop/orders:1", ["orders/submit"]),
        ("shop/other:1", []),
    ]


async def test_no_literal_secret_of_a_definition_is_shown(store: Store) -> None:
    call: dict[str, Any] = {
        "call": "http",
        "with": {
            "endpoint": {
                "uri": "https://ada:canary-1@h.example/x",
                "authentication": {"bearer": {"token": "canary-3"}},
            },
            "headers": {"Authorization": "Bearer canaryCANARY2"},
        },
    }
    shell = {"command": "curl -u ada:canary-4 h", "environment": {"DB_PASSWORD": "canary-5"}}
    run = {"run": {"shell": shell}}
    kept = {"set": {"token": "${ $secrets.pay }", "password": {"type": "string"}, "pin": True, "x": "canary"}}
    each = definition("1", {"call": call}, {"run": run}, {"kept": kept}, {"pin": {"set": {"pin": 4711}}})
    each["use"] = {"secrets": ["pay"]}
    await publish(store, **{"shop/orders:1": each})
    shown = await workflows.show(store, "shop/orders")
    text = str(shown)
    for number in range(1, 6):
        assert f"canary-{number}" not in text
    assert "canaryCANARY2" not in text
    assert "4711" not in text
    assert shown["definition"]["do"][2] == {"kept": kept}
    assert shown["definition"]["use"] == {"secrets": ["pay"]}
    assert list(shown["definition"]) == ["document", "use", "do"]
