"""Confinement of scripts: each attack is refused or bounded, depending on the settings."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from iogate.effects import Effects
from iogate.effects.processes import launcher_client
from iogate.errors import Misused, for_operators
from iogate.settings import Settings
from tests.effects.conftest import do, failure, python, shell, until
from tests.processes import alive

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to change the user")
LIMITS = {"memory": 256 * 1024**2, "cpu": 60.0, "file": 1024**2, "processes": 40}

pytestmark = LINUX


def pids(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()] if file.exists() else []


@asynccontextmanager
async def confined(**settings: Any) -> AsyncIterator[Effects]:
    given = {"allow_run": ("shell", "script"), "process_limits": LIMITS, **settings}
    try:
        async with Effects(settings=Settings(**given)) as effects:
            yield effects
    except Misused as refused:
        if refused.code == "IOG680" and os.geteuid() != 0:
            pytest.skip(f"this system has no user namespaces: {refused}")
        raise


Confined = Callable[..., AbstractAsyncContextManager[Effects]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with a store's socket, settings, a secret file and a script; workers start in it."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    data = tmp_path / ".iogate/redis"
    data.mkdir(parents=True, mode=0o700)
    (tmp_path / ".iogate").chmod(0o700)
    (tmp_path / "iogate.yaml").write_text("link_key: canary-of-the-settings-file-with-32-characters\n")
    (tmp_path / "token").write_text("canary-of-the-secret-file")
    (tmp_path / "publisher").write_text("canary-of-the-key-of-the-publisher")
    (tmp_path / "key.pem").write_text("canary-of-the-key-of-the-gateway")
    (tmp_path / "ship.sh").write_text("echo shipped")
    with socket.socket(socket.AF_UNIX) as store:
        store.bind(os.path.relpath(data / "redis.sock"))
        (data / "redis.sock").chmod(0o600)
        store.listen()
        yield tmp_path


async def test_ten_thousand_processes_are_ended_at_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    code = f"i=0; while [ $i -lt 10000 ]; do sleep 60 & echo $! >> {file}; i=$((i+1)); done; wait"
    async with confined() as effects:
        performed = await do(effects, shell(code))
    said = "the shell had more than 40 processes (process_limits.processes) and was killed"
    assert failure(performed)[2].startswith(said)
    started = pids(file)
    # The shell is one of the 40, and is killed before it has written the numbers of the last ones.
    assert 30 <= len(started) < 10_000
    assert not any(map(alive, started))


async def test_orphans_that_end_do_not_delay_the_check_of_the_limits() -> None:
    """Each of them wakes the keeper, which checked the limits only after a time without a wakeup."""
    code = """
        i=0
        while [ $i -lt 3000 ]; do
            if [ $i -lt 60 ]; then sleep 300 & fi
            (: &)
            i=$((i + 1))
        done
    """
    async with confined() as effects:
        performed = await do(effects, shell(code))
    said = "the shell had more than 40 processes (process_limits.processes) and was killed"
    assert failure(performed)[2].startswith(said)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("bytearray(8 << 30)", "MemoryError"),
        (
            # The pauses leave time to a keeper that is stalled, before the memory of the machine is full.
            "import mmap, time; m = mmap.mmap(-1, 8 << 30)\n"
            "while True: m.write(bytes(1 << 24)); time.sleep(0.05)",
            "held over 268435456 bytes of memory (process_limits.memory) and was killed",
        ),
    ],
)
async def test_eight_gibibytes_of_memory_are_refused(code: str, said: str) -> None:
    """Private memory by the kernel; shared memory, which it does not count, by the keeper."""
    async with confined() as effects:
        performed = await do(effects, python(code))
    assert performed.error is not None
    assert said in for_operators(performed.error.detail or "", performed.error.to_json())


async def test_ten_gibibytes_in_a_file_are_refused() -> None:
    async with confined() as effects:
        performed = await do(effects, shell("head -c 10G /dev/zero > $TMPDIR/file"))
    said = "the shell wrote a file of over 1048576 bytes (process_limits.file) and was killed"
    assert failure(performed)[2].startswith(said)


async def test_processor_time_ends() -> None:
    async with confined(process_limits=LIMITS | {"cpu": 1.0}) as effects:
        performed = await do(effects, shell("while :; do :; done"))
    said = "the shell used more than 1s of processor time (process_limits.cpu) and was killed"
    assert failure(performed)[2].startswith(said)


async def test_a_keeper_has_not_the_processor_time_of_its_process() -> None:
    """It checks the tree as long as the process runs, and was killed after some hours."""
    code = """
        until grep -q 'Max cpu time  *60  *65 ' /proc/$$/limits; do :; done
        grep 'Max cpu time' /proc/$PPID/limits
    """
    async with confined() as effects:
        of_keeper = (await do(effects, shell(code))).output
        of_worker = (await do(effects, shell(f"grep 'Max cpu time' /proc/{os.getpid()}/limits"))).output
    assert of_keeper == of_worker


async def test_no_process_gains_privileges() -> None:
    async with confined() as effects:
        assert (await do(effects, shell("grep NoNewPrivs /proc/self/status"))).output == "NoNewPrivs:\t1\n"


async def test_a_process_that_leaves_its_session_and_environment_is_killed(tmp_path: Path) -> None:
    """`env -i setsid` was found by neither group nor environment."""
    file = tmp_path / "pids"
    code = f"""
        env -i setsid sh -c '(sleep 300 & echo $! >> {file}); echo $$ >> {file}; trap "" TERM; sleep 301' &
        echo $! >> {file}; sleep 302
    """
    async with confined() as effects:
        task = asyncio.create_task(do(effects, shell(code)))
        await until(lambda: len(pids(file)) == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not any(map(alive, pids(file)))


async def test_processes_end_with_the_task_that_started_them(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    async with confined() as effects:
        performed = await do(effects, shell(f"env -i setsid sleep 300 & echo $! > {file}; echo done"))
        assert performed.output == "done\n"
        assert not any(map(alive, pids(file)))


async def test_a_script_that_kills_its_keeper_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    async with confined() as effects:
        code = f"setsid sleep 300 & echo $! > {file}; echo $$ >> {file}; kill -9 $PPID; sleep 300"
        performed = await do(effects, shell(code))
        assert failure(performed)[2].startswith("the shell ended with code 137")
        await until(lambda: not any(map(alive, pids(file))))
        assert (await do(effects, shell("echo on"))).output == "on\n"


async def test_a_launcher_that_was_killed_is_started_again() -> None:
    async with confined() as effects:
        await do(effects, shell("true"))
        server = effects._workspace.launcher._server
        assert server is not None
        server.send_signal(signal.SIGKILL)
        server.wait()
        for _ in range(3):
            assert (await do(effects, shell("echo on"))).output == "on\n"


ATTACKS = {
    "the store's socket": "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect({socket!r})'",
    "the data folder": "ls {project}/.iogate/redis | grep .",
    "settings": "grep . iogate.yaml",
    "a secret file": "grep . token",
    "the key of the publisher": "grep . publisher",
    "the key of the gateway": "grep . key.pem",
    "writing to the project": "echo x > {project}/ship.sh",
    "writing beside it": "echo x > /usr/canary || echo x > /etc/canary || echo x > /tmp/canary",
    "the network": "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)'",
    "other processes": "kill -0 {pid} || cat /proc/{pid}/environ",
    "a new mount": "mount -t tmpfs none /mnt || umount {project}/.iogate",
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_sandbox_refuses(attack: str, project: Path) -> None:
    settings: dict[str, Any] = {"process_isolation": "sandbox", "secrets": {"a": {"file": "token"}}}
    settings["publish_key"] = {"file": "publisher"}
    settings["tls"] = {"cert": "cert.pem", "key": "key.pem"}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        code = ATTACKS[attack].format(
            project=project,
            socket=str(project / ".iogate/redis/redis.sock"),
            port=listening.getsockname()[1],
            pid=os.getpid(),
        )
        async with confined(**settings) as effects:
            performed = await do(effects, shell(code, returns="all"))
    assert performed.output["code"] != 0, performed.output
    assert performed.output["stdout"] == ""
    assert (project / "ship.sh").read_text() == "echo shipped"


async def test_a_sandbox_lets_a_script_work(project: Path) -> None:
    """It reads the project, runs the interpreter, writes to its folder and sees its own processes."""
    settings = {"process_isolation": "sandbox", "python": sys.executable}
    async with confined(**settings) as effects:
        code = (
            'sh ./ship.sh; echo kept > "$TMPDIR/a"; cat "$HOME/a"; echo y > /dev/shm/b; cat /dev/shm/b; cat'
        )
        assert (await do(effects, shell(code, stdin="in"))).output == "shipped\nkept\ny\nin"
        seen = await do(effects, python("import os, ssl; print(os.getuid(), os.getpid() < 10)"))
        assert seen.output == f"{os.getuid() or 65534} True\n"
        performed = await do(effects, shell("kill -9 $$"))
        assert failure(performed)[2] == "the shell ended with code 137"
        performed = await do(effects, shell("nowhere-to-be-found"))
        assert failure(performed)[2].startswith("the shell ended with code 127")


async def test_a_sandbox_ends_with_all_that_is_in_it(project: Path) -> None:
    file = project / "nothing"
    async with confined(process_isolation="sandbox") as effects:
        task = asyncio.create_task(do(effects, shell("trap '' TERM; env -i setsid sleep 4242 & sleep 4242")))
        await until(lambda: len(running("4242")) >= 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not running("4242"))
    assert not file.exists()


def running(word: str) -> list[str]:
    """Command lines of all processes that end with this word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().rstrip(b"\0").decode()
        except OSError:
            continue
        if line.endswith(f"\0{word}"):
            found.append(line)
    return found


@ROOT
@pytest.mark.parametrize("attack", ["the store's socket", "the data folder", "other processes"])
async def test_another_user_is_refused(attack: str, project: Path) -> None:
    code = ATTACKS[attack].format(
        project=project, socket=str(project / ".iogate/redis/redis.sock"), pid=os.getpid()
    )
    async with confined(process_isolation="user") as effects:
        performed = await do(effects, shell(code, returns="all"))
        assert performed.output["code"] != 0, performed.output
        assert performed.output["stdout"] == ""
        assert (await do(effects, shell('id -un; echo kept > "$TMPDIR/a"'))).output == "nobody\n"


async def test_a_system_that_cannot_isolate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = launcher_client.SERVER_PROGRAM.replace(
        "from iogate.launcher.server",
        "from iogate.launcher import system_calls; "
        "system_calls.unshare = lambda _: system_calls._checked('unshare', system_calls._libc.close(-1)); "
        "from iogate.launcher.server",
    )
    monkeypatch.setattr(launcher_client, "SERVER_PROGRAM", broken)
    settings = Settings(allow_run=("shell",), process_isolation="sandbox")
    with pytest.raises(Misused) as refused:
        async with Effects(settings=settings):
            pass
    said = "process_isolation: sandbox: this system cannot isolate processes so: unshare: Bad file descriptor"
    assert (refused.value.code, refused.value.message) == ("IOG680", said)


@pytest.mark.parametrize(("user", "said"), [("nobody-of-this-name", "no user"), ("root", "no isolation")])
def test_a_user_that_is_no_isolation_is_refused(user: str, said: str) -> None:
    with pytest.raises(Misused) as refused:
        Effects(settings=Settings(process_isolation="user", process_user=user))
    assert refused.value.code == "IOG681"
    assert said in refused.value.message or os.geteuid() != 0


@pytest.mark.parametrize("isolation", ["none", pytest.param("user", marks=ROOT)])
async def test_a_process_inherits_its_standard_streams_alone(isolation: str, project: Path) -> None:
    """The channel of its keeper came along: what a script wrote there was its end, or froze the worker."""
    async with confined(process_isolation=isolation) as effects:
        performed = await do(effects, shell("ls /proc/$$/fd"))
        assert performed.output == "0\n1\n2\n"


async def test_data_that_no_keeper_sends_ends_the_process() -> None:
    for data in (
        b"[]\n",
        b'{"ended":"0"}\n',
        b'{"ended":0,"limit":"all"}\n',
        b"\xff\n",
        b"{",
        b"a" * 100_000,
    ):
        ours, theirs = socket.socketpair()
        with theirs:
            started = launcher_client.RunningProcess(ours)
            theirs.setblocking(False)
            theirs.send(data)
            theirs.shutdown(socket.SHUT_WR)
            assert await started.receive() is None
            assert theirs.recv(1) == b"K"
        started.close()


@pytest.mark.parametrize("isolation", ["none", pytest.param("user", marks=ROOT)])
async def test_a_script_that_stops_its_keeper_ends(isolation: str, project: Path) -> None:
    """A stopped keeper saw no timeout, no limit and no end of its worker."""
    async with confined(process_isolation=isolation) as effects:
        code = "env -i setsid sleep 4343 & kill -STOP $PPID || exit 7; sleep 4343"
        async with asyncio.timeout(60):
            performed = await do(effects, shell(code))
        ended = {"none": "the shell ended with code 137", "user": "the shell ended with code 7"}[isolation]
        assert failure(performed)[2].startswith(ended)
        await until(lambda: not running("4343"))
        assert (await do(effects, shell("echo on"))).output == "on\n"
