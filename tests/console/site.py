"""A project with operators that a real `iogate up` serves, and runs of every kind in it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests import fork_server, patience
from tests.cli.place import Place, environment, until
from tests.console import hostile
from tests.keys import LINK_KEY
from tests.ports import free_port

TOKENS: Final = {
    "ada": "ada-token-0123456789abcdef",
    "olga": "olga-token-0123456789abcdef",
    "rob": "rob-token-0123456789abcdef",
    "fay": "fay-token-0123456789abcdef",
}
CALLER: Final = "caller-token-0123456789"
SETTINGS: Final = """\
link_key: {key}
allow_run: [shell]
operators:
  ada: {{token: {{env: ADA_TOKEN}}, role: admin}}
  olga: {{token: {{env: OLGA_TOKEN}}, role: operate}}
  rob: {{token: {{env: ROB_TOKEN}}, role: read}}
  fay: {{token: {{file: fay}}, role: read}}
"""
API: Final = """\
module: orders
description: {text}
auth: {{token: {{env: CALLER_TOKEN}}}}
methods:
  submit:
    {{workflow: orders/fulfil, enabled: true, timeout: 10m, record: all, tags: [money],
     description: {text}}}
  refund:
    workflow: orders/refund
    enabled: true
    timeout: 10m
    description: Pays an order back.
    attributes: {{order: /order}}
    debug:
      - {{name: three items, body: {{order: A-1}}, expect: {{output: {{n: 3}}}}}}
      - {{name: wrong on purpose, body: {{order: A-1}}, expect: {{output: {{n: 4}}}}}}
  approve: {{workflow: orders/approve, enabled: true, timeout: 10m}}
  break: {{workflow: orders/break, enabled: true, timeout: 10m, record: all}}
  steps: {{workflow: orders/steps, enabled: true, timeout: 10m}}
  parent: {{workflow: orders/parent, enabled: true, timeout: 10m}}
  mend: {{workflow: orders/mend, enabled: true, timeout: 10m}}
  many: {{workflow: orders/many, enabled: true, timeout: 10m}}
"""
_HEAD: Final = (
    "document: {{dsl: '1.0.3', namespace: orders, name: {name}, version: 1.2.0, title: {title}}}\ndo:\n"
)
WORKFLOWS: Final = {
    "fulfil": """\
  - check: {set: {order: '${ .order }', total: '${ [.items[]?.price] | add }'}}
  - reserve:
      try:
        - stock: {call: http, with: {method: post, endpoint: 'http://127.0.0.1:9/stock', body: '${ . }'}}
      catch:
        retry: {delay: {milliseconds: 300}, limit: {attempt: {count: 2}}}
        do:
          - fallback: {set: {order: '${ .order }', reserved: elsewhere}}
  - pack: {wait: {milliseconds: 1200}}
  - charge:
      run:
        shell:
          command: |
            echo contacting payments.example; sleep 0.3
            echo 'card declined: insufficient funds (code 51)' >&2; exit 3
""",
    "refund": """\
  - look: {set: {refund: '${ .order }', password: hunter2}}
  - each: {for: {each: item, in: '${ .items // [1, 2, 3] }'}, do: [{one: {set: {n: '${ $item }'}}}]}
""",
    "approve": """\
  - ask: {listen: {to: {one: {with: {type: orders.approved}}}}}
""",
    "break": """\
  - stop:
      raise:
        error: {type: 'https://shop.example/x', status: 410, title: '${ .title }', detail: '${ .title }'}
""",
    "steps": """\
  - loop:
      for: {each: item, in: '${ [range(.count)] }'}
      do:
        - nap: {wait: {milliseconds: 300}}
""",
    "parent": """\
  - child: {run: {workflow: {namespace: orders, name: refund, version: latest}}}
""",
    "mend": """\
  - look: {run: {shell: {command: 'test -e "$1"', arguments: ['${ .mark }']}}}
""",
    "many": "".join(f"  - step{number}: {{set: {{n: {number}}}}}\n" for number in range(130))
    + "  - stop: {raise: {error: {type: 'https://shop.example/x', status: 410, title: sold out}}}\n",
}


@dataclass(kw_only=True)
class Site(Place):
    """A running `iogate up` with operators."""

    def call_api(self, method: str, body: Any) -> str:
        """Start a run, and return its uid."""
        status, response = self.call(f"/v1/api/orders/{method}/async", body, {"token": CALLER})
        assert status == 202, response
        return str(response["uid"])

    def run(self, uid: str) -> dict[str, Any]:
        """Return a run as an operator sees it."""
        status, response = self.call(f"/v1/runs/{uid}", headers={"Authorization": f"Bearer {TOKENS['ada']}"})
        assert status == 200, response
        found: dict[str, Any] = response
        return found

    def operate(self, path: str, body: Any) -> Any:
        """Make a change as an operator, by the HTTP API."""
        status, response = self.call(path, body, {"Authorization": f"Bearer {TOKENS['ada']}"})
        assert status < 300, response
        return response

    def journal(self, uid: str) -> list[dict[str, Any]]:
        """Return the journal of a run that has ended."""
        headers = {"Authorization": f"Bearer {TOKENS['ada']}"}
        with httpx.stream("GET", f"{self.url}/v1/runs/{uid}/events", headers=headers, timeout=60) as stream:
            lines = [line for line in stream.iter_lines() if line.startswith("data: {")]
        return [entry for line in lines if "kind" in (entry := json.loads(line[6:]))]

    def ended(self, method: str, body: Any) -> str:
        """Start a run, wait for its end, and return its uid."""
        uid = self.call_api(method, body)
        until(lambda: self.run(uid)["endedAt"])
        return uid


def write_project(root: Path, text: str = hostile.ALL) -> None:
    """Write the files of the project; `text` is the description of an API and the title of a workflow."""
    (root / "apis.d").mkdir()
    (root / "workflows.d").mkdir()
    (root / "iogate.yaml").write_text(SETTINGS.format(key=LINK_KEY))
    (root / "fay").write_text(TOKENS["fay"])
    described = json.dumps(text)
    (root / "apis.d/orders.yaml").write_text(API.format(text=described))
    for name, tasks in WORKFLOWS.items():
        head = _HEAD.format(name=name, title=described if name == "fulfil" else name)
        (root / f"workflows.d/{name}.yaml").write_text(head + tasks)


@contextmanager
def serving(root: Path, *arguments: str) -> Iterator[Site]:
    """Serve the project in `root` until the end of the block."""
    port = free_port()
    secrets = {f"{name.upper()}_TOKEN": token for name, token in TOKENS.items()} | {"CALLER_TOKEN": CALLER}
    # A browser repeats no request that a stalled gateway answers with 503.
    given = patience.of_children(environment() | secrets)
    with (root / "up.out").open("wb") as out, (root / "up.err").open("wb") as err:
        process = fork_server.start(
            *("iogate", "up", "--port", str(port), *arguments),
            environment=given,
            folder=root,
            stdout=out,
            stderr=err,
        )
    site = Site(root=root, port=port, process=process, environment=given)
    try:
        until(lambda: "curl" in site.out or process.poll() is not None)
        assert process.poll() is None, site.err
        yield site
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
