"""Commands and the store: servers that are refused, and the drain before a failover."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from iogate.store import keys
from iogate.store.embedded.data_folder import has_store
from iogate.store.maintenance import drains
from tests.cli.conftest import Cli
from tests.replicas import in_step, pair, server


@pytest.mark.parametrize("command", ["apply", "serve", "worker"])
def test_commands_refuse_a_cluster(cli: Cli, command: str) -> None:
    """Before: `apply` ended with 0, ready was 200 and every call 500."""
    cli("init")
    with server("--cluster-enabled", "yes") as own:
        cli.write("iogate.yaml", f"redis_url: {own.url}\n")
        ran = cli(command, code=6)
    assert "is a cluster: scripts of iogate use keys of several slots [IOG651]" in ran.err


@pytest.mark.parametrize("private", [".iogate", ".iogate/redis"])
def test_the_store_of_another_user_is_reported(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, private: str
) -> None:
    """Root may read everywhere, so that the system calls are patched to their results for another user."""
    store = cli.root.resolve() / ".iogate/redis"
    store.mkdir(parents=True)
    folder = cli.root.resolve() / private
    stat, access = Path.stat, os.access

    def stat_as_other(path: Path, **options: Any) -> os.stat_result:
        if folder in path.absolute().parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, **options)

    def access_as_other(path: Any, mode: int, **options: Any) -> bool:
        return not Path(path).absolute().is_relative_to(folder) and access(path, mode, **options)

    monkeypatch.setattr(Path, "stat", stat_as_other)
    monkeypatch.setattr(os, "access", access_as_other)
    said = f"{store} is not readable: Permission denied"
    hint = "run as the owner of this path, or use another store or a server: redis_url, --profile"
    assert f"iogate: {said} [IOG628]\n  {hint}\n" in cli("runs", "list", code=6).err
    assert said in cli("doctor", code=6).out
    # So that the server of the last login is not chosen in its place.
    assert has_store(Path(".iogate"))


def test_a_drain_closes_the_store_and_resume_opens_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine may stall the replica for longer than the 4 s that it has.
    monkeypatch.setattr(drains, "WAIT_MS", 12_000)
    cli("init")
    with pair() as (primary, replica):
        in_step(primary)
        cli.write("iogate.yaml", f"redis_url: {primary.url}\n")
        cli("apply", "--yes")
        ran = cli("store", "drain", "--for", "5m")
        assert ran.err.startswith(f"store: {primary.url}\n")
        assert f"127.0.0.1:{replica.port} has all data, offset " in ran.out
        assert "fail over now, then:  iogate store resume" in ran.err
        assert 0 < primary.ask("PTTL", keys.DRAINED) <= 300_000
        assert replica.ask("EXISTS", keys.DRAINED) == 1
        refused = cli("disable", "hello/greet", code=6)
        assert refused.err.endswith(
            "iogate: the store is out of reach: it is drained for a planned failover [IOG653]\n"
            "  `iogate store resume` ends the drain, which also ends by itself when its time is over\n"
        )
        assert "drained   for another " in cli("status").out
        assert cli("status", "-o", "json").json["drainedS"] > 0
        assert "resumed" in cli("store", "resume").out
        assert "the store was not drained" in cli("store", "resume").out
        assert primary.ask("EXISTS", keys.DRAINED) == 0
        assert cli("status", "-o", "json").json["drainedS"] is None
        cli("disable", "hello/greet")


def test_a_drain_needs_a_replica_and_a_length(cli: Cli) -> None:
    with server() as own:
        cli.write("iogate.yaml", f"redis_url: {own.url}\n")
        ran = cli("store", "drain", code=4)
        assert "has no replica that could take over" in ran.err
        assert own.ask("EXISTS", keys.DRAINED) == 0
        assert (
            "--for 2h: expected a duration from 1s to 1h" in cli("store", "drain", "--for", "2h", code=64).err
        )


def test_replicated_needs_a_store_with_replicas(cli: Cli) -> None:
    cli("init")
    cli.write("iogate.yaml", "durability: replicated\n")
    ran = cli("up", code=3)
    assert "durability is replicated, and the embedded store has no replicas [IOG191]" in ran.err
    with server() as own:
        cli.write("iogate.yaml", f"durability: replicated\nredis_url: {own.url}\n")
        ran = cli("doctor", code=6)
        assert "durability is replicated with 1 replicas, and 0 are connected: calls get a 503" in ran.out
        ran = cli("apply", "--yes", code=6)
        assert "0 of 1 replicas confirmed the write, which a failover now could lose [IOG652]" in ran.err


def test_doctor_warns_of_data_loss_in_a_failover(cli: Cli) -> None:
    with pair() as (primary, _):
        in_step(primary)
        cli.write("iogate.yaml", f"redis_url: {primary.url}\n")
        assert (
            "durability is local: a failover loses calls that no replica has received"
            in cli("doctor", code=6).out
        )


def test_doctor_says_if_a_restart_forgets_the_newest_live_revision(cli: Cli) -> None:
    with server() as own:
        cli.write("iogate.yaml", f"redis_url: {own.url}\n")
        told = "does not exist: processes that start later cannot refuse an earlier live revision"
        assert f".iogate {told}" in cli("doctor", code=None).out
        (cli.root / ".iogate").mkdir()
        assert told not in cli("doctor", code=None).out
