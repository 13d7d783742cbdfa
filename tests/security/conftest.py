"""Fixtures for attacks: gateways in this process, and real workers on a real store."""

from tests.gateway.conftest import world
from tests.worker.conftest import site

__all__ = ["site", "world"]
