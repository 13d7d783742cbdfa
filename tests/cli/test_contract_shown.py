"""`api show` has the whole contract of an API, and `runs show` what became of calls and iterations."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from iogate.documents.api import Method
from tests.cli.conftest import Cli
from tests.cli.place import Place, until

API = """\
module: contract
methods:
  whole:
    description: Everything
    verbs: [POST]
    path: /hooks/contract
    mode: async
    workflow: shop/looping
    enabled: true
    auth:
      tokens:
        ada: {env: ADA_TOKEN}
        bob: {hash: "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}
    allow_ips: [127.0.0.0/8]
    input: {schema: {type: object, properties: {customer: {type: string}, sku: {type: string}}}}
    limits:
      {rate: 600/m, burst: 20, per: caller, on_full: replace, priority: 7, concurrency: {key: /customer}}
    coalesce: {key: /sku, window: 1s, max: 5s}
    idempotency: {pointer: /id, required: false}
    attributes: {customer: /customer}
    timeout: 5m
    retention: 1d
    record: all
    callback:
      {url: "https://hooks.example.com/contract", secret: {env: NOBODY_SIGNS_WITH_THIS}, on: [faulted]}
    on_fault: shop/buy
    protect: false
    tags: [shown]
    metadata: {team: shop}
  merged:
    workflow: shop/looping
    auth: none
    enabled: true
    timeout: 5m
    limits: {concurrency: {key: /customer}}
    coalesce: {key: /sku, window: 400ms}
"""
LOOPING = """\
document: {dsl: '1.0.3', namespace: shop, name: looping, version: 1.0.0}
do:
  - each:
      metadata: {iogate: {parallel: 3, on_error: continue}}
      for: {in: '${ [range(5)] }', each: n}
      do:
        - check:
            if: $n > 2
            raise: {error: {type: https://shop.example.com/errors/no, status: 422, title: No}}
        - done: {set: {n: '${ $n }'}}
"""


@pytest.fixture
def project(live: Cli) -> Iterator[Cli]:
    files = [live.write("apis.d/contract.yaml", API), live.write("workflows.d/looping.yaml", LOOPING)]
    live("apply", "--yes")
    yield live
    for file in files:
        file.unlink()
    live("apply", "--yes", "--prune")


def test_all_of_an_api_and_of_its_calls_is_shown_and_no_hash(project: Cli, shop: Place) -> None:
    shown = project("api", "show", "contract/whole", "-o", "json")
    document = shown.json["document"]
    assert set(document) == {name.rstrip("_") for name in Method.model_fields} - {"debug"}
    assert document["limits"] == {
        "body": "1MiB",
        "rate": "10/s",
        "burst": 20,
        "per": "caller",
        "queued": 10000,
        "concurrency": {"key": "/customer", "limit": 1},
        "on_full": "replace",
        "priority": 7,
    }
    assert document["attributes"] == {"customer": "/customer"}
    assert document["callback"] == {
        "url": "https://hooks.example.com/contract",
        "secret": {"env": "NOBODY_SIGNS_WITH_THIS"},
        "on": ["faulted"],
    }
    assert document["auth"] == {"tokens": {"ada": {"env": "ADA_TOKEN"}, "bob": {"hash": "[redacted]"}}}
    text = project("api", "show", "contract/whole").out
    assert "url       POST /v1/api/contract/whole/async\n" in text
    assert "\n          POST /hooks/contract (async)\n" in text
    assert "\non_fault: shop/buy:1.0.0\n" in text.replace('"', "")
    assert "2d711642" not in text + shown.out
    _check_runs_show(project, shop)  # with the same APIs: those that an apply deletes return disabled


def _merged(shop: Place) -> tuple[str, str] | None:
    """Send three calls of a new key; return their run and the key. A busy machine may miss the window."""
    sku = f"A-{secrets.token_hex(4)}"
    uids: set[str] = set()
    for number in range(3):
        call = {"customer": "ada", "sku": sku, "n": number}
        status, response = shop.call("/v1/api/contract/merged/async", call)
        assert status == 202
        uids.add(response["uid"])
    return (uids.pop(), sku) if len(uids) == 1 else None


def _check_runs_show(project: Cli, shop: Place) -> None:
    uid, sku = until(lambda: _merged(shop))
    until(lambda: project("runs", "show", uid, "-o", "json").json["status"] == "completed")
    shown = project("runs", "show", uid, "-o", "json").json
    assert shown["mergedCalls"] == 2
    assert shown["concurrencyKey"] == {"pointer": "/customer", "value": "ada"}
    assert shown["coalesceKey"] == {"pointer": "/sku", "value": sku}
    assert [(each["name"], each["count"], each["failed"]) for each in shown["tasks"]] == [
        ("each", 1, 0),
        ("check", 5, 2),
        ("done", 3, 0),
    ]
    text = project("runs", "show", uid).out
    assert "key        ada  (concurrency by /customer)\n" in text
    assert f"coalesced  with 2 further calls, with {sku} at /sku\n" in text
    (row,) = (line.split() for line in text.splitlines() if line.startswith("check "))
    assert row[2:5] == ["completed", "5", "2"] or row[3:5] == ["5", "2"]
