"""The setting `project` decides what a command shows and changes in a shared store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from iogate.store.store import Store
from tests.cli.conftest import Cli
from tests.keys import LINK_KEY, RING

WORKFLOW = """\
document: {{dsl: 1.0.3, namespace: {name}, name: noop, version: 1.0.0}}
do:
  - done: {{set: {{ok: true}}}}
"""
API = "module: {name}\nmethods:\n  noop: {{workflow: {name}/noop, enabled: true, auth: none}}\n"


@pytest.fixture
def enter(cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that enters the folder of a project, with one API of the same name."""
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    monkeypatch.setenv("IOGATE_LINK_KEY", LINK_KEY)

    async def flush() -> None:
        store = Store(redis_url, client_name="test", keyring=RING)
        await store.call("FLUSHALL")
        await store.close()

    asyncio.run(flush())

    def change(name: str) -> None:
        folder = cli.root / name
        if not folder.exists():
            setting = "" if name == "default" else f"project: {name}\n"
            cli.write(f"{name}/iogate.yaml", setting)
            cli.write(f"{name}/apis.d/a.yaml", API.format(name=name))
            cli.write(f"{name}/workflows.d/a.yaml", WORKFLOW.format(name=name))
        os.chdir(folder)

    return change


def test_projects_share_a_store_without_an_effect_on_each_other(
    cli: Cli, enter: Callable[[str], None]
) -> None:
    for number, name in enumerate(("default", "shop"), 1):
        enter(name)
        assert f"revision {number}: 1 API added" in cli("apply", "--yes").out
    assert [row["revision"] for row in cli("history", "-o", "json").json["revisions"]] == [2]
    assert cli("show", "-o", "json").json["project"] == "shop"
    assert [row["api"] for row in cli("api", "list", "-o", "json").json["apis"]] == ["shop/noop"]
    status = cli("status").out
    for line in (
        "PROJECT  REVISION  APIS  LOADED BY",
        "default  1         1     0/0",
        "shop     2         1     0/0",
    ):
        assert line in status.splitlines()
    assert "shop     shop/noop" in status
    # Emptying one project.
    (cli.root / "shop/apis.d/a.yaml").unlink()
    cli("apply", "--yes", "--prune", "--allow-empty", "--max-deletes", "9")
    enter("default")
    assert [row["api"] for row in cli("api", "list", "-o", "json").json["apis"]] == ["default/noop"]
    assert "revision 1: no changes" in cli("apply", "--yes").out


def test_an_api_of_another_project_is_refused_with_both_names(cli: Cli, enter: Callable[[str], None]) -> None:
    enter("default")
    cli("apply", "--yes")
    enter("shop")
    cli("apply", "--yes")
    ran = cli("disable", "default/noop", code=4)
    text = "default/noop belongs to project default: nothing was changed by project shop [IOG636]"
    assert f"iogate: {text}" in ran.err
    assert "IOG636" in cli("override", "clear", "default/noop", code=4).err
    cli.write("shop/apis.d/b.yaml", API.format(name="default"))
    cli.write("shop/workflows.d/b.yaml", WORKFLOW.format(name="default"))
    ran = cli("apply", "--yes", code=4)
    assert (
        "iogate: project shop cannot publish what belongs to another project: "
        "default/noop (of project default) [IOG635]" in ran.err
    )
    assert [row["revision"] for row in cli("history", "-o", "json").json["revisions"]] == [2]


@pytest.mark.parametrize("name", ["-a", "a b", "a_b", "ä", "x" * 64, "a:b", ""])
def test_a_name_has_letters_digits_and_dashes(cli: Cli, name: str) -> None:
    cli.write("iogate.yaml", f"project: '{name}'\n")
    ran = cli("status", code=3)
    assert "project: expected a name of letters, digits and dashes" in ran.err
