"""Settings of a project: their names, types and defaults, and how they are read.

`table` declares the settings, `setting_types` the types that only settings have, `reader` merges the sources.
`events` and `operators` are settings with a form of their own.
No module here reads a file, a secret or the store.
"""

from __future__ import annotations

from iogate.settings.reader import (
    FILE_NAME,
    LINK_KEY_FILE,
    UNKNOWN_SETTING,
    WRONG_SETTING,
    flag,
    from_environment,
    misspelt,
    read,
    schema,
    to_environment,
    variable,
)
from iogate.settings.table import NAMES, Settings

__all__ = [
    "FILE_NAME",
    "LINK_KEY_FILE",
    "NAMES",
    "UNKNOWN_SETTING",
    "WRONG_SETTING",
    "Settings",
    "flag",
    "from_environment",
    "misspelt",
    "read",
    "schema",
    "to_environment",
    "variable",
]
