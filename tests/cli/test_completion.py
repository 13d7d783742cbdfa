"""The shell completes ids, uids and codes; whatever goes wrong, it says nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from iogate.cli import completion
from iogate.cli.app import make_app
from iogate.store.embedded.server import find_embedded
from tests.cli.conftest import Cli
from tests.cli.place import Place, write_project

KINDS = (
    completion.apis,
    completion.cases,
    completion.modules,
    completion.revisions,
    completion.selections,
    completion.tags,
    completion.uids,
    completion.workflows,
)


def typed(words: str) -> dict[str, str]:
    """Return the environment that bash sets for a completion; a trailing space begins a new word."""
    return {
        "_IOGATE_COMPLETE": "complete_bash",
        "COMP_WORDS": f"iogate {words}",
        "COMP_CWORD": str(len(words.split()) + words.endswith(" ")),
    }


def context(**params: Any) -> typer.Context:
    made = typer.Context(typer.main.get_command(make_app()))
    made.params = params
    return made


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("api show shop/g", ["shop/guarded"]),
        ("runs list --api shop/n", ["shop/nested"]),
        ("disable shop/buy shop/f", ["shop/fail"]),
        ("disable --module sh", ["shop"]),
        ("enable --tag b", ["billing", "books"]),
        ("workflow show shop/bu", ["shop/buy"]),
        ("workflow show shop/buy:1", ["shop/buy:1.0.0"]),
        ("test shop/b", ["shop/buy"]),
        ("test sch", ["schedule:shop/beat"]),
        ("debug sch", []),
        ("plan --select bil", ["billing"]),
        ("plan --select sh", ["shop"]),
        ("--env st", ["staging"]),
        ("plan --env st", ["staging"]),
        ("explain IOG10", [f"IOG{number}" for number in range(101, 110)]),
        ("explain iog31", [f"iog{number}" for number in range(310, 320)]),
    ],
)
def test_ids_and_codes_are_completed_without_a_store(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: str, expected: list[str]
) -> None:
    monkeypatch.setattr(completion, "BUDGET_S", 20.0)
    write_project(cli.root)
    head = "document: {dsl: '1.0.3', namespace: shop, name: beat, version: 1.0.0}"
    cli.write("workflows.d/beat.yaml", f"{head}\nschedule: {{every: PT1M}}\ndo: []\n")
    cli.write("apis.d/more.yaml", "module: more\ntags: [billing]\nmethods: {one: {tags: [books, other]}}\n")
    cli.write("iogate.staging.yaml", "port: 1\n")
    (cli.root / "elsewhere").mkdir()
    for folder, line in ((cli.root, words), (cli.root / "elsewhere", f"-C .. {words}")):
        monkeypatch.chdir(folder)
        for name, value in typed(line).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit):
            cli()
        out, err = cli.capsys.readouterr()
        assert (out.split(), err) == (expected, "")


def test_a_shell_gets_suggestions_and_nothing_else(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "iogate"],
        cwd=tmp_path,
        env=os.environ | typed("explain IOG10"),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (ran.stdout.split(), ran.stderr) == ([f"IOG{number}" for number in range(101, 110)], "")


def test_uids_are_completed_from_the_store(live: Cli, shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "BUDGET_S", 20.0)
    uid = shop.buy("fail")
    live("runs", "wait", uid, "-q", code=7)
    suggested = dict(completion.uids(context(), uid[:6]))
    assert suggested[uid] == "faulted shop/fail"
    assert completion.uids(context(), "x") == []


def test_live_ids_are_completed_where_there_are_no_files(
    live: Cli, shop: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator works with `redis_url` alone, here that of the environment `shop`."""
    monkeypatch.setattr(completion, "BUDGET_S", 20.0)
    assert live.root == shop.root
    monkeypatch.chdir(tmp_path)
    url = find_embedded(shop.root / ".iogate")
    (tmp_path / "iogate.shop.yaml").write_text(f"redis_url: {url}\n")
    there = {"environment": "shop"}
    assert completion.apis(context(), "shop/b") == []
    assert [name for name, _ in completion.apis(context(**there), "shop/b")] == ["shop/buy"]
    assert [name for name, _ in completion.workflows(context(**there), "shop/bu")] == ["shop/buy"]
    assert [name for name, _ in completion.workflows(context(**there), "shop/buy:")] == ["shop/buy:1.0.0"]
    assert ("shop", "") in completion.modules(context(**there), "")
    assert "1" in dict(completion.revisions(context(**there), ""))


def test_a_completion_prints_nothing_after_an_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS:
        assert kind(context(), "") == []
    cli.write("iogate.yaml", "port: [")
    cli.write("apis.d/a.yaml", "module: [")
    cli.write("apis.d/b.yaml", "methods: 7")
    cli.write("workflows.d/c.yaml", "document: {namespace: [x], name: '$(touch x)'}")
    for kind in KINDS:
        assert kind(context(), "") == []
    assert completion.apis(context(directory=Path("/nowhere")), "") == []
    cli.write("iogate.yaml", "redis_url: redis://127.0.0.1:1/0\n")
    for kind in KINDS:
        assert kind(context(), "") == []
    monkeypatch.setenv("IOGATE_PROT", "1")  # of which commands warn
    assert completion.uids(context(), "") == []
    assert cli.capsys.readouterr() == ("", "")
    # The process may log again afterwards.
    assert logging.getLogger("iogate").isEnabledFor(logging.ERROR)


def test_text_that_a_shell_could_execute_is_not_suggested(cli: Cli) -> None:
    cli.write("apis.d/a.yaml", "module: a\nmethods: {'$(touch x)': {}, '`x`': {}, 'b c': {}, fine: {}}\n")
    assert [value for value, _ in completion.apis(context(), "")] == ["a/fine"]
