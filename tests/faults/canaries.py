"""Twenty canary secrets go through runs that print, fault, retry, catch and stream; none may be found.

`python -m tests.faults.canaries --runs 1000`; its short form is a test. Looked through are responses and
event streams of the gateway, the terminal output of `runs show`, `logs` and `wait`, every key of the store by
its type, its files on disk, and the log and output of `up`.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import redis

from iogate.security.redaction import disguises
from iogate.store.embedded.server import find_embedded
from tests.cli import place
from tests.cli.place import Place, until, up
from tests.patient_http import fetched

KINDS: Final = ("print", "fault", "retry", "catch", "stream")
LEAST: Final = 8
"""Characters of a part that counts as found."""

FUNCTION = """
import logging, sys, traceback
import iogate

@iogate.function("tell", version="1.0.0")
def tell(key: str) -> None:
    print("told", key, file=sys.stdout)
    print(key.lower(), key.upper(), file=sys.stderr)
    logging.getLogger("iogate.project").warning("with %s", key)
    raise ValueError(key)
"""


def canaries(seed: int = 20261127) -> list[str]:
    """Return twenty secrets: short, long, multi-line, with regex and escape characters."""
    entropy = random.Random(seed)

    def word(length: int, letters: str = string.ascii_letters + string.digits) -> str:
        return "".join(entropy.choice(letters) for _ in range(length))

    lines = [word(40) for _ in range(6)]
    return [
        *(word(8) for _ in range(3)),
        *(word(24) for _ in range(3)),
        word(1_000),
        word(1_500),
        word(4_000),
        f"-----BEGIN KEY-----\n{chr(10).join(lines[:3])}\n-----END KEY-----\n",
        "\r\n".join(lines[3:]),
        f"{word(30)}\n  {word(30)}  \n\n{word(13)}",
        f"{word(6)}.*+?^${{}}()|[]{word(6)}",
        f"{word(9)}\\n\\t\\x41{word(9)}",
        f"{word(9)}'{word(9)}\"{word(9)}`{word(4)}",
        f"{word(8)} $(id) ;&& {word(8)} #",
        f"{word(10)}\t{word(10)}",
        f"{word(9)}%2F+/={word(9)}&a=b",
        f"{word(6)}-wörd-☃-{word(6)}",
        f"{word(8)}</script>{word(8)}",
    ]


@dataclass(kw_only=True)
class Search:
    """Places that were looked through, and what was found in them."""

    secrets: list[str]
    characters: Counter[str] = field(default_factory=Counter)
    _texts: dict[str, list[bytes]] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    _forms: dict[int, set[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, secret in enumerate(self.secrets):
            forms = {form.lower() for form in disguises([secret]) if len(form) >= LEAST}
            for line in secret.split():
                forms |= {
                    line[at : at + 12].lower()
                    for at in range(0, max(1, len(line) - 11), 9 if len(line) > 200 else 3)
                }
            self._forms[number] = {form.encode() for form in forms if len(form) >= LEAST}

    def look(self, where: str, data: bytes | str) -> None:
        """Remember the text of one place."""
        raw = data.encode() if isinstance(data, str) else data
        self.characters[where] += len(raw)
        # `bytes.lower` changes no letter outside ASCII.
        lower = raw.decode(errors="surrogateescape").lower().encode(errors="surrogateescape")
        self._texts.setdefault(where, []).append(lower)

    def finish(self) -> None:
        """Search all texts for every form of every secret, and for parts of their lines.

        Pages share most of their lines: each line is searched once, in the first place that has it.
        """
        searched: set[bytes] = set()
        for where, texts in self._texts.items():
            lines = {line for text in texts for line in text.split(b"\n")} - searched
            searched |= lines
            once, whole = b"\n".join(lines), b"\0\0".join(texts)
            for number, forms in self._forms.items():
                for form in forms:
                    text = whole if b"\n" in form else once
                    if (at := text.find(form)) >= 0:
                        near = text[max(0, at - 60) : at + 80].decode(errors="replace")
                        self.found.append(f"{where}: secret {number}: …{near}…")
                        break

    def table(self) -> str:
        lines = [f"{where:<32} {count:>12,} characters" for where, count in sorted(self.characters.items())]
        return "\n".join([*lines, f"found: {len(self.found)}", *self.found[:20]])


def _tasks(kind: str, secret: str) -> list[dict[str, Any]]:
    key = f"${{ $secrets.{secret} }}"
    error = {"type": "https://e.example/canary", "status": 418, "title": key, "detail": key}
    keep = {
        "catch": {"as": "e", "do": [{"keep": {"set": {"said": "${ $e.detail }", "title": "${ $e.title }"}}}]}
    }
    match kind:
        case "print":
            return [{"tell": {"call": "tell:1.0.0@default", "with": {"key": key}}}]
        case "fault":
            code = (
                'echo "$K" | base64; set -x; : "$K"; echo "fail: $K" >&2; '
                'head -c 970 /dev/zero | tr "\\0" . >&2; exit 3'
            )
            return [{"fail": {"run": {"shell": {"command": code, "environment": {"K": key}}}}}]
        case "retry":
            call = {
                "method": "get",
                "endpoint": {"uri": f'${{ "http://127.0.0.1:9/" + ($secrets.{secret} | @uri) }}'},
                "headers": {"X-Key": f"${{ $secrets.{secret} | @base64 }}"},
            }
            retry = {"catch": {"retry": {"delay": {"milliseconds": 10}, "limit": {"attempt": {"count": 2}}}}}
            return [{"again": {"try": [{"call": {"call": "http", "with": call}}], **retry}}]
        case "catch":
            return [
                {"caught": {"try": [{"raise": {"raise": {"error": error}}}], **keep}},
                {"out": {"raise": {"error": error}}},
            ]
        case _:
            code = (
                'for i in 1 2 3; do printf "%s" "$K"; echo; echo "$K" >&2; sleep 0.6; done; '
                'printf %s "$K" | head -c 5000'
            )
            shell = {"command": code, "environment": {"K": key}}
            return [{"stream": {"run": {"shell": shell, "return": "none"}}}]


def write_project(root: Path, secrets: list[str]) -> None:
    """Write a project with one workflow and one API for each kind and secret."""
    for folder in ("apis.d", "workflows.d", "keys"):
        (root / folder).mkdir()
    (root / "canary_functions.py").write_text(FUNCTION)
    methods = {}
    for number, secret in enumerate(secrets):
        with (root / f"keys/c{number}").open("w", newline="") as file:
            file.write(secret + "\n")
        for kind in KINDS:
            name = f"{kind}-{number}"
            document = {"dsl": "1.0.3", "namespace": "canary", "name": name, "version": "1.0.0"}
            workflow = {
                "document": document,
                "use": {"secrets": [f"c{number}"]},
                "do": _tasks(kind, f"c{number}"),
            }
            (root / f"workflows.d/{name}.yaml").write_text(json.dumps(workflow))
            methods[name] = {"workflow": f"canary/{name}", "enabled": True, "timeout": "1m"}
    (root / "apis.d/canary.yaml").write_text(
        json.dumps({"module": "canary", "auth": "none", "record": "all", "methods": methods})
    )
    settings = {
        "functions": ["canary_functions"],
        "allow_run": ["shell"],
        "allow_hosts": ["127.0.0.1"],
        "secrets": {f"c{number}": {"file": f"keys/c{number}"} for number in range(len(secrets))},
    }
    (root / "iogate.yaml").write_text(json.dumps(settings))


def _has_ended(running: Place, uid: str) -> bool:
    return running.call(f"/v1/runs/{uid}?wait=10")[1]["status"] in {"faulted", "completed"}


@contextmanager
def _watched(running: Place, search: Search, runs: int) -> Iterator[list[str]]:
    """Start the runs, follow some of them, and wait for the end of all."""
    uids = []
    for number in range(runs):
        name = f"{KINDS[number % len(KINDS)]}-{number // len(KINDS) % len(search.secrets)}"
        status, response = running.call(f"/v1/api/canary/{name}/async", {})
        assert status == 202, response
        uids.append(str(response["uid"]))
    for uid in uids:
        until(partial(_has_ended, running, uid), 120)
    yield uids


def campaign(root: Path, *, runs: int, secrets: list[str], shown: int) -> Search:
    """Run it in an empty folder; `shown`: of that many runs the terminal output is looked through."""
    search = Search(secrets=secrets)
    write_project(root, secrets)
    with patch.object(place, "ENVIRONMENT", {"NO_COLOR": "1"}), up(root) as running:
        with _watched(running, search, runs) as uids:
            for uid in uids:
                search.look("response", json.dumps(running.call(f"/v1/runs/{uid}")[1], ensure_ascii=False))
            for uid in uids[-shown:]:
                search.look("event stream", fetched(f"{running.url}/v1/runs/{uid}/events").content)
                for command in (
                    ("show",),
                    ("logs",),
                    ("wait",),
                    ("show", "-o", "json"),
                    ("logs", "-o", "json"),
                    ("show", "--data"),
                    ("logs", "--data", "-o", "json"),
                ):
                    search.look(
                        f"runs {' '.join(command)}", _said(root, "runs", command[0], uid, *command[1:])
                    )
        _look_at_store(search, root)
    for file in (root / ".iogate").rglob("*"):
        if file.is_file() and not file.is_symlink():
            search.look("files of the store", file.read_bytes())
    search.look("log and output of up", running.err + running.out)
    search.finish()
    return search


def _said(root: Path, *arguments: str) -> bytes:
    command = [sys.executable, "-m", "iogate", *arguments]
    ran = subprocess.run(
        command, cwd=root, capture_output=True, env=place.environment(), check=False, timeout=60
    )
    return ran.stdout + ran.stderr


def _look_at_store(search: Search, root: Path) -> None:
    url = find_embedded(root / ".iogate")
    assert url is not None
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(count=1000):
            kind = client.type(key).decode()
            match kind:
                case "string":
                    value: Any = client.get(key)
                case "hash":
                    value = client.hgetall(key)
                case "list":
                    value = client.lrange(key, 0, -1)
                case "set":
                    value = client.smembers(key)
                case "zset":
                    value = client.zrange(key, 0, -1)
                case _:
                    value = client.xrange(key)
            search.look("keys of the store", key + b"\n" + _flat(value))


def _flat(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return b"\n".join(_flat(each) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple | set):
        return b"\n".join(map(_flat, value))
    return str(value).encode()


def main() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.canaries", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--shown", type=int, default=100, help="runs whose terminal output is looked through")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="iogate-canaries-") as folder:
        search = campaign(Path(folder), runs=arguments.runs, secrets=canaries(), shown=arguments.shown)
    sys.stdout.write(search.table() + "\n")
    return 1 if search.found else 0


if __name__ == "__main__":
    sys.exit(main())
