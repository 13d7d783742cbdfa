"""Crash of everything with many calls in flight: parent, gateway, workers and store are killed, then started.

`python -m tests.faults.crash --calls 300 --delay 8 --crashes 4` prints what it saw as JSON. It ends with 1 if
a run did not complete in its first attempt, or later than 30 s after the last crash. Each crash comes when
all calls are in flight again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults import load, project
from tests.faults.counting import CountingServer
from tests.faults.site import Site
from tests.ports import free_port

SERVING_S = 60.0
RECOVERY_S = 30.0

WORKFLOW = """\
document: {{dsl: 1.0.0, namespace: faults, name: one-call, version: 1.0.0}}
do:
  - first:
      call: http
      with: {{method: post, endpoint: {server}/first, body: {{uid: '${{ $workflow.id }}'}}}}
"""


def _write(folder: Path, *, server: str, port: int, calls: int) -> None:
    project.write(folder, server=server, port=port)
    with (folder / "apis.d" / "faults.yaml").open("a") as file:
        file.write("  one-call: {workflow: faults/one-call, enabled: true}\n")
    (folder / "workflows.d" / "one-call.yaml").write_text(WORKFLOW.format(server=server))
    with (folder / "iogate.yaml").open("a") as file:
        file.write(f"concurrency: {2 * calls + 10}\n")


async def _accepted(caller: load.Load, calls: int) -> list[str]:
    """Call until that many calls are accepted; return their uids."""
    until = time.monotonic() + SERVING_S
    while missing := calls - len(caller.accepted):
        assert time.monotonic() < until, caller.refused
        await asyncio.gather(*(caller.call() for _ in range(missing)))
    return caller.accepted


async def _in_flight(counting: CountingServer, uids: list[str], times: int) -> None:
    until = time.monotonic() + SERVING_S
    while any(len(counting.calls[uid]) < times for uid in uids):
        assert time.monotonic() < until, "the calls did not come"
        await asyncio.sleep(0.05)


async def crash(folder: Path, *, calls: int, delay_s: float, crashes: int) -> dict[str, Any]:
    """Crash that often in the middle of the same calls; return how long recovery took and how runs ended."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    # No call ends before the last crash, however long the crashes take.
    async with CountingServer(delay_s=600.0) as counting, load.session(SERVING_S) as http:
        _write(folder, server=counting.url, port=port, calls=calls)
        site = Site(folder, port)
        try:
            site.ensure_parent()
            await load.until_serving(http, base, SERVING_S)
            caller = load.Load(http, f"{base}/v1/api/faults/one-call/async", 0)
            uids = await _accepted(caller, calls)
            await _in_flight(counting, uids, 1)
            for number in range(1, crashes + 1):
                if number == crashes:
                    counting.delay_s = delay_s
                crashed_at = time.monotonic()
                site.kill("parent", 0)
                site.sweep()
                site.ensure_parent()
                if number < crashes:
                    await _in_flight(counting, uids, number + 1)
            await load.until_serving(http, base, SERVING_S)
            runs = await load.ends(http, base, uids, 400)
            took_s = time.monotonic() - crashed_at
        finally:
            await site.stop()
            site.sweep()
    ends = Counter(f"{run['status']}, attempt {run['attempt']}" for run in runs.values())
    return {
        "accepted": len(uids),
        "crashes": crashes,
        "allEndedAfterS": round(took_s, 1),
        "ends": dict(ends),
        "mostCallsOfARun": max(len(counting.calls[uid]) for uid in uids),
        "holds": took_s <= RECOVERY_S and ends == {"completed, attempt 1": calls},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--delay", type=float, default=8.0, help="seconds that each call takes")
    parser.add_argument("--crashes", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="iogate-faults-") as name:
        seen = asyncio.run(
            crash(
                Path(name) / "site",
                calls=arguments.calls,
                delay_s=arguments.delay,
                crashes=arguments.crashes,
            )
        )
    sys.stdout.write(json.dumps(seen, indent=1) + "\n")
    raise SystemExit(not seen["holds"])


if __name__ == "__main__":
    main()
