"""Settings of a project and URL of its store, without the output of a command.

Used by `session`, and by `completion` while a command line is typed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from iogate import settings as settings_module
from iogate.cli.settings_files import read_files
from iogate.settings import Settings, project_environments


def read_project_settings(
    flags: dict[str, Any] | None = None, environment: str | None = None, *, folder: Path = Path()
) -> Settings:
    """Read a project's settings with the address of its store, in an environment or IOGATE_ENV's.

    Raises InvalidFiles and Misused as `Session.settings` does.
    """
    files = read_files(environment or os.environ.get(project_environments.VARIABLE), folder=folder)
    return settings_module.read(files.values, os.environ, flags, place_of=files.place)


def store_url(settings: Settings) -> str:
    """Return the address of the store: `redis_url`, else the URL of a running embedded store.

    Raises NoStore if there is neither, Unreachable if the embedded store does not answer.
    """
    if settings.redis_url is not None:
        return settings.redis_url
    from iogate.store.embedded.server import embedded_url

    return embedded_url(settings.data_dir)
