"""Settings of a project: flags beat environment, environment beats `iogate.yaml`, which beats defaults.

This module knows names, types and defaults; the caller reads the file and hands over its mapping.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from iogate.errors import InvalidFiles

Runnable = Literal["script", "shell", "container"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value for each setting; see the reference in the docs for their meaning."""

    redis_url: str | None = None
    data_dir: Path = Path(".iogate")
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str | None = None
    gateways: int = 1
    workers: int = 1
    concurrency: int = 100
    functions: tuple[str, ...] = ()
    secrets: Mapping[str, Any] = field(default_factory=dict)
    allow_run: tuple[Runnable, ...] = ()
    python: str | None = None
    allow_hosts: tuple[str, ...] = ()
    endpoints: Mapping[str, str] = field(default_factory=dict)
    link_key: str | None = None
    events: Mapping[str, Any] = field(default_factory=dict)
    log_format: Literal["text", "json"] | None = None


NAMES = tuple(f.name for f in fields(Settings))
