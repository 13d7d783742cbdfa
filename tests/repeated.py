"""Repetition of the whole suite beside busy processes: finds tests that fail only on a busy machine.

`python -m tests.repeated --times 10` runs `make test` ten times beside one process that keeps a processor
busy, prints a line per suite, and ends with 1 at the first one that fails. Arguments after `--` are those of
pytest. The output of each suite stays in `--logs`.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUSY = "while True: pass"
END = re.compile(r"(?m)^.*\b(?:passed|failed|error)\b.* in .*$")
FAILED = re.compile(r"(?m)^(?:FAILED|ERROR) .*$")


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep this many processors busy; the processes end with the context."""
    started = [subprocess.Popen([sys.executable, "-I", "-S", "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def run_suite(log: Path, arguments: list[str]) -> int:
    """Run `make test` with the output in a file, and return its exit code."""
    command = ["make", "test", *([f"ARGS={shlex.join(arguments)}"] if arguments else [])]
    environment = os.environ | {"VENV": sys.prefix}
    with log.open("wb") as output:
        return subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
        ).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.repeated", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="number of suites; default: 10")
    parser.add_argument(
        "--busy", type=int, default=1, help="processes that keep a processor busy; default: 1"
    )
    parser.add_argument("--logs", type=Path, default=Path("/tmp"), help="folder of the outputs")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, which select tests")
    given = parser.parse_args()
    for number in range(1, given.times + 1):
        log = given.logs / f"suite-{number}.log"
        began_s = time.monotonic()
        with busy(given.busy):
            code = run_suite(log, given.pytest)
        text = log.read_text(errors="replace")
        (*_, end) = ["no result", *END.findall(text)]
        print(f"suite {number}: exit {code} in {time.monotonic() - began_s:.0f} s: {end}", flush=True)
        if code:
            print("\n".join([*FAILED.findall(text), f"output: {log}"]))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
