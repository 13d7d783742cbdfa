"""`python -m tests.faults.documented`: requests of schemathesis to all operations of `/openapi.json`.

Three projects run as real processes: the samples, one of generated APIs with all kinds of schemas,
credentials, verbs and own paths, whose runs always complete, and one whose operator, an administrator, sends
requests to the routes of operators only. Each response must be one that the document
names, with its headers and its schema, and no request may make the gateway fail. A 500 with a uid is the
documented response for a run that faulted.

schemathesis needs other versions of libraries than iogate, so it is installed apart:

    python -m venv /tmp/schemathesis && /tmp/schemathesis/bin/pip install 'schemathesis>=4.15,<5'
    python -m tests.faults.documented --schemathesis /tmp/schemathesis/bin/schemathesis
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from iogate.security.secrets import hash_token
from tests.cli.place import started, until
from tests.ports import free_port

SAMPLES = Path(__file__).resolve().parents[2]
TOKEN = "123456"
READY_S = 120.0
WORKFLOW = """\
document: {dsl: '1.0.3', namespace: made, name: any, version: 1.0.0}
do: [{answer: {set: {ok: true}}}]
"""
CONFIG = """\
[auth.openapi]
token = { api_key = "123456" }
bearer = { bearer = "123456" }
user = { api_key = "iolinker" }
password = { api_key = "123456" }
basic = { username = "iolinker", password = "123456" }

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "413", "422", "429", "5xx"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "413", "415", "422", "429"]
"""
"""Valid requests may get other statuses than 2xx: for a repeated key with another input, a run of another
caller, a size, a rate limit, a faulted run. Of an invalid one, an earlier check may fail."""
OPERATOR = """
[auth.openapi.operator]
bearer = "iog_operator_of_the_campaign"

[checks.missing_required_header]
expected-statuses = [400, 401, 403, 406, 415, 422, 428]
"""
"""Addition for the project `operators`: in the others, no request may switch an API off."""
LESS = {'"2xx", "401"': '"2xx", "400", "412", "401"', '"422", "429"]': '"422", "428", "429"]'}
"""Changes for it: no schema describes times, durations, cursors of a list, and bundles completely; a change
without If-Match is a 428, one with that of another version a 412."""
HOOKS = """\
import schemathesis
from schemathesis.specs.openapi import checks

# The campaign sends more wrong credentials than one address may try.
checks.AUTH_REJECTION_STATUSES = {*checks.AUTH_REJECTION_STATUSES, 429}

@schemathesis.check
def gateway_does_not_fail(context, response, case):
    if response.status_code >= 500:
        ended = response.json().get("response", {})
        assert "uid" in ended, f"the gateway failed: {response.status_code} {ended}"
"""
SCHEMAS: list[Any] = [
    None,
    {},
    True,
    {"type": "object"},
    {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": -5}}},
    {"properties": {"text": {"type": "string", "minLength": 1, "maxLength": 8}, "b": {"type": "boolean"}}},
    {"properties": {"kind": {"enum": ["a", "b", ""]}, "at": {"type": "string", "format": "date-time"}}},
    {"properties": {"list": {"type": "array", "items": {"type": "integer"}, "maxItems": 3}}},
    {"type": "object", "additionalProperties": False, "properties": {"x": {"type": ["number", "null"]}}},
    {"oneOf": [{"type": "object", "required": ["a"]}, {"type": "array", "maxItems": 2}]},
    {
        "type": "object",
        "properties": {"child": {"$ref": "#"}, "name": {"$ref": "#/$defs/name"}},
        "$defs": {"name": {"type": "string", "pattern": "^[a-z]*$"}},
    },
]
AUTHS: list[Any] = [
    "none",
    {"token": TOKEN},
    {"user": "iolinker", "password": TOKEN},
    {"any": [{"token": TOKEN}, {"user": "iolinker", "password": TOKEN}]},
]


def generated(root: Path, number: int, seed: int) -> None:
    """Write a project of `number` APIs."""
    chance = random.Random(seed)
    (root / "apis.d").mkdir(parents=True)
    (root / "workflows.d").mkdir()
    (root / "workflows.d/any.yaml").write_text(WORKFLOW)
    methods: dict[str, Any] = {}
    for place in range(number):
        schema = SCHEMAS[place % len(SCHEMAS)]
        verbs = chance.choice([["GET"], ["POST"], ["GET", "POST"]])
        if isinstance(schema, dict) and "oneOf" in schema:
            verbs = ["POST"]  # parameters cannot express it
        method: dict[str, Any] = {
            "workflow": "made/any",
            "enabled": True,
            "timeout": "1m",
            "auth": chance.choice(AUTHS),
            "verbs": verbs,
            "limits": {"body": chance.choice([2000, 1_000_000])},
        }
        if chance.random() < 0.3:
            query = schema if isinstance(schema, dict) and "$defs" not in schema else {}
            parts = {"query": query} if method["verbs"] == ["GET"] else {"body": query}
            method["input"] = {"from": "request", "schema": {"type": "object", "properties": parts}}
        elif schema is not None:
            method["input"] = {"schema": schema}
        if chance.random() < 0.4:
            method |= {"path": f"/own/{place}", "mode": chance.choice(["async", "sync"])}
        methods[f"m{place}"] = method
    (root / "apis.d/made.yaml").write_text(json.dumps({"module": "made", "methods": methods}))


def samples(root: Path) -> None:
    """Copy the samples of the repository, without the redirection that its settings have."""
    for folder in ("apis.d", "workflows.d"):
        shutil.copytree(SAMPLES / folder, root / folder)
    settings = {"allow_run": ["script"], "events": {"auth": {"token": TOKEN}}}
    (root / "iogate.yaml").write_text(json.dumps(settings))


def operators(root: Path, seed: int) -> None:
    """Write a small project with an operator."""
    generated(root, 3, seed)
    token = tomllib.loads(OPERATOR)["auth"]["openapi"]["operator"]["bearer"]
    settings = {"operators": {"ada": {"token": {"hash": hash_token(token)}, "role": "admin"}}}
    (root / "iogate.yaml").write_text(json.dumps(settings))


def attack(schemathesis: str, url: str, folder: Path, *, examples: int, seed: int, as_operator: bool) -> int:
    """Run schemathesis against a gateway; return its exit code."""
    config = CONFIG
    if as_operator:
        for old, new in LESS.items():
            config = config.replace(old, new)
        config += OPERATOR
    (folder / "schemathesis.toml").write_text(config)
    (folder / "hooks.py").write_text(HOOKS)
    command = [schemathesis, "--config-file", str(folder / "schemathesis.toml"), "run", f"{url}/openapi.json"]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)]
    command += ["--seed", str(seed), "--continue-on-failure", "--suppress-health-check", "all"]
    command += ["--exclude-checks", "not_a_server_error", "--request-timeout", "40"]
    command += ["--include-tag", "operator"] if as_operator else []
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(folder)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def is_ready(url: str) -> bool:
    """Tell whether a gateway serves a revision."""
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def projects(wanted: str, apis: int, seed: int) -> Iterator[Path]:
    """Yield the folders of the projects to run, one after the other."""
    with tempfile.TemporaryDirectory(prefix="documented-") as folder:
        root = Path(folder)
        if wanted in ("samples", "all"):
            samples(root / "samples")
            yield root / "samples"
        if wanted in ("generated", "all"):
            generated(root / "generated", apis, seed)
            yield root / "generated"
        if wanted in ("operators", "all"):
            operators(root / "operators", seed)
            yield root / "operators"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--schemathesis", default=shutil.which("schemathesis"))
    parser.add_argument("--project", choices=["samples", "generated", "operators", "all"], default="all")
    parser.add_argument("--apis", type=int, default=22)
    parser.add_argument(
        "--examples", type=int, default=20, help="requests per operation in the fuzzing phase"
    )
    parser.add_argument("--seed", type=int, default=20261128)
    given = parser.parse_args()
    if given.schemathesis is None or not Path(given.schemathesis).exists():
        parser.error("schemathesis is not installed; see --help for how to install it")
    failed = 0
    for root in projects(given.project, given.apis, given.seed):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with (
            started(root, "up", "--port", str(port), "--workers", "2"),
            tempfile.TemporaryDirectory() as folder,
        ):
            until(partial(is_ready, url), READY_S)
            print(f"{root.name}: {url}", flush=True)
            code = attack(
                given.schemathesis,
                url,
                Path(folder),
                examples=given.examples,
                seed=given.seed,
                as_operator=root.name == "operators",
            )
            log = (root / "up.err").read_text()
            errors = [line for line in log.splitlines() if '"level": "error"' in line]
            print(f"{root.name}: schemathesis exits with {code}, {len(errors)} errors in the log", flush=True)
            failed += bool(code or errors)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
