"""Commands on a machine that does not reach the store, beside the same ones on the store."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import OPERATORS, Cli, Ran, token
from tests.cli.place import ENVIRONMENT, Place, up, write_project

FORMATS = (("-o", "text"), ("-o", "json"), ("-o", "yaml"))
API = "apis.d/shop.yaml"
WHY = ("-m", "new prices")
NO_STORE = "redis://127.0.0.1:1/0"
"""Address at which no store is: a remote command that asked one would fail."""


@dataclass(frozen=True, kw_only=True)
class Machines:
    """The machine of the store, and another one that reaches its gateway only."""

    shop: Place
    elsewhere: Path
    capsys: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def here(self, *arguments: str, code: int | None = 0) -> Ran:
        """Run a command in the folder of the project."""
        self._enter(self.shop.root, {**ENVIRONMENT, "IOGATE_PORT": str(self.shop.port)})
        return Cli(self.shop.root, self.capsys)(*arguments, code=code)

    def there(self, *arguments: str, code: int | None = 0, role: str = "admin", **variables: str) -> Ran:
        """Run a command on the other machine, with the token of a role."""
        server = {"IOGATE_SERVER": self.shop.url, "IOGATE_TOKEN": token(role)}
        self._enter(self.elsewhere, {"IOGATE_REDIS_URL": NO_STORE, **server, **variables})
        return Cli(self.elsewhere, self.capsys)(*arguments, code=code)

    def _enter(self, folder: Path, variables: dict[str, str]) -> None:
        self.patch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("IOGATE_")]:
            self.patch.delenv(name)
        for name, value in {**variables, "NO_COLOR": "1", "XDG_CONFIG_HOME": str(self.elsewhere)}.items():
            if value:
                self.patch.setenv(name, value)

    def same(self, *arguments: str, code: int | None = 0) -> Ran:
        """Run a command on both machines, and compare everything that it prints."""
        here, there = self.here(*arguments, code=code), self.there(*arguments, code=code)
        assert there.out == here.out
        assert _notes(there.err) == _notes(here.err)
        return there


def _notes(err: str) -> str:
    """Return stderr without the line that names the store or the server."""
    return re.sub(r"(?m)^(?:store|server): .*\n", "", err)


@pytest.fixture
def machines(
    shop: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Machines:
    return Machines(shop=shop, elsewhere=tmp_path, capsys=capsys, patch=monkeypatch)


@pytest.fixture(scope="module")
def kiosk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A served project that the tests of this module publish to."""
    root = tmp_path_factory.mktemp("kiosk")
    write_project(root)
    (root / "iogate.yaml").write_text(f"vars: {{region: eu}}\noperators: {json.dumps(OPERATORS)}\n")
    with up(root) as place:
        yield place


@pytest.fixture
def two(
    kiosk: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Machines:
    """Two machines with the files that are live."""
    shutil.rmtree(kiosk.root / "apis.d")
    shutil.rmtree(kiosk.root / "workflows.d")
    write_project(kiosk.root)
    found = Machines(shop=kiosk, elsewhere=tmp_path, capsys=capsys, patch=monkeypatch)
    found.here("apply", "--yes", "--prune", "--max-deletes", "99", "--clear-overrides")
    shutil.copy(kiosk.root / "iogate.yaml", tmp_path)
    write_project(tmp_path)
    return found


def edit(two: Machines, old: str, new: str, path: str = API) -> None:
    """Replace a text in a file on both machines."""
    for folder in (two.shop.root, two.elsewhere):
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new))


def refused(ran: Ran) -> str:
    """Return the error of a command and its hint on one line."""
    return ran.err[ran.err.index("iogate: ") :].rstrip("\n").replace("\n  ", "; ")
