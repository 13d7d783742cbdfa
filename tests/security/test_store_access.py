"""The access lists of `docs/operations/store-access.md`: sufficient for regular work, and nothing more."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from iogate.store import keys
from iogate.store.connection import scripts
from iogate.store.connection.failures import NotPermitted
from iogate.store.store import open_store
from tests import fork_server, patience
from tests.cli.place import Place, until, write_project
from tests.docs.pages import DOCS
from tests.keys import LINK_KEY, RING
from tests.ports import free_port
from tests.replicas import Server, server
from tests.store import builders

PAGE = (DOCS / "operations" / "store-access.md").read_text(encoding="utf-8")
USERS = {found[1]: found[2].split() for found in re.finditer(r"(?m)^user (\w+) (on .+)$", PAGE)}
PASSWORD = "a-password-of-the-store"
ALWAYS = {"auth", "hello", "quit", "reset"}
"""Commands that every user may use, before the login too."""
NOT_GRANTED = {"config|get", "client|list", "client|info"}
"""`serve` and RQ ask for them and go on without: they show passwords, and who else is connected."""

SCRIPTS = {
    "gateway": {"accept", "api_of", "emit", "cancel", "show", "follow", "page", "look_at_link",
        "use_link", "store_file", "files_of", "activity"},
    "worker": {
        "take", "commit", "renew", "inbox", "release", "recover", "audit", "forget", "recount", "relink",
        "drop", "match", "deliver", "send", "sinks", "tick", "cancel", "restore", "files_of",
        "show", "callbacks", "handle_fault", "activity", "batch", "reload", "retry", "suspend", "resume",
    },
    "cli": {
        "publish", "enable", "restore", "retry", "cancel", "suspend", "resume", "emit", "recount", "show",
        "follow", "page", "reload", "prune", "schedule", "tick", "callbacks", "activity", "batch", "heads",
        "files_of",
    },
    "reader": {"show", "follow", "page", "reload", "files_of"},
}  # fmt: skip


def granted(user: str) -> set[str]:
    return {rule[1:] for rule in USERS[user] if rule.startswith("+")}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server with the users of the page."""
    with server() as own:
        for name, rules in USERS.items():
            own.ask("ACL", "SETUSER", name, *(f">{PASSWORD}" if r == ">PASSWORD" else r for r in rules))
        yield own


def url(own: Server, user: str) -> str:
    return f"redis://{user}:{PASSWORD}@127.0.0.1:{own.port}"


def denials(own: Server) -> set[tuple[str, str, str]]:
    """Who was denied what, for lack of which permission."""
    with own.client() as client:
        entries: Any = client.execute_command("ACL", "LOG")
    found = [
        each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=False)) for each in entries
    ]
    return {(e["username"], e["reason"], e["object"]) for e in found if e["object"] not in NOT_GRANTED}


@pytest.mark.parametrize("user", SCRIPTS)
def test_each_access_list_covers_its_scripts(user: str) -> None:
    """A script that uses another command belongs into the list of the page, too."""
    used: set[str] = set()
    for name in SCRIPTS[user]:
        used |= {each.lower() for each in re.findall(r"redis\.p?call\('([A-Z]+)'", scripts.script(name).text)}
    assert used - granted(user) == set()


def test_every_script_belongs_to_somebody() -> None:
    assert set().union(*SCRIPTS.values()) == set(scripts.names())


READ_ONLY = {
    "gateway": {
        keys.LIVE, keys.REVISION, keys.REVISIONS, keys.PROGRAM, keys.CONTENT, keys.BLOBS, keys.SCHEDULES,
        keys.GATES, keys.DELETED, keys.EXPIRIES, keys.DRAINED, keys.UPKEEP, keys.TAKEN, keys.MATCHER,
        keys.CLOCK_AHEAD, keys.OPERATION, keys.FORMAT, keys.IDENTITY, keys.SCHEDULE,
        keys.CALLBACK_COUNTS, keys.PRIORITIES, keys.ERRORS, keys.ERROR_TIMES,
        keys.BATCH, keys.BATCH_RUNS, keys.BATCHES, keys.BATCHES_DUE,
    },
    "worker": {
        keys.LIVE, keys.REVISION, keys.REVISIONS, keys.DELETED, keys.DRAINED, keys.FORMAT,
        keys.IDENTITY, keys.RATES, keys.PROMISED, keys.REPLY,
    },
}  # fmt: skip


@pytest.mark.parametrize("user", READ_ONLY)
def test_each_key_is_in_the_list_or_only_read(user: str) -> None:
    """A new key of the store: decide who may write it, and write that down on the page."""
    stored = {
        value
        for name, value in keys.LUA.items()
        if isinstance(value, str)
        and re.fullmatch(r"iogate:[a-z_]+:?", value)
        and not name.endswith("_channel")
    }
    writable = {rule.removeprefix("~").removesuffix("*") for rule in USERS[user] if rule.startswith("~")}
    assert stored - writable == READ_ONLY[user]


@pytest.mark.parametrize("user", USERS)
def test_every_command_that_is_not_in_the_list_is_denied(guarded: Server, user: str) -> None:
    with guarded.client() as client:
        _every_command_is_denied(client, user)


def _every_command_is_denied(client: Redis, user: str) -> None:
    ask: Callable[..., Any] = client.execute_command
    named = {str(each).lower() for each in ask("COMMAND LIST")}
    containers = {each.split("|")[0] for each in named if "|" in each}
    forbidden = named - containers - granted(user) - ALWAYS
    assert {"flushall", "keys", "shutdown", "eval", "debug", "replicaof", "monitor", "move"} <= forbidden
    assert {"config|set", "config|get", "script|flush", "client|kill", "acl|setuser"} <= forbidden
    for command in forbidden:
        # Arguments do not matter, but their number does.
        arity = abs(int(ask("COMMAND INFO", command)[0][1]))
        words = command.split("|")
        given = ["1"] * max(0, arity - len(words))
        answer = ask("ACL", "DRYRUN", user, *words, *given)
        assert "has no permissions" in answer, command


@pytest.mark.parametrize("user", USERS)
def test_keys_and_channels_of_others_are_denied(guarded: Server, user: str) -> None:
    forbidden = (
        ("GET", "session:1"),
        ("PUBLISH", "elsewhere", "x"),
        ("FLUSHALL",),
        ("CONFIG", "SET", "dir", "/tmp"),
        ("EVAL", "return 1", "0"),
    )
    with Redis.from_url(url(guarded, user)) as client:
        for command in forbidden:
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)


def test_only_the_command_line_publishes_and_drains(guarded: Server) -> None:
    for user in ("gateway", "worker", "reader"):
        for key in (keys.LIVE, keys.REVISION + "1", keys.REVISIONS, keys.DRAINED):
            for command in (("set", key, "x"), ("hset", key, "a", "b")):
                assert guarded.ask("ACL", "DRYRUN", user, *command) != "OK", (user, command)
    for key in (keys.PROGRAM + "1", keys.CONTENT + "1", keys.SCHEDULES):
        assert guarded.ask("ACL", "DRYRUN", "gateway", "set", key, "x") != "OK", key
    assert guarded.ask("ACL", "DRYRUN", "cli", "set", keys.DRAINED, "x") == "OK"


@contextmanager
def running(root: Path, command: str, store: str, port: int) -> Iterator[fork_server.Process]:
    environment = {**os.environ, "IOGATE_REDIS_URL": store, "IOGATE_PORT": str(port)}
    environment["IOGATE_LINK_KEY"] = LINK_KEY
    # A caller repeats a call, but not each other change, that a stalled gateway answers with 503.
    environment = patience.of_children(environment)
    with (root / f"{command}.log").open("wb") as log:
        process = fork_server.start(
            *("iogate", command), environment=environment, folder=root, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def iogate(root: Path, store: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "IOGATE_REDIS_URL": store, "IOGATE_LINK_KEY": LINK_KEY}
    return fork_server.run("iogate", *arguments, folder=root, environment=environment)


def test_regular_work_needs_no_other_permissions(guarded: Server, tmp_path: Path) -> None:
    """A gateway, a worker, the command line and a reader, each with its own user: nothing is denied."""
    write_project(tmp_path)
    (tmp_path / "iogate.yaml").write_text("events: {auth: none}\n")
    guarded.ask("ACL", "LOG", "RESET")
    cli, reader, port = url(guarded, "cli"), url(guarded, "reader"), free_port()
    applied = iogate(tmp_path, cli, "apply", "--yes")
    assert applied.returncode == 0, applied.stderr
    with (
        running(tmp_path, "serve", url(guarded, "gateway"), port) as gateway,
        running(tmp_path, "worker", url(guarded, "worker"), port),
    ):
        place = Place(root=tmp_path, port=port, process=gateway)
        with contextlib.suppress(OSError):
            until(lambda: _ready(place))
        status, answer = place.call("/v1/api/shop/buy/sync", {"sku": "A-1"})
        assert (status, answer.get("code")) == (200, 0), (answer, denials(guarded))
        parent = place.buy("nested")
        until(lambda: place.call(f"/v1/runs/{parent}")[1]["status"] == "waiting")
        assert place.call(f"/v1/runs/{parent}/cancel", {})[0] == 202
        failed = place.buy("fail")
        until(lambda: place.call(f"/v1/runs/{failed}")[1]["status"] == "faulted")
        asleep = place.buy("sleep")
        for arguments in (
            ("disable", "shop/buy"),
            ("disable", "shop/buy", "--hold"),
            ("enable", "shop/buy", "--rate", "50/s"),
            ("runs", "retry", failed),
            ("runs", "suspend", asleep),
            ("runs", "resume", asleep),
            ("runs", "cancel", asleep),
            ("status",),
        ):
            done = iogate(tmp_path, cli, *arguments)
            assert done.returncode == 0, (arguments, done.stderr)
        listed = iogate(tmp_path, reader, "runs", "list", "-o", "json")
        assert len(json.loads(listed.stdout)["runs"]) >= 5
        for arguments in (("runs", "show", asleep), ("status",), ("api", "list")):
            done = iogate(tmp_path, reader, *arguments)
            assert done.returncode == 0, (arguments, done.stderr)
    assert denials(guarded) == set()
    refused = iogate(tmp_path, reader, "disable", "shop/buy")
    assert refused.returncode == 6
    assert 'refused HINCRBY to the user "reader": ' in refused.stderr
    assert "[IOG654]" in refused.stderr
    assert "Traceback" not in refused.stderr


def _ready(place: Place) -> bool:
    with contextlib.suppress(OSError):
        return place.call("/health/ready")[0] == 200
    return False


@pytest.mark.parametrize("lacking", ["info", "time", "evalsha", "script|load", "client|setname"])
async def test_a_missing_permission_names_the_command_and_the_user(guarded: Server, lacking: str) -> None:
    """Before: tracebacks, or a refusal that named neither."""
    rules = [rule for rule in USERS["cli"] if rule != f"+{lacking}"]
    guarded.ask(
        "ACL", "SETUSER", "lame", "reset", *(f">{PASSWORD}" if r == ">PASSWORD" else r for r in rules)
    )
    with pytest.raises(NotPermitted) as caught:
        await _work(url(guarded, "lame"))
    assert caught.value.message.startswith(f"the store at 127.0.0.1:{guarded.port} refused ")
    assert f'{lacking.upper().replace("|", " ")} to the user "lame": ' in caught.value.message
    assert (caught.value.code, caught.value.exit_code) == ("IOG654", 6)
    assert PASSWORD not in caught.value.message


async def _work(address: str) -> None:
    store = await open_store(address, keyring=RING)
    try:
        await store.server_info()
        await store.now_ms()
        await store.runs.cancel("1")
    finally:
        await store.close()


async def test_a_missing_permission_of_a_script_is_no_defect_of_the_gateway(guarded: Server) -> None:
    """The gateway answers 503 and logs the user; before, 500 and a traceback for each call."""
    rules = [rule for rule in USERS["gateway"] if rule != "~iogate:gate:*"]
    guarded.ask(
        "ACL", "SETUSER", "lame", "reset", *(f">{PASSWORD}" if r == ">PASSWORD" else r for r in rules)
    )
    administrator = await open_store(guarded.url, keyring=RING)
    await builders.publish(administrator)
    await administrator.close()
    store = await open_store(url(guarded, "lame"), keyring=RING)
    intake = store.intake()
    with pytest.raises(NotPermitted, match=r'to the user "lame": .* key'):
        await intake.accept(builders.request(intake))
    await store.close()
