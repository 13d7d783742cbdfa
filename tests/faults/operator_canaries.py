"""Twenty canary secrets are everywhere a secret can be; no operator may see one of them.

`python -m tests.faults.operator_canaries --runs 1000`; its short form is a test. The secrets are operator
tokens, credentials of callers and senders, keys of callbacks, links and TLS, secrets of workflows, and
variables of the environment. Looked through, as an admin: every route of the table of operations, every page
and form of the table of the console, the streams of journals, OpenAPI and metrics. A route or page with a new
name in its path needs a value in `values`, or the campaign ends with an error.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import itertools
import json
import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self
from unittest.mock import patch

import httpx

from iogate.gateway.console.page import Page
from iogate.gateway.console.pages.table import PAGES
from iogate.gateway.operators.operation import Operation
from iogate.gateway.operators.operations import OPERATIONS
from tests import certificates, fork_server, patience
from tests.cli import place
from tests.cli.place import until
from tests.faults import canaries
from tests.faults.canaries import KINDS, Search
from tests.patient_http import PatientTransport
from tests.ports import free_port

SECRETS: Final = (
    *("ADA", "OLGA", "CALLER", "LINK", "UNRELATED", "SENDER", "SIGNER", "BASIC", "CALLBACK"),
    *(f"c{number}" for number in range(11)),
)
"""Uses of the twenty secrets: names of variables, and then secrets of workflows."""
ORDER: Final = (3, 4, 12, 6, 7, 17, 13, 19, 5)
"""Which canary is which of the named ones; the others are secrets of workflows."""
LEAKY: Final = "leaky"
"""API whose callers send their credentials in the input, too."""
CASE: Final = "one"
BODIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "overrides.switch": {"all": True, "enabled": True},
    "apis.override": {"enabled": True},
    "apis.debug": {"wait": "1s"},
    "revisions.plan": {"restores": 1},
    "runs.prune": {"before": "1d"},
}
"""Members of the body of a change, besides its reason, or of a request that changes nothing."""
FILE: Final = b"a file without a secret"
MOST_PAGES: Final = 200


def named(secrets: Sequence[str]) -> dict[str, str]:
    """Return the secrets by their use."""
    chosen = [secrets[number] for number in ORDER]
    rest = [secret for number, secret in enumerate(secrets) if number not in ORDER]
    return dict(zip(SECRETS, [*chosen, *rest], strict=True))


def write_project(root: Path, secrets: Mapping[str, str], kept: int) -> Path:
    """Write a project that uses the secrets, `kept` of those of workflows; return the file of the TLS key."""
    of_workflows = [secret for name, secret in secrets.items() if not name.isupper()][:kept]
    canaries.write_project(root, of_workflows)
    certificate, key = certificates.made(root)
    apis = json.loads((root / "apis.d/canary.yaml").read_text())
    name = next(iter(apis["methods"]))
    one = {"workflow": f"canary/{name}", "enabled": True, "timeout": "1m", "attributes": {"order": "/order"}}
    callback = {"url": "http://127.0.0.1:9/done", "secret": {"env": "CALLBACK"}}
    apis["methods"] |= {
        LEAKY: {
            **one,
            "auth": {"token": {"env": "CALLER"}},
            "callback": callback,
            "debug": [{"name": CASE, "body": {"order": "A-1", "password": secrets["CALLER"]}}],
        },
        "whole": {**one, "auth": {"token": {"env": "CALLER"}}, "input": {"from": "request"}},
        "filed": {**one, "auth": "none", "input": {"files": {"size": "1KiB", "count": 1}}},
        "basic": {**one, "auth": {"users": {"ann": {"env": "BASIC"}}}},
        "wait": {"workflow": "canary/wait", "enabled": True, "timeout": "10m"},
        "signed": {**one, "auth": {"signature": {"scheme": "github", "secret": {"env": "SIGNER"}}}},
    }
    (root / "apis.d/canary.yaml").write_text(json.dumps(apis))
    (root / "workflows.d/ticking.yaml").write_text(
        json.dumps(
            {
                "document": {"dsl": "1.0.3", "namespace": "canary", "name": "ticking", "version": "1.0.0"},
                "schedule": {"every": {"hours": 1}},
                "do": [{"show": {"run": {"shell": {"command": "env"}}}}],
            }
        )
    )
    (root / "workflows.d/wait.yaml").write_text(
        json.dumps(
            {
                "document": {"dsl": "1.0.3", "namespace": "canary", "name": "wait", "version": "1.0.0"},
                "do": [{"nap": {"wait": {"minutes": 5}}}],
            }
        )
    )
    settings = json.loads((root / "iogate.yaml").read_text())
    settings |= {
        "tls": {"cert": certificate.name, "key": key.name},
        "operators": {
            "ada": {"token": {"env": "ADA"}, "role": "admin"},
            "olga": {"token": {"env": "OLGA"}, "role": "operate"},
        },
        "events": {"auth": {"token": {"env": "SENDER"}}},
    }
    (root / "iogate.yaml").write_text(json.dumps(settings))
    return key


class Visitor:
    """An admin who opens everything, by the HTTP API and in the console."""

    def __init__(self, url: str, token: str, search: Search) -> None:
        trusting = ssl._create_unverified_context()
        self._client = httpx.Client(
            base_url=url, timeout=60, follow_redirects=True, transport=PatientTransport(verify=trusting)
        )
        self._search = search
        self._headers = {"Authorization": f"Bearer {token}"}
        self._own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        self.seen: set[str] = set()
        """Routes and pages that had a response without an error."""
        self.look(
            "console login", self._client.post("/console/login", data={"token": token}, headers=self._own)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def look(self, where: str, response: httpx.Response) -> None:
        """Look through a response, its headers, and its text as a browser shows it."""
        assert response.status_code < 500, (where, response.status_code, response.text[:500])
        headers = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
        self._search.look(where, headers)
        self._search.look(where, response.content)
        if "html" in response.headers.get("content-type", ""):
            self._search.look(where, html.unescape(response.text))
        if response.status_code < 400:
            self.seen.add(where)

    def call(self, api: str, body: Any, **headers: str) -> str:
        """Start a run as a caller; return its uid."""
        response = self._client.post(f"/v1/api/canary/{api}/async", json=body, headers=headers)
        self.look("response to a caller", response)
        assert response.status_code == 202, (api, response.text)
        return str(response.json()["response"]["uid"])

    def send_file(self) -> str:
        """Start a run with a file as a caller; return its uid."""
        files = {"scan": ("scan.txt", FILE, "text/plain")}
        response = self._client.post("/v1/api/canary/filed/async", data={"order": "A-1"}, files=files)
        self.look("response to a caller", response)
        assert response.status_code == 202, response.text
        return str(response.json()["response"]["uid"])

    def end(self, uid: str) -> None:
        """Wait for the end of a run."""
        for _ in range(10):
            response = self._client.get(f"/v1/runs/{uid}?wait=20", headers=self._headers)
            self.look("runs.show", response)
            if response.json()["response"]["endedAt"] is not None:
                return
        raise TimeoutError(f"run {uid} did not end")

    def open(self, where: str, url: str, **query: str) -> None:
        """Open a page or route, and the pages behind its cursor; a stream ends with its run."""
        for _ in range(MOST_PAGES):
            headers = {} if url.startswith("/console") else self._headers
            response = self._client.get(url, params=query or None, headers=headers)
            self.look(where, response)
            if not url.startswith("/console") and "json" in response.headers.get("content-type", ""):
                found = response.json().get("response")
                cursor = found.get("nextCursor") or found.get("cursor") if isinstance(found, dict) else None
                query = {**query, "cursor": str(cursor)}
            elif older := re.search(r'rel="next" href="([^"]+)"', response.text):
                url, query, cursor = html.unescape(older[1]), {}, "next"
            else:
                cursor = None
            if not cursor:
                return

    def begin(self, where: str, url: str) -> None:
        """Open a stream that has no end, and read its beginning."""
        with self._client.stream("GET", url) as response:
            self._search.look(where, next(response.iter_bytes()))
            if response.status_code == 200:
                self.seen.add(where)

    def change(self, operation: Operation, url: str, bundle: Mapping[str, Any]) -> None:
        """Make a change by the HTTP API; `bundle` is the request of a publication."""
        given = {**({"reason": "canaries"} if operation.changes else {}), **BODIES.get(operation.name, {})}
        if operation.name == "revisions.publish":
            live = self._client.get("/v1/revisions/live", headers=self._headers).json()["response"]
            given = {**bundle, "expected": live["revision"]}
        headers = {**self._headers, "If-Match": "*"} if operation.takes_version else self._headers
        response = self._client.request(
            operation.method,
            url,
            json=given if operation.reads_body else None,
            params=None if operation.reads_body else given,
            headers=headers,
        )
        self.look(operation.name, response)

    def start_batch(self, uids: Sequence[str]) -> str:
        """Start a batch of retries, and return its id."""
        given = {"action": "retry", "uids": list(uids), "reason": "canaries"}
        response = self._client.post("/v1/batches", json=given, headers=self._headers)
        self.look("batches.create", response)
        return str(response.json()["response"]["id"])

    def submit(self, path: str, url: str) -> None:
        """Submit a form of the console."""
        form = {"reason": "canaries", "case": CASE, "version": "*"}
        self.look(f"POST {path}", self._client.post(url, data=form, headers=self._own))


def filled(path: str, values: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Return a path with every combination of values for the names in it."""
    names = re.findall(r"{(\w+)(?::str)?}", path)
    unknown = [name for name in names if name not in values]
    assert not unknown, f"{path}: say in `values` of this campaign which values {unknown} can have"
    for chosen in itertools.product(*(values[name] for name in names)):
        parts = re.split(r"{[^}]*}", path)
        yield "".join(part + value for part, value in zip(parts, (*chosen, ""), strict=True))


def visit(
    visitor: Visitor,
    uids: Sequence[str],
    apis: Sequence[str],
    kinds: Sequence[str],
    bundle: Mapping[str, Any],
) -> None:
    """Open every route and page, make every change, and open the lists and some runs again."""
    values: dict[str, Sequence[str]] = {
        "uid": uids,
        "sha256": [hashlib.sha256(FILE).hexdigest()],
        "module": ["canary"],
        "method": apis,
        "case": [CASE],
        "namespace": ["canary"],
        "name": [*kinds, *(f"{kind}:1.0.0" for kind in kinds), "ticking", "ticking:1.0.0"],
        "number": ["1", "live"],
        "id": [visitor.start_batch(uids[:10])],
        "a": ["1"],
        "b": ["live"],
    }
    _read(visitor, values)
    few = values | {"uid": uids[:: max(1, len(uids) // 10)], "method": [apis[0], LEAKY]}
    waiting = []
    declared: list[Operation | Page] = [*OPERATIONS, *PAGES]
    for change in (each for each in declared if each.method != "GET"):
        # A run that goes on, for each change.
        waiting.append(visitor.call("wait", {}))
        for url in filled(change.path, few | {"uid": [*few["uid"], waiting[-1]]}):
            if isinstance(change, Operation):
                visitor.change(change, url, bundle)
            else:
                visitor.submit(change.path, url)
    (cancel,) = (each for each in OPERATIONS if each.name == "runs.cancel")
    for uid in waiting:
        visitor.change(cancel, f"/v1/runs/{uid}/cancel", bundle)
        visitor.end(uid)
    _read(visitor, few | {"uid": [*few["uid"], *waiting]})


def _read(visitor: Visitor, values: Mapping[str, Sequence[str]]) -> None:
    for operation in OPERATIONS:
        if operation.method == "GET":
            flags = {name: "true" for name, key in operation.query.items() if key.type.form == "boolean"}
            for url in filled(operation.path, values):
                visitor.open(operation.name, url)
                if flags:
                    visitor.open(operation.name, url, **flags)
    for page in PAGES:
        if page.method == "GET":
            for url in filled(page.path, values):
                if page.is_stream and "{" not in page.path:
                    visitor.begin(page.path, url)
                else:
                    visitor.open(page.path, url)
    for uid in values["uid"]:
        visitor.open("/console/runs/{uid:str}", f"/console/runs/{uid}", tasks="all", journal="all")
    for path in ("/openapi.json", "/docs", "/metrics", "/health/ready", "/console/login", "/console/nothing"):
        visitor.open(path, path)


@contextmanager
def serving(root: Path, secrets: Mapping[str, str]) -> Iterator[str]:
    """Serve the project, with the secrets in the environment; yield its URL."""
    port = free_port()
    environment = {**place.environment(), **{name: text for name, text in secrets.items() if name.isupper()}}
    environment["IOGATE_LINK_KEY"] = environment.pop("LINK")
    environment = patience.of_children(environment)
    with (root / "up.out").open("wb") as out, (root / "up.err").open("wb") as err:
        process = fork_server.start(
            *("iogate", "up", "--port", str(port)),
            environment=environment,
            folder=root,
            stdout=out,
            stderr=err,
        )
    try:
        until(lambda: "curl" in (root / "up.out").read_text() or process.poll() is not None)
        assert process.poll() is None, (root / "up.err").read_text()
        yield f"https://localhost:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _compiled(root: Path) -> bytes:
    """Return the request of a publication, as a pipeline makes it."""
    command = [sys.executable, "-m", "iogate", "bundle", "--expect", "1", "--reason", "canaries"]
    ran = subprocess.run(command, cwd=root, capture_output=True, env=place.environment(), check=True)
    return ran.stdout


def campaign(root: Path, *, runs: int, kept: int = 11) -> Search:
    """Run it in an empty folder with `kept` secrets of workflows."""
    secrets = named(canaries.canaries())
    key = write_project(root, secrets, kept)
    search = Search(secrets=[*secrets.values(), key.read_text()])
    kinds = [f"{kind}-{number}" for number in range(kept) for kind in KINDS]
    with (
        patch.object(place, "ENVIRONMENT", {}),
        serving(root, secrets) as url,
        Visitor(url, secrets["ADA"], search) as visitor,
    ):
        uids = []
        for number in range(runs):
            name = (LEAKY, "whole", *kinds)[number % (len(kinds) + 2)]
            body = {"order": f"A-{number}", "password": secrets["CALLER"], "token": secrets["CALLER"]}
            if name in (LEAKY, "whole"):
                uids.append(visitor.call(name, body, token=secrets["CALLER"]))
            else:
                uids.append(visitor.call(name, {}))
        uids.append(visitor.send_file())
        for uid in uids:
            visitor.end(uid)
        first = [f"{kind}-0" for kind in KINDS]
        compiled = _compiled(root)
        search.look("bundle", compiled)
        visit(visitor, uids, [*first, LEAKY, "whole", "basic", "signed"], first, json.loads(compiled))
    search.look("log and output of up", (root / "up.err").read_text() + (root / "up.out").read_text())
    # A change may be refused: its response is looked through, too.
    wanted = {each.name for each in OPERATIONS if not each.changes} | {
        each.path for each in PAGES if each.method == "GET"
    }
    search.found += [f"{each}: no response without an error" for each in sorted(wanted - visitor.seen)]
    search.finish()
    return search


def main() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.operator_canaries", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="iogate-canaries-") as folder:
        search = campaign(Path(folder), runs=arguments.runs)
    sys.stdout.write(search.table() + "\n")
    return 1 if search.found else 0


if __name__ == "__main__":
    sys.exit(main())
