"""The setting `console_port`: operators have a port of their own, and no route on that of callers."""

from __future__ import annotations

import re
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from iogate import settings
from iogate.errors import InvalidFiles
from iogate.gateway.console.pages.table import PAGES
from iogate.gateway.operators.operations import OPERATIONS
from iogate.settings import Settings
from iogate.settings.urls import console_url
from tests import certificates
from tests.cli.place import started, until, write_project
from tests.patient_http import PatientTransport
from tests.ports import free_port

TOKEN = "ada-token-0123456789abcdef"
OPERATORS = "operators: {ada: {token: {file: ada}, role: admin}}\n"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
SAMPLES = {"module": "shop", "namespace": "shop", "name": "buy", "method": "buy", "case": "one"}


@contextmanager
def serving(root: Path, text: str, scheme: str = "http") -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Serve a project with an operator; yield clients of the port of callers and of that of operators."""
    write_project(root)
    (root / "ada").write_text(TOKEN)
    callers, operators = free_port(), free_port()
    (root / "iogate.yaml").write_text(f"{text}console_port: {operators}\n")
    with started(root, "up", "--port", str(callers)) as process:
        until(lambda: "curl" in (root / "up.out").read_text() or process.poll() is not None)
        assert process.poll() is None, (root / "up.err").read_text()
        urls = [f"{scheme}://localhost:{port}" for port in (callers, operators)]
        trust = ssl.create_default_context()
        if scheme == "https":
            trust.load_verify_locations(root / "c.pem")
        with (
            httpx.Client(base_url=urls[0], timeout=30, transport=PatientTransport(verify=trust)) as first,
            httpx.Client(base_url=urls[1], timeout=30, transport=PatientTransport(verify=trust)) as second,
        ):
            yield first, second
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def console_line(root: Path) -> str:
    """Return the URL that `up` prints for operators; it follows the line with `curl`, on another stream."""
    found: re.Match[str] = until(lambda: re.search(r"console   (\S+)\n", (root / "up.err").read_text()))
    return found[1]


def test_each_port_serves_its_own_routes_only(tmp_path: Path) -> None:
    with serving(tmp_path, OPERATORS) as (callers, operators):
        uid = callers.post("/v1/api/shop/buy/sync", json={"sku": "A-1"}).json()["response"]["uid"]
        batch = {"action": "retry", "uids": [uid], "reason": "its id is needed"}
        made = operators.post("/v1/batches", json=batch, headers={**AUTHORIZED, "idempotency-key": "1"})
        values = {
            "uid": uid,
            "id": made.json()["response"]["id"],
            "number": "1",
            "a": "1",
            "b": "live",
            "sha256": "0" * 64,
            **SAMPLES,
        }

        def filled(path: str) -> str:
            return re.sub(r"{(\w+)(:str)?}", lambda name: values[name[1]], path)

        for operation in OPERATIONS:
            url = filled(operation.path)
            body: dict[str, str] | None = {} if operation.reads_body else None
            found = operators.request(operation.method, url, headers=AUTHORIZED, json=body)
            # The run has no file with this digest.
            expected = (404,) if operation.is_file else (200, 400, 428)
            assert found.status_code in expected, (operation.name, found.text)
            assert "nothing at this path" not in found.text
            if not operation.is_shared:
                refused = callers.request(operation.method, url, headers=AUTHORIZED)
                assert (refused.status_code, refused.json()["response"]["error"]["message"]) == (
                    404,
                    "There is nothing at this path",
                )
        # The token of an operator means nothing on the port of callers.
        assert callers.get(f"/v1/runs/{uid}").json()["response"]["status"] == "completed"
        assert "children" not in callers.get(f"/v1/runs/{uid}", headers=AUTHORIZED).json()["response"]
        for page in PAGES:
            assert callers.request(page.method, filled(page.path)).status_code == 404, page.path
        for path in ("/console/login", "/console/static/console.css"):
            assert callers.get(path).status_code == 404
        for path in ("/v1/api/shop/buy/async", "/v1/events", "/hooks/buy", "/v1/links/x"):
            assert operators.post(path, json={}).status_code == 404, path
        assert operators.get("/metrics").status_code == operators.get("/docs").status_code == 404
        assert [each.get("/health/ready").status_code for each in (callers, operators)] == [200, 200]


def test_each_port_describes_its_own_routes_only(tmp_path: Path) -> None:
    with serving(tmp_path, OPERATORS) as (callers, operators):
        assert "operator" not in callers.get("/openapi.json").text
        described = operators.get("/openapi.json").json()
        assert set(described["paths"]) == {each.path for each in OPERATIONS}
        assert described["servers"] == [{"url": "/"}]
        login = operators.post(
            "/console/login", data={"token": TOKEN}, headers={"Origin": str(operators.base_url).rstrip("/")}
        )
        assert login.status_code == 303
        assert "Secure" not in login.headers["set-cookie"]
        assert "ada" in operators.get("/console").text
        url = str(operators.base_url).rstrip("/").replace("localhost", "127.0.0.1")
        assert console_line(tmp_path) == f"{url}/console"


def test_the_port_of_operators_has_the_certificate_and_a_secure_cookie(tmp_path: Path) -> None:
    certificates.made(tmp_path)
    with serving(tmp_path, f"{OPERATORS}tls: {{cert: c.pem, key: k.pem}}\n", "https") as (_, operators):
        origin = str(operators.base_url).rstrip("/")
        login = operators.post("/console/login", data={"token": TOKEN}, headers={"Origin": origin})
        assert "; Secure" in login.headers["set-cookie"]
        assert operators.get("/console").status_code == 200


def test_the_printed_login_link_leads_to_the_port_of_operators(tmp_path: Path) -> None:
    with serving(tmp_path, "") as (callers, operators):
        path = console_line(tmp_path).removeprefix(
            str(operators.base_url).replace("localhost", "127.0.0.1").rstrip("/")
        )
        assert path.startswith("/console/login?once=")
        assert operators.get(path).status_code == 200
        assert callers.get(path).status_code == 404


def test_the_ports_differ() -> None:
    with pytest.raises(InvalidFiles) as caught:
        settings.read({"port": 8001, "console_port": 8001})
    assert str(caught.value) == (
        "console_port is 8001, as port: choose another one, or leave it out, and operators use the port of "
        "callers"
    )


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (Settings(port=80, public_url="https://x.example"), "https://x.example"),
        (Settings(port=80, public_url="https://x.example", console_port=81), "http://127.0.0.1:81"),
        (Settings(host="0.0.0.0", console_port=81, tls={"cert": "c", "key": "k"}), "https://127.0.0.1:81"),
    ],
)
def test_the_console_has_a_url(given: Settings, url: str) -> None:
    assert console_url(given) == url
