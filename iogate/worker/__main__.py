"""`python -m iogate.worker`: entry point of a worker process.

Started by the supervisor, which hands over the settings; the current folder is that of the project.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from iogate import logs
from iogate.errors import IogateError
from iogate.settings import from_environment
from iogate.supervision import handover
from iogate.worker import resource_limits, standard_streams, worker_process
from iogate.worker.pool import heartbeat_files


def main() -> int:
    """Run the worker process of `python -m iogate.worker`, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m iogate.worker", description=__doc__)
    parser.add_argument(
        "--solitary",
        action="store_true",
        help="run only suspects, one at a time, and exit if there are none",
    )
    arguments = parser.parse_args()
    logs.set_up()
    try:
        resource_limits.apply()  # before the hand-over makes /proc of this process unreadable
        handover.receive()
        settings = from_environment()
        standard_streams.redact()
        logs.set_up(settings.log_format)
        name = worker_process.new_name()
        with heartbeat_files.hold(settings.data_dir, name) as heartbeat:
            working = worker_process.work(
                settings,
                Path.cwd(),
                name=name,
                solitary=arguments.solitary,
                record_progress=heartbeat.record_progress,
            )
            asyncio.run(working)
    except IogateError as error:
        hint = f" ({error.hint})" if error.hint else ""
        extra = {"action": "worker.failed", "code": error.code}
        logging.getLogger("iogate.worker").error("%s%s", error.message, hint, extra=extra)  # noqa: TRY400 - for people
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
