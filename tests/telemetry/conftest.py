from __future__ import annotations

from tests.worker.conftest import site

__all__ = ["site"]
