"""`iogate bundle` prints a request that a gateway can publish."""

from __future__ import annotations

import json

from iogate.reconcile import bundle_codec
from tests.cli.conftest import Cli

API = """\
module: shop
methods:
  buy: {workflow: shop/buy, auth: {token: {env: BUY}}, enabled: true}
"""
WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: buy, version: 1.0.0}
timeout: {after: PT1M}
do:
  - done: {set: {x: 1}}
"""


def test_a_bundle_has_the_whole_project_and_no_secret(cli: Cli) -> None:
    cli.write("apis.d/shop.yaml", API.replace("{env: BUY}", "canary-in-clear"))
    cli.write("workflows.d/buy.yaml", WORKFLOW)
    ran = cli("bundle", "--expect", "3", "--reason", 'new "prices"', "--prune", "--max-deletes", "2")
    assert "canary-in-clear" not in ran.out
    body = json.loads(ran.out)
    sent = bundle_codec.decode(body.pop("bundle"))
    assert list(sent.revision.apis) == ["shop/buy"]
    assert sent.revision.programs == sent.programs.keys()
    assert body == {
        "expected": 3,
        "reason": 'new "prices"',
        "project": "default",
        "prune": True,
        "max_deletes": 2,
    }


def test_a_first_publication_expects_none(cli: Cli) -> None:
    cli.write("apis.d/shop.yaml", API)
    cli.write("workflows.d/buy.yaml", WORKFLOW)
    options = ("--max-deletes", "0", "--select", "shop", "--keep-orphans")
    body = json.loads(cli("bundle", "--expect", "0", "--reason", "x", *options).out)
    body.pop("bundle")
    assert body == {
        "expected": 0,
        "reason": "x",
        "project": "default",
        "max_deletes": 0,
        "select": "shop",
        "keep_orphans": True,
    }


def test_a_bundle_of_invalid_files_or_without_a_reason_is_not_made(cli: Cli) -> None:
    cli.write("apis.d/shop.yaml", API)
    assert "validation failed" in cli("bundle", "--expect", "0", "--reason", "x", code=3).err
    cli.write("workflows.d/buy.yaml", WORKFLOW)
    ran = cli("bundle", "--expect", "0", "--reason", " ", code=64)
    assert ran.err.startswith("iogate: --reason: expected a text that says why"), ran.err
    assert ran.out == ""
