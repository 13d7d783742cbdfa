"""Fingerprints of secrets in `status`: a rotation is visible on every process, and no secret ever is."""

from __future__ import annotations

import base64
import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import redis

from iogate.auth.model import AnyAuth, EnvSecret, FileSecret, HashedSecret, SignatureAuth, TokenAuth, UserAuth
from iogate.cli.render import Table
from iogate.cli.revisions import secret_display
from iogate.compiler.revision import Api, Revision
from iogate.operators.secrets import secret_values
from iogate.security.keyring import NO_KEYS, Keyring
from iogate.settings import Settings
from iogate.store.maintenance.fingerprints import MOST, Fingerprints
from iogate.store.maintenance.process_presence import Fingerprint, Process
from tests.cli.place import Place, until, up

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

OLD, NEW = "canary-old-9f2b17c4", "canary-new-51d0aa37"


def process(name: str, key: str = "k", **values: tuple[str, int]) -> Process:
    fingerprints = {f"env {source}": Fingerprint(*value) for source, value in values.items()}
    kind: Any = "worker" if name.startswith("worker") else "gateway"
    return Process(
        kind=kind,
        id=name,
        pid=1,
        host="h",
        started_at_ms=0,
        fingerprints=fingerprints,
        fingerprint_key=key,
    )


def test_a_fingerprint_is_keyed_and_of_one_source() -> None:
    one, two = Keyring(("a" * 32,)), Keyring(("b" * 32, "a" * 32))
    found = one.fingerprint("env A", OLD)
    assert found is not None
    assert len(found) == 8
    assert found == one.fingerprint("env A", OLD)
    others = [one.fingerprint("env B", OLD), one.fingerprint("env A", NEW), two.fingerprint("env A", OLD)]
    assert found not in others
    assert len(set(others)) == 3
    assert not hashlib.sha256(OLD.encode()).hexdigest().startswith(found)
    assert NO_KEYS.fingerprint("env A", OLD) is None


def test_a_value_keeps_its_time_until_it_changes() -> None:
    clock = iter([10, 20, 30, 40])
    known = Fingerprints(Keyring(("a" * 32,)), now_ms=lambda: next(clock))
    known.update({"env A": "1", "env B": "2"})
    known.update({"env A": "1", "env B": "3"})
    found = known.update({"env A": "1", "env B": "3"})
    assert found == {"env A": Fingerprint("1", 10), "env B": Fingerprint("3", 20)}
    assert len(known.update({f"env {number}": "1" for number in range(MOST + 1)})) == MOST


def test_the_value_that_appeared_last_is_the_new_one() -> None:
    """A later restart of a process with the old value does not make that the new one."""
    processes = [
        process("gateway-1", A=("new", 50), B=("x", 1)),
        process("gateway-2", A=("old", 90), B=("x", 2)),
        process("gateway-3", A=("old", 10)),
        process("worker-1", A=("new", 60)),
        process("worker-2", key="other", A=("old", 1)),
        process("worker-3", key=""),
    ]
    a, b = secret_values.compare(processes, {"env A": ["orders/submit token", "workflows key"]})
    assert (a.differs, b.differs) == (True, False)
    assert [(value.fingerprint, value.since_ms, value.processes) for value in a.values] == [
        ("new", 50, ("gateway-1", "worker-1")),
        ("old", 10, ("gateway-2", "gateway-3")),
    ]
    text = "2 of 4 processes have the new value; 1 with another link_key cannot be compared"
    shown = secret_values.to_json([a, b])
    name = "orders/submit token, workflows key (env A)"
    (differing,) = secret_display.tables(shown, every=False)
    assert differing.rows == [(name, text, "gateway-2, gateway-3")]
    _, every = secret_display.tables(shown, every=True)
    assert isinstance(every, Table)
    assert (name, "worker-2", "another link_key", None) in every.rows
    assert ("env B", "gateway-2", "x", "1970-01-01T00:00:00.001Z") in every.rows
    assert secret_display.tables(shown[1:], every=False) == []
    assert secret_values.compare([process("gateway-9", key="")], {}) == []


def test_a_source_names_who_uses_it() -> None:
    auth: Any = AnyAuth(
        any=(
            TokenAuth(tokens={"token": (EnvSecret(name="A"), HashedSecret(value="sha256:" + "0" * 64))}),
            UserAuth(users={"ada": (FileSecret(path="p"),)}),
            SignatureAuth(
                scheme="meta",
                secrets=(EnvSecret(name="S"),),
                caller="meta",
                verify_token=(EnvSecret(name="V"),),
            ),
        )
    )
    api = Api(id="orders/submit", workflow="w", program="p", auth=auth)
    settings = Settings(
        secrets={"db": {"env": "A"}},
        events={
            "auth": {"tokens": {"shop": {"env": "B"}}},
            "sinks": {"audit": {"url": "https://h", "headers": {"x-key": {"file": "p"}, "x-team": "shop"}}},
        },
    )
    assert secret_values.users_of(Revision(apis={api.id: api}, workflows={}), settings) == {
        "env A": ["orders/submit token", "workflows db"],
        "env B": ["events token of shop"],
        "env S": ["orders/submit secret of meta"],
        "env V": ["orders/submit verify token of meta"],
        "file p": ["orders/submit password of ada", "sink audit x-key"],
    }


API = """\
module: orders
timeout: 1m
methods:
  submit:
    workflow: shop/order
    enabled: true
    auth: {token: [{file: current}, {file: next}]}
  open:
    workflow: shop/order
    enabled: true
    auth: none
"""
WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: order, version: 1.0.0}
use: {secrets: [key]}
do: [{done: {set: {ok: true}}}]
"""


class Caller:
    """A caller that calls without a pause, with the token that it holds, and notes refused calls."""

    def __init__(self, place: Place, token: str) -> None:
        self.place = place
        self.token = token
        self.refused: list[tuple[int, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def call(self, token: str) -> int:
        status, _ = self.place.call("/v1/api/orders/submit/async", {}, {"token": token})
        return status

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            try:
                status, why = self.call(self.token), ""
            except TimeoutError:  # a busy machine
                continue
            except OSError as error:
                status, why = 0, repr(error)
            if status != 202:
                self.refused.append((status, why))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def values(cli: Cli, source: str) -> list[dict[str, Any]]:
    """Return the values of a secret, the newest first."""
    found = cli("status", "-o", "json").json["secrets"]
    return next((each["values"] for each in found if each["source"] == source), [])


def test_a_token_is_rotated_with_two_references_and_no_refused_call(cli: Cli) -> None:
    cli.write("apis.d/orders.yaml", API)
    cli.write("workflows.d/order.yaml", WORKFLOW)
    cli.write("iogate.yaml", "gateways: 2\nsecrets: {key: {file: current}}\n")
    cli.write("current", OLD + "\n")

    def shared_by(source: str) -> list[int]:
        return [len(each["processes"]) for each in values(cli, source)]

    def while_the_worker_has_the_old_value() -> list[dict[str, Any]] | None:
        found = values(cli, "file current")
        return found if [len(each["processes"]) for each in found] == [2, 1] else None

    with up(cli.root) as place, Caller(place, OLD) as caller:
        until(lambda: shared_by("file current") == [3])  # two gateways and one worker
        (before,) = values(cli, "file current")
        cli.write("next", NEW + "\n")
        until(lambda: shared_by("file next") == [2])
        assert caller.call(NEW) == caller.call(OLD) == 202
        caller.token = NEW
        cli.write("current", NEW + "\n")
        # The worker reads its secrets again every 30 s; until then, `status` names it.
        newest, oldest = until(while_the_worker_has_the_old_value)
        shown = cli("status", "--secrets").out + cli("status", "-o", "json").out
        assert oldest["fingerprint"] == before["fingerprint"] != newest["fingerprint"]
        (cli.root / "next").unlink()
        until(lambda: shared_by("file next") == [])
        assert (caller.call(OLD), caller.call(NEW)) == (401, 202)
        stored = dump(cli.root)
    assert caller.refused == []
    assert "orders/submit token, workflows key (file current)  2 of 3 processes have the new value" in shown
    assert oldest["processes"][0] in shown
    for secret in (OLD, NEW):
        plain = hashlib.sha256(secret.encode()).hexdigest()[:8]
        for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="), plain):
            assert form not in shown
            assert form.encode() not in stored


def dump(root: Path) -> bytes:
    """Return all announcements in the embedded store."""
    (socket,) = root.glob(".iogate/**/*.sock")
    with redis.Redis(unix_socket_path=str(socket)) as client:
        found = client.keys("iogate:process:*")
        assert found
        return b"\n".join(client.get(key) or b"" for key in found)
