"""Processes: environment, output, and the end of all that they start."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from iogate.compiler.checks.processes import process_digest
from iogate.compiler.revision import resource_uri
from iogate.effects import EffectContext, Effects
from iogate.effects.processes import process_run
from iogate.engine.commands import RunProcess
from iogate.errors import Unreachable
from iogate.settings import Settings
from tests.effects.conftest import KEY, do, failure, python, shell, until, written
from tests.processes import alive


def pids(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()] if file.exists() else []


def exists(path: str) -> bool:
    return Path(path).exists()


def make(place: Path, name: str, text: str) -> None:
    place.mkdir()
    (place / name).write_text(text)


def remove(home: str) -> None:
    Path(home).parent.rmdir()


def relative_python() -> str:
    return os.path.relpath(sys.executable)


def start(argv: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, env=environment)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_output_is_unchanged_text(effects: Effects) -> None:
    assert (await do(effects, shell("echo out; echo err >&2"))).output == "out\n"
    assert (await do(effects, shell("echo out; echo err >&2", returns="stderr"))).output == "err\n"
    assert (await do(effects, shell("echo out", returns="none"))).output is None


async def test_arguments_are_positional_and_never_parsed(effects: Effects) -> None:
    hostile = ("a b", "$(touch /tmp/never); `id`", "'", "-n", "")
    code = 'echo $#; for a in "$@"; do echo "[$a]"; done; echo "$0"'
    output = (await do(effects, shell(code, arguments=hostile))).output
    assert output.splitlines() == ["5", *(f"[{a}]" for a in hostile), "sh"]


async def test_a_command_that_starts_with_a_dash_is_a_command(effects: Effects) -> None:
    performed = await do(effects, shell("-x", returns="all"))
    assert performed.output["code"] == 127


async def test_a_script_gets_argv_and_stdin(effects: Effects) -> None:
    code = "import sys; print(sys.argv[1:], sys.stdin.read())"
    performed = await do(effects, python(code, arguments=("a b", "c"), stdin="grüße"))
    assert performed.output == "['a b', 'c'] grüße\n"


async def test_a_script_is_read_from_the_revision() -> None:
    requests = []

    async def stored(run: EffectContext, uri: str) -> bytes:
        requests.append((run.uid, uri))
        if uri != "file:///project/a.py":
            raise KeyError(uri)
        return b"print('stored')"

    async with Effects(settings=Settings(allow_run=("script",)), resources=stored) as effects:
        assert (await do(effects, python("", source="file:///project/a.py"))).output == "stored\n"
        performed = await do(effects, python("", source="file:///project/b.py"))
    assert requests[0] == ("213996969363910656", "file:///project/a.py")
    expected = "file:///project/b.py is not stored with this workflow's revision; apply it again"
    assert failure(performed) == ("configuration", 400, expected)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (None, ".script.py"),
        (resource_uri("scripts/json.py", "0" * 64), ".json.py"),
        (resource_uri("https://example.com/a%20b.py?v=2", "0" * 64), ".a_20b.py"),
        ("file:///project/Berlin-\u00fc.v2.py", ".Berlin-__v2.py"),
        (resource_uri("a" * 300, "0" * 64), f".{'a' * 100}.py"),
        ("https://example.com/", ".example.py"),
    ],
)
async def test_a_traceback_has_the_name_of_the_script(source: str | None, name: str) -> None:
    code = "import json; print(json.dumps(1)); raise SystemExit(__file__)"

    async def stored(*_: Any) -> bytes:
        return code.encode()

    async with Effects(settings=Settings(allow_run=("script",)), resources=stored) as effects:
        output = (await do(effects, python(code, source=source, returns="all"))).output
    assert (output["stdout"], output["stderr"].strip().rpartition("/")[2]) == ("1\n", name)


async def test_the_umask_of_a_worker_does_not_hide_a_script_from_its_user(effects: Effects) -> None:
    """With `process_isolation: user` the script belongs to the worker, and another user reads it."""
    before = os.umask(0o077)
    try:
        performed = await do(effects, python("import os; print(oct(os.stat(__file__).st_mode & 0o777))"))
    finally:
        os.umask(before)
    assert performed.output == "0o644\n"


async def test_a_script_waits_for_an_unreachable_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iogate.effects.dispatcher.STORE_RETRY_S", 0)
    answers: list[bytes | Unreachable] = [Unreachable("away"), Unreachable("away"), b"print('back')"]

    async def stored(_: EffectContext, __: str) -> bytes:
        match answers.pop(0):
            case bytes() as content:
                return content
            case away:
                raise away

    async with Effects(settings=Settings(allow_run=("script",)), resources=stored) as effects:
        assert (await do(effects, python("", source="project:///a.py"))).output == "back\n"


async def test_the_environment_is_clean(effects: Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_TOKEN", "swordfish")
    environment = {"MINE": "1", "IOGATE_RUN_ID": "forged"}
    output = (await do(effects, shell("env -0", environment=environment))).output
    seen = dict(entry.split("=", 1) for entry in output.split("\0") if entry)
    seen.pop("_", None)
    assert set(seen) == {
        *("PATH", "LANG", "HOME", "TMPDIR", "PWD", "MINE"),
        *("IOGATE_RUN_ID", "IOGATE_IDEMPOTENCY_KEY"),
    }
    assert (seen["MINE"], seen["IOGATE_IDEMPOTENCY_KEY"]) == ("1", KEY)
    assert seen["IOGATE_RUN_ID"] == "213996969363910656"
    assert seen["HOME"] == seen["TMPDIR"]
    assert not exists(seen["HOME"])


async def test_a_process_runs_in_the_directory_of_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    make(place, "ship.sh", "echo shipped")
    monkeypatch.chdir(place)
    async with Effects(settings=Settings(allow_run=("shell", "script"))) as effects:
        assert (await do(effects, shell("sh ./ship.sh"))).output == "shipped\n"
        assert (await do(effects, python("print(open('ship.sh').read())"))).output == "echo shipped\n"
        await asyncio.to_thread(place.rename, tmp_path / "moved")
        performed = await do(effects, shell("true"))
    assert failure(performed)[2] == f"the worker's own directory, {place}, is gone"


async def test_a_failure_has_the_code_and_the_end_of_each_stream(effects: Effects) -> None:
    performed = await do(effects, shell("echo got this far; echo reason >&2; exit 3"))
    assert failure(performed) == ("runtime", 500, "the shell ended with code 3")
    assert written(performed) == {"code": 3, "stderr": "reason", "stdout": "got this far"}
    assert performed.definite
    long = await do(effects, shell("yes word | head -c 100000 >&2; exit 1"))
    assert len(written(long)["stderr"]) == 1001
    assert "stdout" not in written(long)


@pytest.mark.parametrize(("returns", "output"), [("code", 137), ("all", None)])
async def test_a_code_is_no_failure_if_return_includes_it(
    effects: Effects, returns: Any, output: int | None
) -> None:
    """Death by a signal counts as 128 and its number, as in a shell."""
    performed = await do(effects, shell("echo x; kill -9 $$", returns=returns))
    assert performed.output == (output or {"code": 137, "stdout": "x\n", "stderr": ""})


async def test_invalid_utf8_becomes_the_replacement_character(effects: Effects) -> None:
    assert (await do(effects, shell(r"printf 'a\377b'"))).output == "a\ufffdb"


async def test_large_input_and_output_do_not_block_each_other(effects: Effects) -> None:
    text = "x" * 3_000_000
    performed = await do(effects, shell("tee /dev/stderr", stdin=text, returns="all"))
    assert performed.output == {"code": 0, "stdout": text, "stderr": text}


async def test_unread_input_is_no_error(effects: Effects) -> None:
    assert (await do(effects, shell("exec <&-; echo done", stdin="x" * 1_000_000))).output == "done\n"


async def test_output_over_the_cap_ends_the_process(effects: Effects) -> None:
    began = time.monotonic()
    performed = await do(effects, shell("yes"))
    assert failure(performed) == ("runtime", 500, "the shell wrote more than 10485760 bytes to stdout")
    assert time.monotonic() - began < 30


async def test_a_stream_that_is_not_the_output_has_no_cap(effects: Effects) -> None:
    performed = await do(effects, shell("head -c 20000000 /dev/zero >&2; echo fine"))
    assert performed.output == "fine\n"


async def test_a_background_child_ends_with_the_process(effects: Effects, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    began = time.monotonic()
    performed = await do(effects, shell(f"sleep 300 & echo $! > {file}; echo done"))
    assert performed.output == "done\n"
    assert time.monotonic() - began < 30
    (child,) = pids(file)
    await until(lambda: not alive(child))


async def test_cancelling_kills_the_whole_tree_within_a_second(effects: Effects, tmp_path: Path) -> None:
    """A grandchild, one in another session, and one that ignores SIGTERM, all with closed pipes."""
    file = tmp_path / "pids"
    code = f"""
        trap '' TERM
        (sleep 300 >/dev/null 2>&1 & echo $! >> {file}; wait) &
        setsid sh -c 'echo $$ >> {file}; trap "" TERM; sleep 300; sleep 300' >/dev/null 2>&1 &
        echo $$ >> {file}
        wait
        sleep 300
    """
    task = asyncio.create_task(do(effects, shell(code)))
    await until(lambda: len(pids(file)) == 3)
    assert all(map(alive, pids(file)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not any(map(alive, pids(file))), deadline_s=30)


async def test_a_cancelled_process_may_clean_up(
    effects: Effects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may stall the shell for longer than the half second that it has.
    monkeypatch.setattr(process_run, "GRACE_S", 20.0)
    ready, tidied = tmp_path / "ready", tmp_path / "tidied"
    code = f"trap 'touch {tidied}; exit' TERM; touch {ready}; while :; do sleep 0.01; done"
    task = asyncio.create_task(do(effects, shell(code)))
    await until(ready.exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tidied.exists()


async def test_a_failure_that_is_not_awaited_is_logged(
    effects: Effects, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "iogate")
    await do(effects, shell("exit 3"), await_result=False)
    await until(lambda: caplog.records)
    assert caplog.messages == ["/do/0/step was not awaited and failed: the shell ended with code 3"]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (
            shell("echo 'a\0b'"),
            "the shell's command, arguments or environment hold a NUL character or a bad name",
        ),
        (
            shell("true", arguments=("x" * 200_000,)),
            "the shell's command, arguments and environment are too long for a process; "
            'hand large data over in "stdin"',
        ),
        (
            RunProcess(kind="script", language="ruby", code=""),
            'scripts in "ruby" are not executed by this release',
        ),
    ],
)
async def test_a_process_that_cannot_be_started_states_the_reason(
    effects: Effects, run: RunProcess, expected: str
) -> None:
    assert failure(await do(effects, run)) == ("configuration", 400, expected)


async def test_a_missing_interpreter_is_named() -> None:
    async with Effects(settings=Settings(python="python-of-nowhere", allow_run=("script",))) as effects:
        performed = await do(effects, python("print()"))
    expected = '"python-of-nowhere" is not installed on this worker; set "python" to an interpreter'
    assert failure(performed) == ("configuration", 400, expected)


async def test_an_interpreter_path_is_relative_to_the_directory_of_the_worker() -> None:
    async with Effects(settings=Settings(python=relative_python(), allow_run=("script",))) as effects:
        assert (await do(effects, python("print('found')"))).output == "found\n"


async def test_a_cleaner_of_temporary_files_breaks_nothing(effects: Effects) -> None:
    home = (await do(effects, shell('echo "$HOME"'))).output.strip()
    remove(home)
    assert (await do(effects, shell("echo again"))).output == "again\n"


async def test_a_worker_runs_only_what_its_own_settings_allow() -> None:
    async with Effects(settings=Settings()) as effects:
        performed = await do(effects, shell("true"))
    expected = 'this worker runs no shell; add "shell" to its setting "allow_run"'
    assert failure(performed) == ("configuration", 400, expected)


async def test_no_core_files_and_few_descriptors(effects: Effects) -> None:
    output = (await do(effects, shell("sleep 0.1; ulimit -c; ulimit -n"))).output
    core, files = output.split()
    assert (core, int(files) <= 1024) == ("0", True)


WORKER = f"""
import asyncio, sys
from iogate.compiler.checks.processes import process_digest
from iogate.compiler.revision import resource_uri
from iogate.effects import EffectContext, Effects
from iogate.engine.commands import Perform, RunProcess
from iogate.settings import Settings

async def main():
    async with Effects(settings=Settings(allow_run=("shell",))) as effects:
        run = RunProcess(kind="shell", code=sys.argv[1])
        perform = Perform(frame=1, reference="/do/0/x", effect=run, idempotency_key={KEY!r})
        await effects.perform(perform, run=EffectContext(uid="1"))

asyncio.run(main())
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes through /proc")
async def test_processes_of_a_killed_worker_end(tmp_path: Path) -> None:
    """The launcher detects the death and also ends what has left the process group."""
    file = tmp_path / "pids"
    code = f"echo $HOME > {tmp_path}/home; setsid sleep 300 & echo $! > {file}; echo $$ >> {file}; sleep 300"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    worker = start([sys.executable, "-c", WORKER, code], environment)
    try:
        await until(lambda: len(pids(file)) == 2, deadline_s=60)
        home = (tmp_path / "home").read_text().strip()
        assert exists(home)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    await until(lambda: not any(map(alive, pids(file))))
    await until(lambda: not exists(home))


async def test_a_hundred_processes_at_once_leave_no_descriptor_behind(effects: Effects) -> None:
    await do(effects, shell("true"))
    gc.collect()  # it may close descriptors of earlier tests
    before = descriptors()
    outputs = await asyncio.gather(*(do(effects, shell("cat", stdin=str(n))) for n in range(100)))
    assert [performed.output for performed in outputs] == [str(n) for n in range(100)]
    await until(lambda: descriptors() <= before)


async def test_a_process_without_enough_descriptors_leaves_none_behind(effects: Effects) -> None:
    await do(effects, shell("true"))
    gc.collect()
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for free in range(8):
        taken: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + 64, hard))
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            for _ in range(free):
                os.close(taken.pop())
            performed = await do(effects, shell("cat", stdin="x"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in taken:
                os.close(fd)
        assert "Too many open files" in failure(performed)[2]
        await until(lambda: descriptors() <= before)
    assert (await do(effects, shell("cat", stdin="x"))).output == "x"


async def test_a_worker_that_lists_digests_starts_nothing_else() -> None:
    run = {"shell": {"command": "echo ${ .a }"}}
    digest = process_digest(run)
    assert digest is not None
    async with Effects(settings=Settings(allow_run={"shell": (digest,), "script": True})) as effects:
        assert (await do(effects, shell("echo listed", definition=run))).output == "listed\n"
        other = {"shell": {"command": "echo ${ .a }", "arguments": ["x"]}}
        for definition, shown in ((other, process_digest(other)), (None, "unknown digest")):
            performed = await do(effects, shell("echo other", definition=definition))
            expected = f'the setting "allow_run" of this worker does not list this shell: {shown}'
            assert failure(performed) == ("configuration", 400, expected)
        performed = await do(effects, shell("echo loose", definition=run, loose=True))
        assert f"does not list this shell: {process_digest(run, loose=True)}" in failure(performed)[2]
        assert (await do(effects, python("print(1)"))).output == "1\n"
