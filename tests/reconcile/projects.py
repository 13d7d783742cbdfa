"""Random small projects, as files, and their compiled bundles."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from iogate.compiler.compile import compile_documents
from iogate.compiler.revision import Bundle
from iogate.documents import load
from iogate.functions import Registry
from iogate.settings import Settings
from tests.compiler.projects import write

secrets = st.sampled_from([{"env": "A"}, {"env": "B"}, {"file": "secrets/a"}, {"hash": "sha256:" + "0" * 64}])
SIGNED: dict[str, Any] = {
    "scheme": "hmac",
    "secret": [{"env": "A"}, {"file": "secrets/a"}],
    "header": "X-Sig",
    "signed": "{path}{body}",
}
SIGNATURES: list[dict[str, Any]] = [
    {},
    {"algorithm": "sha512", "encoding": "base64", "prefix": "v1=", "id": "X-Id", "caller": "shop"},
    {
        "signed": "{timestamp}.{path}{body}",
        "timestamp": {"header": "X-Sig", "prefix": "t=", "unit": "ms"},
        "tolerance": "90s",
    },
]
forms = st.one_of(
    st.just("none"),
    st.builds(lambda secret: {"token": secret}, secrets | st.lists(secrets, min_size=2, max_size=2)),
    st.builds(
        lambda given: {"tokens": given}, st.dictionaries(st.sampled_from(["ada", "bob"]), secrets, min_size=1)
    ),
    st.builds(lambda name: {"user": name, "password": {"env": "P"}}, st.sampled_from(["ada", "bob"])),
    st.builds(lambda more: {"signature": SIGNED | more}, st.sampled_from(SIGNATURES)),
    st.builds(
        lambda more: {"jwt": {"issuer": "https://a.test"} | more},
        st.fixed_dictionaries(
            {},
            optional={
                "audience": st.sampled_from(["x", ["x", "y"]]),
                "key": st.just({"file": "k.pem"}),
                "claims": st.just({"/a/b": ["x", 1], "c": True}),
                "scopes": st.just(["s"]),
                "algorithms": st.just(["ES256"]),
                "leeway": st.just("5s"),
            },
        ),
    ),
)
auths = (
    forms
    | st.builds(lambda given: {"any": given}, st.lists(forms, min_size=1, max_size=2))
    | st.builds(
        lambda secret: {
            "any": [
                {"token": {"env": "A"}},
                {"signature": {"scheme": "meta", "secret": {"env": "A"}, "verify_token": secret}},
            ]
        },
        secrets,
    )
)
durations = st.sampled_from(["250ms", "1s", "90s", "5m", "1h30m", "7d", "2w", "1.5s"])
schemas = st.sampled_from(
    [
        {},
        True,
        {"type": "object"},
        {"type": "object", "required": ["a"], "properties": {"a": {"minimum": 1.0}}},
    ]
)
WORKFLOWS = ("s/one", "s/two", "s/two:1.0.0")
callbacks = st.sampled_from(
    [
        {"url": "https://h.example/x", "secret": {"env": "CB"}},
        {"url": "http://localhost:1/", "secret": {"file": "cb.txt"}, "on": ["faulted"]},
        {"allow": ["*.example", "localhost:1"], "secret": {"env": "CB"}, "on": ["completed", "cancelled"]},
    ]
)
methods = st.fixed_dictionaries(
    {"workflow": st.sampled_from(WORKFLOWS), "auth": auths},
    optional={
        "path": st.just("own"),
        "description": st.text("aé:# -\"'", max_size=5),
        "verbs": st.sampled_from([["GET"], ["POST", "GET"], ["POST"]]),
        "enabled": st.booleans(),
        "input": st.fixed_dictionaries(
            {}, optional={"from": st.sampled_from(["body", "request"]), "schema": schemas}
        ),
        "limits": st.fixed_dictionaries(
            {},
            optional={
                "body": st.sampled_from(["1MiB", "64KiB", "500kB", 1000]),
                "rate": st.sampled_from(["50/s", "100/m", "7/h", "5000/d", "0.3/m", "1.234567/s"]),
                "burst": st.integers(1, 9),
                "queued": st.sampled_from([1, 10000]),
                "running": st.integers(1, 9),
                "per": st.sampled_from(["api", "caller", "address"]),
                "concurrency": st.fixed_dictionaries(
                    {"key": st.sampled_from(["/a", "/b/c"])}, optional={"limit": st.integers(1, 3)}
                ),
                "on_full": st.sampled_from(["reject", "replace"]),
                "priority": st.integers(0, 9),
            },
        ),
        "idempotency": st.fixed_dictionaries(
            {},
            optional={
                "header": st.sampled_from(["X-Key", "Idempotency-Key"]),
                "pointer": st.sampled_from(["/id", "/a~1b/0"]),
                "ttl": durations,
                "required": st.booleans(),
            },
        ),
        "coalesce": st.sampled_from(
            [{"key": "/a", "window": "10s"}, {"key": "/b", "window": "90s", "max": "5m"}]
        ),
        "attributes": st.dictionaries(
            st.sampled_from(["order", "customer"]), st.sampled_from(["/a", "/b/0"]), min_size=1
        ),
        "timeout": durations,
        "retention": durations,
        "protect": st.booleans(),
        "callback": callbacks,
        "on_fault": st.sampled_from(WORKFLOWS),
        "allow_ips": st.lists(
            st.sampled_from(
                ["10.0.0.0/8", "10.1.0.0/16", "::ffff:10.0.0.1", "2001:db8::/32", {"file": "a.txt"}]
            ),
            min_size=1,
            max_size=3,
        ),
        "tags": st.lists(st.sampled_from(["a", "b c", "yes", "1"]), max_size=2),
        "metadata": st.dictionaries(
            st.sampled_from(["k", "l"]), st.sampled_from([1, 1.0, None, "no", [1]]), max_size=2
        ),
    },
)
modules = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.dictionaries(st.sampled_from(["x", "y", "z"]), methods, min_size=1),
    max_size=2,
)
tasks = st.sampled_from(
    [
        {"set": {"a": 1}},
        {"set": {"a": 1.0, "b": "yes", "c": "${ $runtime.vars.region }", "d": None, "e": "two\nlines: #"}},
        {"set": {"a": 1}, "then": "continue"},
        {"run": {"script": {"language": "python", "source": {"endpoint": "lib/run.py"}}}},
        {"call": "http", "with": {"method": "get", "endpoint": "https://example.com/{x}"}},
        {"wait": {"seconds": 1}},
        {"run": {"workflow": {"namespace": "s", "name": "one", "version": "1.0.0"}}},
    ]
)
task_lists = st.lists(st.sampled_from("pqrst"), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.tuples(*(st.fixed_dictionaries({name: tasks}) for name in names)).map(list)
)
schedules = st.sampled_from([None, {"every": {"hours": 1}}, {"cron": "0 6 * * *"}, {"after": {"minutes": 1}}])


def definition(name: str, version: str, do: Any, schedule: Any) -> dict[str, Any]:
    document = {"dsl": "1.0.3", "namespace": "s", "name": name, "version": version}
    found: dict[str, Any] = {"document": document, "do": do}
    if schedule is not None:
        found["schedule"] = schedule
    if name == "two":
        found["input"] = {"schema": {"document": {"type": "object", "title": "inherited"}}}
    return found


def own_path(method: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a method with a path of its own, if it has one; those of half of them wait for the result."""
    if "path" not in method:
        return method
    return {**method, "path": path, **({"mode": "sync"} if "timeout" in method else {})}


def files(made: dict[str, Any], one: Any, two: Any, three: Any, schedule: Any, folder: str) -> dict[str, str]:
    """Return the files of a project; JSON is YAML."""
    found = {
        f"apis.d/{folder}{name}.yaml": {
            "module": name,
            "methods": {key: own_path(value, f"/{name}/{key}") for key, value in each.items()},
        }
        for name, each in made.items()
    }
    found |= {
        f"workflows.d/{folder}one.yaml": definition("one", "1.0.0", one, None),
        f"workflows.d/{folder}two.yaml": definition("two", "1.0.0", two, None),
        f"workflows.d/{folder}newer.yaml": definition("two", "2.0.0", three, schedule),
    }
    texts = {name: json.dumps(each) for name, each in found.items()}
    return {**texts, f"workflows.d/{folder}lib/run.py": "print('é')\n"}


plain_tasks = task_lists.filter(lambda do: "workflow" not in json.dumps(do))
projects = st.builds(
    files, modules, plain_tasks, task_lists, task_lists, schedules, st.sampled_from(["", "deep/er/"])
)

VARS = {"region": "eu", "unused": "x"}


def compiled(given: dict[str, str]) -> Bundle:
    """Return the bundle of a project."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, given)
        settings = Settings(allow_run=("script",), vars=VARS)
        result = compile_documents(load(root), settings, root=root, functions=Registry({}))
    assert result.bundle is not None, result.errors
    return result.bundle
