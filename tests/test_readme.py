"""Every `console` block of the README and the guides runs as a reader would run it, and prints what it says.

A line that begins with `$ ` is typed, and goes on in lines that begin with `> `; the lines below it are
what it prints, `…` standing for anything within a line and a line of `…` alone for any lines. `make run`
and `iogate up` go on in the background, as in a terminal of its own; the ports are free ones. `cd` with
nothing behind its folder applies to all commands below it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from iogate.compiler.compile import compile_documents
from iogate.documents import load
from iogate.settings import Settings
from tests import fork_client, fork_server
from tests.patient_http import LIMIT_S, is_stalled
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = re.compile(r"^```yaml\n# (\S+\.yaml): [^\n]+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVERS = ("make run", "iogate -C shop up", "iogate up")
LOCAL = re.compile(r"\b(?:localhost|127\.0\.0\.1):8000\b")
PAGES = [
    page.relative_to(ROOT).as_posix()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if BLOCK.search(page.read_text())
]


@dataclass(frozen=True, kw_only=True)
class Step:
    line: int
    command: str
    expected: str


def steps(page: Path) -> list[Step]:
    """The typed commands of a page, in order, each with what it is said to print."""
    text = page.read_text()
    found: list[Step] = []
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1)) + 1
        command: str | None = None
        expected: list[str] = []
        at = first
        for number, line in enumerate(block.group(1).splitlines(), first):
            if line.startswith("$ "):
                if command is not None:
                    found.append(Step(line=at, command=command, expected="\n".join(expected)))
                command, expected, at = line[2:], [], number
            elif command is not None and not expected and command.endswith("\\"):
                command += "\n" + line
            elif command is not None and not expected and line[:2].rstrip() == ">":
                command += "\n" + line[2:]
            else:
                expected.append(line)
        assert command is not None, f"{page.name}:{first}: a console block types nothing"
        found.append(Step(line=at, command=command, expected="\n".join(expected)))
    return found


def matches(expected: str, printed: str) -> bool:
    """Whether `printed` is what the page says, with `…` standing for anything."""
    pattern = ""
    for line in expected.strip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(
                re.escape(part.rstrip() if i else part) for i, part in enumerate(line.split("…"))
            )
            pattern += r"[ \t]*\n"
    return re.fullmatch(pattern, printed.strip() + "\n" if printed.strip() else "") is not None


def test_a_page_that_lies_is_caught() -> None:
    assert matches('{"response":{"uid":"…"}}', '{"response":{"uid":"1"}}')
    assert matches("a\n…\nb", "a\nx\ny\nb")
    assert not matches('{"response":{"uid":"…"}}', '{"response":{"error":"1"}}')
    assert not matches("a", "")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files of the project as git has them, with this environment as its virtual environment.

    The package has its cached bytecode: the first command of a page does not compile it.
    """
    target = tmp_path / "iogate"
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in tracked:
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    for cache in ROOT.glob("iogate/**/__pycache__"):
        (target / cache.relative_to(ROOT)).symlink_to(cache)
    # Its own stamp is younger than what it copied: `make` must not install a clone into this environment.
    environment = target / ".venv"
    environment.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != ".installed":
            (environment / entry.name).symlink_to(entry)
    (environment / ".installed").touch()
    return target


@contextlib.contextmanager
def background(
    command: str, folder: Path, log: Path, environment: dict[str, str], port: int, expected: str
) -> Iterator[None]:
    """A server of the page, which has printed `expected` when its gateway is ready; stopped as by Ctrl-C."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            # The environment is installed already, and is not this clone's to install into.
            ["bash", "-c", command.replace("make ", "make --assume-old=.venv/.installed ")],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1)
                if not expected or matches(expected, log.read_text()):
                    break
            time.sleep(0.1)  # a poll with a deadline
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a command `iogate`, which lets the fork server execute it."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "iogate"
    command.write_text(f"#!{sys.executable} -IS\n{Path(fork_client.__file__).read_text()}")
    command.chmod(0o755)
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_the_page_do_what_they_say(page: str, clone: Path, commands: Path) -> None:
    port, other = free_port(), free_port()
    # What `make test` was given is not for the `make` of the page.
    foreign = ("IOGATE_", "MAKE", "MFLAGS", "ARGS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
        "IOGATE_PORT": str(port),
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
        "XDG_CONFIG_HOME": str(clone / ".config"),
        "XDG_STATE_HOME": str(clone / ".state"),
        "NO_COLOR": "1",
        "COLUMNS": "110",
    }
    forking, files = dict(environment), list[int]()
    if fork_server.POSSIBLE:
        files.append(fork_server.connection().fileno())
        forking |= {
            "PATH": f"{commands}{os.pathsep}{environment['PATH']}",
            fork_client.CONTROL: str(files[0]),
        }
    folder = clone
    with contextlib.ExitStack() as servers:
        for step in steps(ROOT / page):
            command = LOCAL.sub(f"127.0.0.1:{port}", step.command).replace("9090", str(other))
            expected = LOCAL.sub(f"127.0.0.1:{port}", step.expected)
            if command in SERVERS:
                log = clone.parent / "server.log"
                servers.enter_context(background(command, folder, log, environment, port, expected))
                continue
            if entered := re.fullmatch(r"cd (\S+)", command):
                folder /= entered[1]
                continue
            if command.startswith(("git clone", "make test")):
                continue  # the clone is here, and this is its test
            until_s = time.monotonic() + LIMIT_S
            while True:
                done = subprocess.run(
                    ["bash", "-c", command],
                    cwd=folder,
                    env=forking,
                    pass_fds=files,
                    check=False,
                    capture_output=True,
                    stdin=subprocess.DEVNULL,
                    text=True,
                    timeout=60,
                )
                # A gateway of production gives its store 0.9 s.
                stalled = is_stalled(done.stdout + done.stderr) and not matches(expected, done.stdout)
                if not stalled or time.monotonic() > until_s:
                    break
            assert matches(expected, done.stdout), (
                f"{page}:{step.line}: $ {step.command}\nsays:\n{step.expected}\n"
                f"printed:\n{done.stdout}\n{done.stderr}"
            )


def test_the_first_example_holds_without_a_remark(tmp_path: Path) -> None:
    found = DOCUMENT.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [name for name, _ in found] == ["apis.d/orders.yaml", "workflows.d/fulfil.yaml"]
    for name, text in found:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    read = load(tmp_path)
    assert not compile_documents(read, Settings(allow_run=("shell",)), root=tmp_path).problems
