"""Containers: command line, output, cleanup, and their end with the run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from iogate.effects import Effects
from iogate.effects.processes import container_cleanup
from iogate.engine.commands import RunContainer
from iogate.settings import Settings
from tests.effects.conftest import KEY, do, failure, until, written
from tests.effects.docker import install


def container(command: str | None = "true", **run: Any) -> RunContainer:
    return RunContainer(**{"image": "alpine", "name": "n-1.ns-t", "key": "k-1", "command": command, **run})


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a fake Docker on PATH."""
    folder = install(tmp_path, monkeypatch)
    monkeypatch.setenv("A_SECRET_OF_THE_WORKER", "s3cret")
    return folder


@pytest.fixture
async def effects(daemon: Path) -> AsyncIterator[Effects]:
    async with Effects(settings=Settings(allow_run=("container",))) as effects:
        yield effects


def calls(daemon: Path, command: str = "") -> list[list[str]]:
    lines = (daemon / "calls").read_text().splitlines() if (daemon / "calls").exists() else []
    commands = [json.loads(line) for line in lines]
    return [each for each in commands if not command or each[0] == command]


def container_names(daemon: Path) -> list[str]:
    return sorted(file.stem for file in (daemon / "containers").glob("*.json"))


async def test_return_selects_the_output(effects: Effects) -> None:
    run = "printf out; printf err >&2; exit 3"

    async def returned(returns: str) -> Any:
        return (await do(effects, container(run, returns=returns, cleanup="always"))).output

    assert await returned("all") == {"code": 3, "stdout": "out", "stderr": "err"}
    assert await returned("code") == 3
    ok = container("printf out; printf err >&2", cleanup="always")
    assert (await do(effects, ok)).output == "out"


async def test_a_code_other_than_0_is_a_runtime_error(effects: Effects) -> None:
    performed = await do(effects, container("echo why >&2; exit 3"))
    assert failure(performed) == ("runtime", 500, "the container ended with code 3")
    assert written(performed) == {"code": 3, "stderr": "why"}


async def test_everything_reaches_the_command_line(effects: Effects, daemon: Path) -> None:
    run = container(
        'printf "%s" "$1"',
        arguments=("a b",),
        ports={"8080": "80"},
        volumes={"./data": "/data", "cache": "/cache"},
        environment={"FOO": "bar"},
        pull="always",
        stdin="in",
    )
    assert (await do(effects, run)).output == "a b"
    (created,) = calls(daemon, "create")
    text = " ".join(created)
    assert "--name n-1.ns-t --pull always" in text
    assert "--publish 8080:80" in text
    assert f"--volume {Path.cwd() / 'data'}:/data --volume cache:/cache --interactive" in text
    assert created[-7:] == ["--", "alpine", "sh", "-c", 'printf "%s" "$1"', "sh", "a b"]
    assert calls(daemon, "start") == [["start", "--attach", "--sig-proxy=false", "--interactive", "n-1.ns-t"]]


async def test_without_a_command_the_arguments_go_to_the_entrypoint(effects: Effects, daemon: Path) -> None:
    assert (await do(effects, container(None, arguments=("echo", "hi")))).output == "hi\n"
    assert calls(daemon, "create")[0][-4:] == ["--", "alpine", "echo", "hi"]


async def test_the_environment_is_the_authors_and_on_no_command_line(effects: Effects, daemon: Path) -> None:
    secret = {"TOKEN": "s3cr3t=a", "KEY_FILE": "line 1\nline 2", "QUOTED": '"s3cr3t"'}
    output = (await do(effects, container("env; true", environment=secret))).output
    assert "TOKEN=s3cr3t=a\n" in output
    assert "KEY_FILE=line 1\nline 2\n" in output
    assert 'QUOTED="s3cr3t"\n' in output
    assert f"IOGATE_IDEMPOTENCY_KEY={KEY}\n" in output
    assert "A_SECRET_OF_THE_WORKER" not in output
    assert "s3cr3t" not in (daemon / "calls").read_text()
    assert "line 1" not in (daemon / "calls").read_text()


@pytest.mark.parametrize("name", ["PATH", "DOCKER_HOST", "LD_PRELOAD", "https_proxy"])
async def test_variables_of_a_container_do_not_affect_the_command_line_tool(
    effects: Effects, daemon: Path, name: str
) -> None:
    kind, _, detail = failure(await do(effects, container("true", environment={name: "a\nb"})))
    assert kind == "configuration"
    assert detail.startswith(f"variable {name} cannot be passed to a container")
    assert calls(daemon) == []


@pytest.mark.parametrize("name", ["A B", "", "A=B", "A\nB"])
async def test_an_invalid_name_of_a_variable_is_refused(effects: Effects, name: str) -> None:
    kind, _, detail = failure(await do(effects, container("true", environment={name: "1"})))
    assert kind == "configuration"
    assert detail.endswith("is not a valid name of an environment variable")


async def test_stdin_reaches_the_container(effects: Effects) -> None:
    assert (await do(effects, container("cat", stdin="a\nb"))).output == "a\nb"
    assert (await do(effects, container("cat", name="n-2", key="k-2"))).output == ""


@pytest.mark.parametrize(("cleanup", "left"), [("always", []), ("never", ["n-1.ns-t"])])
async def test_lifetime_decides_about_removal(
    effects: Effects, daemon: Path, cleanup: str, left: list[str]
) -> None:
    await do(effects, container("true", cleanup=cleanup))
    assert container_names(daemon) == left


async def test_a_container_with_cleanup_eventually_is_removed_after_its_time(
    effects: Effects, daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_cleanup, "MIN_DELAY_S", 0.05)
    await do(effects, container("true", cleanup="eventually", keep_s=0.6))
    assert container_names(daemon) == ["n-1.ns-t"]
    await until(lambda: not container_names(daemon))


async def test_the_next_worker_removes_containers_of_a_dead_one(
    daemon: Path, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    await do(effects, container("true", cleanup="eventually", keep_s=0.3))
    await effects.close()
    assert container_names(daemon) == ["n-1.ns-t"]
    monkeypatch.setattr(container_cleanup, "FIRST_DELAY_S", 0.4)
    async with Effects(settings=Settings(allow_run=("container",))):
        await until(lambda: not container_names(daemon))


@pytest.mark.parametrize(
    ("cleanup", "ended"), [("always", ["rm", "--force", "--volumes"]), ("never", ["kill"])]
)
async def test_a_cancelled_run_kills_its_container(
    effects: Effects, daemon: Path, tmp_path: Path, cleanup: str, ended: list[str]
) -> None:
    pid = tmp_path / "pid"
    run = container(f"echo $$ > {pid}; sleep 60", cleanup=cleanup)
    task = asyncio.create_task(do(effects, run))
    await until(lambda: pid.exists() and pid.read_text().strip() != "" and is_running(daemon))
    await cancelled(task)
    ((_, name, freed),) = calls(daemon, "rename")
    assert name == "n-1.ns-t"
    assert freed.startswith("n-1.ns-t-killed-")
    assert [*ended, freed] in calls(daemon)
    assert container_names(daemon) == ([] if cleanup == "always" else [freed])
    await until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


@pytest.mark.parametrize("cleanup", ["always", "never"])
async def test_a_cancelled_effect_that_is_repeated_has_a_container_of_its_own(
    effects: Effects, daemon: Path, tmp_path: Path, cleanup: str
) -> None:
    """Its worker was stopped, or its task had a timeout: the key, and so the name, is the same."""
    began = tmp_path / "began"
    run = container(f"[ -e {began} ] || {{ touch {began}; sleep 60; }}; printf done", cleanup=cleanup)
    task = asyncio.create_task(do(effects, run))
    await until(lambda: began.exists() and is_running(daemon))
    await cancelled(task)
    assert (await do(effects, run)).output == "done"


@pytest.mark.parametrize("cleanup", ["always", "never"])
async def test_a_container_that_its_stopping_worker_kills_is_no_result_for_the_next(
    effects: Effects, daemon: Path, tmp_path: Path, cleanup: str
) -> None:
    began = tmp_path / "began"
    run = container(f"[ -e {began} ] || {{ touch {began}; sleep 60; }}; printf done", cleanup=cleanup)
    stopping = asyncio.create_task(do(effects, run))
    await until(lambda: began.exists() and is_running(daemon))
    async with Effects(settings=Settings(allow_run=("container",))) as other:
        following = asyncio.create_task(do(other, run))
        await until(lambda: bool(calls(daemon, "wait")))
        await cancelled(stopping)
        assert (await following).output == "done"


async def test_a_running_container_of_a_dead_worker_is_awaited(
    effects: Effects, daemon: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    run = container(f"until [ -e {go} ]; do sleep 0.02; done; printf done; exit 0")
    await left(daemon, run)
    task = asyncio.create_task(do(effects, run))
    await until(lambda: bool(calls(daemon, "wait")))
    go.touch()
    assert (await task).output == "done"
    assert len(calls(daemon, "start")) == 1


async def test_a_container_that_lost_its_input_is_recreated(effects: Effects, daemon: Path) -> None:
    run = container("cat", stdin="whole")
    await left(daemon, container("sleep 60"))
    assert (await do(effects, run)).output == "whole"
    assert ["rm", "--force", "n-1.ns-t"] in calls(daemon)


async def test_the_name_of_another_container_is_refused(effects: Effects, daemon: Path) -> None:
    await do(effects, container("true", key="other"))
    kind, _, detail = failure(await do(effects, container("true")))
    assert kind == "configuration"
    assert detail == ('container "n-1.ns-t" exists already; remove it, or give this one another name')
    assert container_names(daemon) == ["n-1.ns-t"]


@pytest.mark.parametrize("cleanup", ["always", "never"])
async def test_a_cancelled_run_leaves_the_container_of_another_owner_alone(
    effects: Effects, daemon: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: str
) -> None:
    """It is cancelled while it creates its container, for example while the image is pulled."""
    others = begun(daemon, container("sleep 60", key="other"))
    try:
        await until(lambda: is_running(daemon))
        pulling = block_creation(tmp_path, monkeypatch)
        task = asyncio.create_task(do(effects, container("true", cleanup=cleanup)))
        await until(pulling.exists)
        await cancelled(task)
        assert calls(daemon, "inspect")
        assert is_running(daemon)
        assert container_names(daemon) == ["n-1.ns-t"]
    finally:
        kill(others)


async def test_a_missing_image_is_reported_in_the_daemons_words(effects: Effects) -> None:
    performed = await do(effects, container("true", image="no-such-image"))
    commands = "the container cannot be created: docker ended with code 1"
    assert failure(performed) == ("runtime", 500, commands)
    assert written(performed)["stderr"] == "Unable to find image 'no-such-image:latest' locally"


async def test_a_container_that_cannot_start_is_reported_and_removed(effects: Effects, daemon: Path) -> None:
    performed = await do(effects, container("true", image="no-such-command"))
    assert failure(performed)[2] == "the container cannot be started"
    assert written(performed)["stderr"].startswith("Error response")
    assert container_names(daemon) == []


async def test_too_much_output_kills_a_container(
    effects: Effects, daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, detail = failure(await do(effects, container("head -c 11000000 /dev/zero", cleanup="always")))
    assert detail.startswith("the container wrote more than")
    assert container_names(daemon) == []


async def test_without_docker_and_podman_the_error_names_them(
    effects: Effects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    kind, _, detail = failure(await do(effects, container()))
    assert kind == "configuration"
    assert detail == (
        "nothing on this worker runs containers: "
        "install Docker or Podman where the worker's PATH finds its command"
    )


async def test_a_worker_without_permission_runs_no_containers(daemon: Path) -> None:
    async with Effects(settings=Settings(allow_run=("script",))) as effects:
        _, _, detail = failure(await do(effects, container()))
    assert detail == 'this worker runs no container; add "container" to its setting "allow_run"'
    assert calls(daemon) == []


async def test_a_real_daemon_runs_a_container() -> None:
    tool = shutil.which("docker") or shutil.which("podman")
    if tool is None:
        pytest.skip("neither docker nor podman is installed here")
    absent = image_absent(tool)
    if absent:
        pytest.skip(f"no daemon with the image alpine: {absent}")
    async with Effects(settings=Settings(allow_run=("container",))) as effects:
        run = container('cat; echo "$1 $FOO"', stdin="in ", arguments=("a",), environment={"FOO": "b"})
        assert (await do(effects, run)).output == "in a b\n"


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def is_running(daemon: Path) -> bool:
    """Return whether the daemon has noted that the container runs: it kills no other one."""
    file = daemon / "containers" / "n-1.ns-t.json"
    return file.exists() and '"status": "running"' in file.read_text()


def image_absent(tool: str) -> str:
    found = subprocess.run([tool, "image", "inspect", "alpine"], capture_output=True, check=False)
    return found.stderr.decode()[:200] if found.returncode else ""


def block_creation(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let `create` of the tool on PATH never end; return the file that exists when it has begun."""
    began = place / "began-to-create"
    tool = place / "blocked" / "docker"
    tool.parent.mkdir()
    passed_on = f'exec {shutil.which("docker")} "$@"'
    tool.write_text(f'#!/bin/sh\n[ "$1" = create ] && touch {began} && exec sleep 60\n{passed_on}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return began


def kill(attached: subprocess.Popen[bytes]) -> None:
    """Kill the container that a command line is attached to, which then ends."""
    subprocess.run(["docker", "kill", "n-1.ns-t"], check=False, stdout=subprocess.DEVNULL)
    attached.wait()


async def left(daemon: Path, run: RunContainer) -> None:
    """Start a container whose command line was killed with its worker."""
    attached = begun(daemon, run)
    await until(lambda: is_running(daemon))
    attached.kill()
    attached.wait()


def begun(daemon: Path, run: RunContainer) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "CONTAINER_FAKE_DOCKER": str(daemon)}
    variables = daemon.parent / "variables"
    variables.touch()
    assert run.command is not None
    label = ["--label", f"iogate.effect={run.key}", "--env-file", str(variables)]
    create = ["docker", "create", "--name", run.name, *label, "--", run.image, "sh", "-c", run.command, "sh"]
    subprocess.run(create, env=environment, check=True, stdout=subprocess.DEVNULL)
    return subprocess.Popen(["docker", "start", "--attach", run.name], env=environment)
