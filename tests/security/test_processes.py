"""Files in a project's folder cannot take over processes of iogate."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from iogate.cli.processes import parent_process
from iogate.settings import Settings
from iogate.worker.pool.pool import Pool

if TYPE_CHECKING:
    from pathlib import Path

    from iogate.supervision.supervisor import Child

NAMES = ("jq", "redis", "secrets", "queue", "litestar", "msgspec", "iogate")
SETTINGS = Settings(redis_url="redis://127.0.0.1:1", workers=1, gateways=1)


def _children(folder: Path) -> dict[str, Child]:
    (gateway,) = parent_process._gateways(SETTINGS, (0,))
    (worker,) = Pool(SETTINGS, folder).children(1)
    return {"gateway": gateway, "worker": worker}


@pytest.mark.parametrize("kind", ["gateway", "worker"])
def test_a_file_in_the_projects_folder_is_no_module_of_ours(tmp_path: Path, kind: str) -> None:
    """A project may well have a `queue.py` or a `security/secrets.py` of its own."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text('raise SystemExit("taken over")\n')
    command = _children(tmp_path)[kind].command
    # What `-m` runs sees the same folders as what `-c` runs.
    imports = [*command[: command.index("-m")], "-c", f"import {', '.join(NAMES)}"]
    ended = subprocess.run(imports, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
