"""Twenty secrets of a project in git: no command from plan to rollback shows one, and the store has none."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.cli.conftest import Cli, cli  # noqa: F401 - a fixture
from tests.faults.canaries import Search

WORDS = (
    "zebrawalks7Q", "yonderhill8W", "xenonlight9E", "walnuttree1R", "velvetcoat2T", "umbrellas3Y8",
    "tigerlily4U7", "sandcastle5I", "riverboat6O2", "quarterly7P3", "penguins8A44", "oxenford9S51",
    "nightjar1D62", "mountains2F7", "lakeside3G88", "kingfisher4H", "jackdaws5J99", "icebergs6K10",
    "harbours7L21", "gondolas8Z32",
)  # fmt: skip

API = """\
module: shop
timeout: 1m
auth: {{token: "{0}"}}
methods:
  buy:
    workflow: shop/buy
    enabled: true
    auth: {{token: ["{1}", "{2}"]}}
    description: "{text}"
    debug: [{{name: one, body: {{sku: A-1}}, expect: {{status: completed}}}}]
  sell: {{workflow: shop/buy, enabled: true, auth: {{user: ada, password: "{3}"}}}}
  lend: {{workflow: shop/buy, enabled: true, auth: {{token: {{env: SHOP_TOKEN}}}}}}
  rent: {{workflow: shop/buy, enabled: true, auth: {{users: {{bob: "{4}", eve: {{file: secret.txt}}}}}}}}
"""
WORKFLOW = """\
document: {{dsl: '1.0.3', namespace: shop, name: buy, version: 1.0.0}}
use:
  secrets: [payment]
  authentications:
    bank: {{basic: {{use: payment}}}}
do:
  - pay:
      call: http
      with:
        method: post
        endpoint: {{uri: 'https://bank.example.com/pay', authentication: {{use: bank}}}}
        headers: {{X-Note: "{text}"}}
        body: {{key: '${{ $secrets.payment }}'}}
"""
SETTINGS = """\
link_key: "{5}-{6}-{7}"
secrets: {{payment: {{env: SHOP_PAYMENT}}, other: {{file: other.txt}}}}
events:
  auth: {{token: "{8}"}}
  sinks:
    audit:
      url: https://audit.example.com/in
      headers: {{Authorization: {{env: SHOP_AUDIT}}}}
vars: {{region: eu, apiToken: "{9}"}}
"""
ENVIRONMENT = {"SHOP_TOKEN": 10, "SHOP_PAYMENT": 11, "SHOP_AUDIT": 12, "SHOP_UNUSED": 13}
FORMATS = ("text", "json", "yaml")
SHOWN = 9
"""A variable is no secret: `validate` warns of one that looks like it, and the store has it if it is read."""


def write(cli: Cli, text: str, words: tuple[str, ...]) -> None:  # noqa: F811 - a fixture
    cli.write("apis.d/shop.yaml", API.format(*words, text=text))
    cli.write("workflows.d/buy.yaml", WORKFLOW.format(text=text))
    cli.write("iogate.yaml", SETTINGS.format(*words))
    cli.write("secret.txt", words[14])
    cli.write("other.txt", words[15])


def git(root: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.com", *arguments],
        cwd=root, check=True, capture_output=True,
    )  # fmt: skip


@pytest.mark.timeout(180)
def test_no_command_of_a_change_shows_a_secret(
    cli: Cli,  # noqa: F811 - a fixture
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = redis.Redis.from_url(redis_url)
    store.flushall()
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    for name, number in ENVIRONMENT.items():
        monkeypatch.setenv(name, WORDS[number])
    search = Search(secrets=[word for number, word in enumerate(WORDS) if number != SHOWN])

    def run(*arguments: str, code: int | None = None) -> str:
        done = cli(*arguments, code=code)
        search.look(" ".join(arguments[:2]), done.out + done.err)
        return done.out

    write(cli, "one", WORDS)
    git(cli.root, "init", "-q", "-b", "main")
    cli.write(".gitignore", ".iogate/\n")
    git(cli.root, "add", "-A")
    git(cli.root, "commit", "-qm", "one")
    run("apply", "--yes", "-m", "one", code=0)
    swapped = (*WORDS[16:20], *WORDS[4:8], WORDS[3], *WORDS[9:])
    for name in ("SHOP_TOKEN", "SHOP_PAYMENT"):
        monkeypatch.setenv(name, WORDS[4])
    write(cli, "two", swapped)
    for form in FORMATS:
        run("plan", "-o", form, code=0)
        run("lint", "-o", form)
        run("validate", "-o", form)
        run("diff", "live", "files", "-o", form, code=0)
    for form in ("github", "sarif", "junit"):
        run("lint", "-o", form)
    run("plan", "-o", "markdown", code=0)
    run("plan", "--base", "main", "-o", "markdown", code=0)
    run("plan", "--out", "saved.plan", code=0)
    search.look("saved plan", (cli.root / "saved.plan").read_bytes())
    for arguments in (("lint", "--fix", "--diff"), ("fmt", "--diff"), ("test", "-o", "junit"), ("doctor",)):
        run(*arguments)
    run("apply", "saved.plan", code=0)
    run("disable", "shop/buy", "--reason", "test", code=0)
    for form in FORMATS:
        run("drift", "-o", form)
        run("history", "-o", form, code=0)
        run("show", "-o", form, code=0)
        run("diff", "1", "2", "-o", form, code=0)
        run("status", "-o", form, code=0)
        run("api", "list", "-o", form, code=0)
        run("api", "show", "shop/buy", "-o", form, code=0)
        run("override", "list", "-o", form, code=0)
        run("rollback", "1", "-o", form)
    run("rollback", "--yes", code=0)
    run("digests")
    cli.write("apis.d/broken.yaml", f'module: broken\nauth: {{tokn: "{WORDS[0]}"}}\nmethods: {{}}\n')
    for arguments in (("plan",), ("apply", "--yes"), ("lint",)):
        run(*arguments, code=3)
    run("export", "--to", "exported", code=0)
    _look_at_rest(search, cli.root / "exported", store)
    search.finish()
    assert search.characters["store, in clear"] > 1_000
    assert not search.found, search.table()


def _look_at_rest(search: Search, exported: Path, store: Any) -> None:
    for file in exported.rglob("*.yaml"):
        search.look("exported files", file.read_bytes())
    for key in store.scan_iter(count=1000):
        search.look("keys of the store", key)
        search.look("store", store.dump(key) or b"")
        search.look("store, in clear", _content(store, key))


def _content(store: Any, key: bytes) -> bytes:
    match store.type(key):
        case b"string":
            return bytes(store.get(key) or b"")
        case b"hash":
            return b"\n".join(part for pair in store.hgetall(key).items() for part in pair)
        case b"list":
            return b"\n".join(store.lrange(key, 0, -1))
        case b"set":
            return b"\n".join(store.smembers(key))
        case _:
            return b"\n".join(store.zrange(key, 0, -1))
