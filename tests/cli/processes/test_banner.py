"""Banner of `up` and `serve`: a failure while it is made ends no process."""

from __future__ import annotations

import pytest

from iogate.cli.processes import parent_process
from iogate.cli.processes.parent_process import Parts, _Parent
from iogate.cli.session import Session
from iogate.settings import Settings
from iogate.store import keys
from iogate.store.store import Store
from iogate.supervision.supervisor import Supervisor
from tests.store.builders import publish

REVISION = f"{keys.REVISION}1"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ("HSET", REVISION, "sig", "forged"),
            "revision 1 in the store is refused: its signature does not match it; find out what else",
        ),
        (("SET", REVISION, "of another type"), "WRONGTYPE "),
    ],
)
async def test_gateways_run_on_without_the_list_of_apis_if_the_store_has_no_valid_revision(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr(parent_process, "READY_S", 0.0)
    settings = Settings()
    parent = _Parent(Session(), settings, Parts(gateways=True), None, Supervisor(), [])
    assert await publish(store) == 1
    await store.call(*command)
    await parent._announce_or_warn(store, settings, 1)
    warning = capsys.readouterr().err.splitlines()[-1]
    assert warning.startswith(f"warning: the processes run, but their APIs cannot be listed: {said}")
