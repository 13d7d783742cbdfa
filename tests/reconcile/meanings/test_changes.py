"""Seeded changes of documents: each is named for its meaning, with its severity."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from iogate.compiler.compile import compile_documents
from iogate.compiler.revision import Bundle
from iogate.compiler.schedules import Schedule
from iogate.documents import load
from iogate.functions import Registry
from iogate.reconcile.meanings.change_kinds import KINDS
from iogate.reconcile.plan import Plan, Side, plan
from iogate.reconcile.plan_facts import CaseVerdicts, Count, Facts
from iogate.settings import Settings
from iogate.store.revisions.due_schedules import Upcoming
from iogate.store.revisions.gate_states import Gate, Override, Switch
from iogate.store.revisions.schedule_states import Pause
from tests.compiler.projects import write

API = """\
module: orders
methods:
  submit:
    workflow: shop/order
    verbs: [POST]
    auth: {token: {env: TOKEN}}
    input: {schema: {type: object, required: [sku], properties: {sku: {type: string, maxLength: 20}}}}
    limits: {rate: 50/s, running: 20, body: 64KiB}
    idempotency: {ttl: 24h}
    timeout: 5m
    retention: 7d
    protect: true
    tags: [billing]
  other:
    workflow: shop/second
    auth: {tokens: {ada: {env: ADA}, bob: {env: BOB}}}
    timeout: 1m
  hook:
    workflow: shop/second
    auth:
      any:
        - {signature: {scheme: stripe, secret: {env: STRIPE}, tolerance: 2m}}
        - {signature: {scheme: meta, secret: {env: META}, verify_token: {env: VERIFY}}}
        - {signature: {scheme: hmac, secret: {env: HOOK}, header: X-Sig, prefix: v1=}}
    timeout: 1m
"""
ORDER = """\
document: {dsl: '1.0.3', namespace: shop, name: order, version: 1.0.0, summary: Takes orders}
use:
  secrets: [pay]
  retries: {often: {delay: {seconds: 1}, limit: {attempt: {count: 3}}}}
timeout: {after: {minutes: 10}}
do:
  - check: {set: {ok: true}}
  - price: {set: {total: 7}}
  - each: {for: {in: '${ .items }'}, do: [{one: {set: '${ $item }'}}]}
  - many:
      metadata: {iogate: {parallel: 5, on_error: continue}}
      for: {in: '${ .items }'}
      do: [{one: {set: '${ $item }'}}]
  - charge:
      try:
        - send:
            call: http
            with: {method: post, endpoint: 'https://pay.example.com/charges', headers: {X-Mode: live}}
      catch: {retry: often}
output: {as: {done: true}}
"""
SECOND = """\
document: {dsl: '1.0.3', namespace: shop, name: second, version: 1.0.0}
input: {schema: {document: {type: object}}}
do: [{run: {run: {script: {language: python, source: {endpoint: 'run.py'}}}}}]
"""
NIGHTLY = """\
document: {dsl: '1.0.3', namespace: shop, name: nightly, version: 1.0.0}
schedule: {every: {hours: 1}}
do: [{clean: {set: {a: 1}}}]
"""
LISTENER = """\
document: {dsl: '1.0.3', namespace: shop, name: listener, version: 1.0.0}
schedule: {on: {one: {with: {type: shop.paid}}}}
do: [{clean: {set: {a: 1}}}]
"""
FILES = {
    "apis.d/orders.yaml": API,
    "workflows.d/order.yaml": ORDER,
    "workflows.d/second.yaml": SECOND,
    "workflows.d/nightly.yaml": NIGHTLY,
    "workflows.d/listener.yaml": LISTENER,
    "workflows.d/run.py": "print(1)\n",
}


def compiled(root: Path, files: dict[str, str], variables: dict[str, str] | None = None) -> Bundle:
    write(root, files)
    settings = Settings(allow_run=("script", "shell"), vars=variables or {"region": "eu"})
    result = compile_documents(load(root), settings, root=root, functions=Registry({}))
    assert result.bundle is not None, result.errors
    return result.bundle


def changed(root: Path, edits: dict[str, tuple[str, str]], facts: Facts | None = None) -> Plan:
    """Return the plan after replacing a text in each of some files; an empty text deletes the file."""
    before = compiled(root / "before", FILES)
    files = dict(FILES)
    for path, (old, new) in edits.items():
        if not old and not new:
            del files[path]
        else:
            text = files.get(path, "")
            assert old in text, f"{path} has no {old!r}"
            files[path] = text.replace(old, new, 1) if old else new
    return plan(Side.of(before), Side.of(compiled(root / "after", files)), facts or Facts())


A, W, S, N, L = (path for path in FILES if path.endswith(".yaml"))
Edit = dict[str, tuple[str, str]]
SEEDED: list[tuple[str, Edit, str, str]] = [
    ("none instead of a token", {A: ("{token: {env: TOKEN}}", "none")}, "auth.weakened",
     "auth weakened (token → none)"),
    ("a second form", {A: ("{token: {env: TOKEN}}",
                           "{any: [{token: {env: TOKEN}}, {user: a, password: {env: P}}]}")},
     "auth.weakened", "auth weakened (token → token or user)"),
    ("a user instead of a token", {A: ("{token: {env: TOKEN}}", "{user: a, password: {env: P}}")},
     "auth.changed", "auth changed (token → user)"),
    ("another variable", {A: ("{env: TOKEN}", "{env: NEXT}")}, "caller.secret",
     'secret of caller "token" changed (env TOKEN → env NEXT)'),
    ("a rotation", {A: ("{token: {env: TOKEN}}", "{token: [{env: TOKEN}, {env: NEXT}]}")}, "caller.secret",
     'secret of caller "token" changed (env TOKEN → env TOKEN and env NEXT)'),
    ("another caller", {A: ("{ada: {env: ADA}, ", "{ada: {env: ADA}, eve: {env: EVE}, ")}, "caller.added",
     'caller "eve" added'),
    ("one caller less", {A: (", bob: {env: BOB}", "")}, "caller.removed", 'caller "bob" removed'),
    ("a list of addresses", {A: ("    timeout: 5m\n",
                                   "    timeout: 5m\n    allow_ips: [10.0.0.0/8, {file: a.txt}]\n")},
     "addresses.narrowed", "allow_ips added: only 10.0.0.0/8 and file a.txt may call"),
    ("an example", {A: ("    tags: [billing]",
                        "    tags: [billing]\n    debug: [{name: a, body: {sku: x}}]")},
     "api.changed", "examples in the documentation changed"),
    ("an own path", {A: ("    tags: [billing]", "    tags: [billing]\n    path: /hooks/orders")},
     "path.added", "path /hooks/orders added (async)"),
    ("a new API with an own path",
     {A: ("  other:", "  new: {workflow: shop/second, auth: none, path: /new}\n  other:")},
     "path.added", "path /new added (async)"),
    ("another signature", {A: ("{scheme: stripe, secret: {env: STRIPE}, tolerance: 2m}",
                               "{scheme: slack, secret: {env: SLACK}}")}, "auth.changed",
     "auth changed (signature hmac or signature meta or signature stripe → "
     "signature hmac or signature meta or signature slack)"),
    ("a longer replay window", {A: ("tolerance: 2m", "tolerance: 3m")}, "auth.weakened",
     'auth weakened (tolerance of sender "stripe" 2m → 3m)'),
    ("a shorter replay window", {A: ("tolerance: 2m", "tolerance: 30s")}, "auth.strengthened",
     'auth strengthened (tolerance of sender "stripe" 2m → 30s)'),
    ("another format", {A: ("prefix: v1=", "prefix: v2=")}, "auth.changed",
     'signature of sender "hmac" has another format'),
    ("another secret of a signature", {A: ("{env: HOOK}", "{file: hook}")}, "caller.secret",
     'secret of sender "hmac" changed (env HOOK → file hook)'),
    ("another verify token", {A: ("{env: VERIFY}", "[{env: VERIFY}, {env: NEXT}]")}, "caller.secret",
     'verify token of sender "meta" changed (env VERIFY → env VERIFY and env NEXT)'),
    ("GET as well", {A: ("verbs: [POST]", "verbs: [GET, POST]")}, "verb.added", "GET added"),
    ("GET instead", {A: ("verbs: [POST]", "verbs: [GET]")}, "verb.removed", "POST removed"),
    ("a required property", {A: ("required: [sku]", "required: [sku, qty]")}, "input.narrowed",
     'input schema narrowed: "qty" required'),
    ("an optional property", {A: ("required: [sku], ", "")}, "input.widened",
     'input schema widened: "sku" optional'),
    ("a shorter text", {A: ("maxLength: 20", "maxLength: 5")}, "input.narrowed",
     "input schema narrowed: /sku: maxLength 20 → 5"),
    ("another type", {A: ("sku: {type: string, maxLength: 20}", "sku: {type: integer}")}, "input.narrowed",
     "input schema narrowed: /sku: type string → integer"),
    ("closed objects", {A: ("{type: object, req", "{type: object, additionalProperties: false, req")},
     "input.narrowed", "input schema narrowed: other properties not allowed any more"),
    ("a schema of any", {A: ("input: {schema: {type: object, required: [sku], properties:"
                             " {sku: {type: string, maxLength: 20}}}}", "description: x")},
     "input.unchecked", "input schema removed: the gateway accepts every input"),
    *((f"the schema {schema}", {A: ("{schema: {type: object, required: [sku], properties:"
                                    " {sku: {type: string, maxLength: 20}}}}", f"{{schema: {schema}}}")},
       "input.unchecked", "input schema has no constraint any more: the gateway accepts every input")
      for schema in ("{}", "{title: Order}")),
    ("the schema of a workflow", {S: ("{type: object}", "{type: object, required: [x]}")}, "input.narrowed",
     'input schema narrowed: "x" required'),
    ("the whole request", {A: ("input: {", "input: {from: request, ")}, "input.from",
     "input comes from the request, no longer from the body"),
    ("stored files", {A: ("input: {", "input: {files: {}, ")}, "files.added",
     "files of calls are stored, up to 16MiB per call: the input has their metadata"),
    ("a lower rate", {A: ("rate: 50/s", "rate: 10/s")}, "limit.lowered",
     "limits.rate lowered (50 per second → 10 per second)"),
    ("a rate in another unit", {A: ("rate: 50/s", "rate: 600/h")}, "limit.lowered",
     "limits.rate lowered (3,000 per minute → 10 per minute)"),
    ("a higher limit", {A: ("running: 20", "running: 40")}, "limit.raised",
     "limits.running raised (20 → 40)"),
    ("no rate", {A: ("rate: 50/s, ", "")}, "limit.removed", "limits.rate removed (was 50 per second)"),
    ("a new limit", {A: ("rate: 50/s", "rate: 50/s, burst: 9")}, "limit.added", "limits.burst added (9)"),
    ("a rate per caller", {A: ("rate: 50/s", "rate: 50/s, per: caller")}, "limit.raised",
     "limits.rate (50 per second) is that of each caller, no longer that of all calls together"),
    ("a concurrency key", {A: ("rate: 50/s", "rate: 50/s, concurrency: {key: /c}")}, "limit.added",
     "limits.concurrency added: at most 1 of the runs with an equal /c at once; the others wait"),
    ("a replacing queue", {A: ("rate: 50/s", "rate: 50/s, on_full: replace")}, "limit.full",
     "a full queue cancels its oldest run, instead of refusing a call"),
    ("a priority", {A: ("rate: 50/s", "rate: 50/s, priority: 9")}, "limit.priority",
     "priority raised (5 → 9)"),
    ("coalesced calls", {A: ("    tags: [billing]", "    coalesce: {key: /sku, window: 10s}")},
     "coalesce.added", "coalesce added: calls with an equal /sku within 10s become one run"),
    ("an attribute", {A: ("    tags: [billing]", "    attributes: {order: /order}")},
     "attribute.added", "attribute order added: new runs are found by the input at /order"),
    ("smaller bodies", {A: ("body: 64KiB", "body: 1KiB")}, "limit.lowered",
     "limits.body lowered (64KiB → 1KiB)"),
    ("a shorter timeout", {A: ("timeout: 5m", "timeout: 1m")}, "timeout.shortened",
     "timeout shortened (5m → 1m)"),
    ("a shorter retention", {A: ("retention: 7d", "retention: 1d")}, "retention.shortened",
     "retention shortened (7d → 1d), of new runs"),
    ("more recorded", {A: ("    tags: [billing]", "    record: all")}, "record.extended",
     "recording extended (errors → all), of new runs"),
    ("less recorded", {A: ("    tags: [billing]", "    record: none")}, "record.reduced",
     "recording reduced (errors → none), of new runs"),
    ("a callback", {A: ("    tags: [billing]",
                       "    callback: {url: 'https://h.example/a', secret: {env: CB}}")}, "callback.added",
     "callback added: the output of new runs is sent to https://h.example/a"),
    ("a fault handler", {A: ("    tags: [billing]", "    on_fault: shop/second")}, "on_fault.added",
     "a fault of a new run starts shop/second:1.0.0"),
    ("another header", {A: ("{ttl: 24h}", "{header: X-Key, ttl: 24h}")}, "idempotency.header",
     "idempotency header changed (Idempotency-Key → X-Key): the old header has no effect"),
    ("a key in the input", {A: ("{ttl: 24h}", "{header: Idempotency-Key, pointer: /id}")},
     "idempotency.pointer",
     "idempotency pointer /id added: calls with an equal value there and another input get a 422"),
    ("no header", {A: ("{ttl: 24h}", "{pointer: /id}")}, "idempotency.header",
     "idempotency header Idempotency-Key removed: it has no effect any more"),
    ("a required key", {A: ("{ttl: 24h}", "{required: true}")}, "idempotency.required",
     "idempotency key required: a call without one is refused"),
    ("a shorter ttl", {A: ("ttl: 24h", "ttl: 1h")}, "idempotency.shortened",
     "idempotency ttl shortened (1d → 1h)"),
    ("no protection", {A: ("protect: true", "protect: false")}, "protect.removed", "protection removed"),
    ("other tags", {A: ("[billing]", "[billing, new]")}, "api.changed", "tags changed"),
    ("disabled by git", {A: ("    tags: [billing]", "    enabled: false")}, "enabled.off",
     "git takes over whether it is enabled: disabled"),
    ("another workflow", {A: ("workflow: shop/order", "workflow: shop/second")}, "target.changed",
     "workflow changed (shop/order:1.0.0 → shop/second:1.0.0)"),
    ("a new API", {A: ("  other:", "  third: {workflow: shop/order, auth: none, timeout: 1m}\n  other:")},
     "api.added", "API added: POST /v1/api/orders/third/async, disabled until enabled"),
    ("a deleted API", {A: (API[API.index("  other:"):], "")}, "api.removed",
     "API removed: callers get a 404"),
    ("another address", {W: ("pay.example.com", "pay.example.org")}, "endpoint.changed",
     "/do/4/charge/try/0/send/with/endpoint changed "
     "(https://pay.example.com/charges → https://pay.example.org/charges)"),
    ("another method", {W: ("method: post", "method: put")}, "task.changed",
     "/do/4/charge/try/0/send/with/method changed (post → put)"),
    ("a new task", {W: ("  - price:", "  - audit: {set: {seen: true}}\n  - price:")}, "task.added",
     'task "audit" added at /do/1/audit'),
    ("a task less", {W: ("  - check: {set: {ok: true}}\n", "")}, "task.removed",
     'task "check" removed at /do/0/check'),
    ("a renamed task", {W: ("- check:", "- verify:")}, "task.renamed", 'task "verify" renamed, was "check"'),
    ("tasks in another order", {W: ("  - check: {set: {ok: true}}\n  - price: {set: {total: 7}}\n",
                                    "  - price: {set: {total: 7}}\n  - check: {set: {ok: true}}\n")},
     "task.moved", "moved, was at /do/"),
    ("more retries", {W: ("count: 3", "count: 9")}, "task.changed",
     "/use/retries/often/limit/attempt/count changed (3 → 9)"),
    ("iterations at once", {W: ("each: {for", "each: {metadata: {iogate: {parallel: 9}}, for")},
     "loop.parallel", 'up to 9 iterations of "each" run at once: its output becomes the list of'),
    ("one iteration at a time", {W: ("{parallel: 5, on_error: continue}", "{}")}, "loop.parallel",
     'iterations of "many" run one after the other: its output becomes that of the last one'),
    ("more iterations at once", {W: ("parallel: 5", "parallel: 500")}, "loop.raised",
     'up to 500 iterations of "many" run at once, was 5'),
    ("fewer iterations at once", {W: ("parallel: 5", "parallel: 2")}, "loop.lowered",
     'up to 2 iterations of "many" run at once, was 5'),
    ("errors of iterations fail", {W: (", on_error: continue", "")}, "loop.errors",
     'an error in an iteration of "many" cancels the others and fails the task'),
    ("errors of iterations stay", {W: ("each: {for", "each: {metadata: {iogate: {parallel: 1, "
                                       "on_error: continue}}, for")}, "loop.errors",
     'an error in an iteration of "each" takes the place of its output, and no longer fails the task'),
    ("another output", {W: ("{done: true}", "{done: false}")}, "output.changed",
     "/output/as/done changed (true → false)"),
    ("a new secret", {W: ("[pay]", "[pay, bank]")}, "secret.added",
     'secret "bank" is needed: set it for the workers'),
    ("a first secret", {S: ("do: [{run:", "use: {secrets: [vault]}\ndo: [{run:")}, "secret.added",
     'secret "vault" is needed: set it for the workers'),
    ("another summary", {W: ("Takes orders", "Sells")}, "workflow.changed",
     "/document/summary changed (Takes orders → Sells)"),
    ("a timeout of the workflow", {W: ("{minutes: 10}", "{minutes: 2}")}, "task.changed",
     "/timeout/after changed (PT10M → PT2M)"),
    ("a deleted workflow", {N: ("", "")}, "workflow.removed", "workflow removed"),
    ("a slower schedule", {N: ("{hours: 1}", "{hours: 2}")}, "schedule.changed",
     "schedule changed (every 1h → every 2h)"),
    ("other events", {L: ("shop.paid", "shop.sold")}, "schedule.changed",
     "schedule changed (other events); its standing run is cancelled"),
    ("no schedule", {L: ("schedule: {on: {one: {with: {type: shop.paid}}}}\n", "")}, "schedule.removed",
     "schedule removed (on events); its standing run is cancelled"),
    ("another script", {"workflows.d/run.py": ("print(1)", "print(2)")}, "resource.changed",
     "content changed ("),
]  # fmt: skip


@pytest.mark.parametrize(("edits", "kind", "text"), [case[1:] for case in SEEDED], ids=[c[0] for c in SEEDED])
def test_a_change_is_named_for_its_meaning(tmp_path: Path, edits: Edit, kind: str, text: str) -> None:
    meanings = [meaning for change in changed(tmp_path, edits).changes for meaning in change.meanings]
    assert any(each.kind == kind and text in each.text for each in meanings), meanings
    assert {each.severity for each in meanings} <= {KINDS[kind], "caution", "neutral"}, "nothing worse"


def test_there_are_at_least_forty_seeded_changes() -> None:
    assert len(SEEDED) >= 40
    assert len({name for name, *_ in SEEDED}) == len(SEEDED)


PHANTOMS: dict[str, Edit] = {
    "comments": {A: ("module: orders", "# a comment\nmodule: orders  # another")},
    "order of keys": {S: ("language: python, source: {endpoint: 'run.py'}",
                          "source: {endpoint: 'run.py'}, language: python")},
    "a default of an API": {A: ("limits: {rate: 50/s,", "limits: {queued: 10000, rate: 50/s,")},
    "a default of recording": {A: ("    tags:", "    record: errors\n    tags:")},
    "a default verb": {A: ("    verbs: [POST]\n", "")},
    "another unit": {A: ("retention: 7d", "retention: 168h")},
    "a default of a task": {W: ("{set: {ok: true}}", "{set: {ok: true}, then: continue}")},
    "debug cases": {A: ("    tags:", "    debug: [{name: a, body: {sku: x}, example: false}]\n    tags:")},
    "quotes": {S: ("namespace: shop, name: second", "namespace: 'shop', name: \"second\"")},
}  # fmt: skip


@pytest.mark.parametrize("edits", PHANTOMS.values(), ids=PHANTOMS)
def test_a_spelling_is_no_change(tmp_path: Path, edits: Edit) -> None:
    found = changed(tmp_path, edits)
    assert not found, found.to_json()
    assert found.summary() == "No changes: live is the same as the files"


def test_a_renamed_file_is_no_change(tmp_path: Path) -> None:
    before = compiled(tmp_path / "before", FILES)
    names = {path.replace("order", "renamed"): text for path, text in FILES.items()}
    assert not plan(Side.of(before), Side.of(compiled(tmp_path / "after", names)), Facts())


def test_a_default_counts_if_an_expression_reads_the_definition(tmp_path: Path) -> None:
    reading = ORDER.replace("{total: 7}", "{total: '${ $workflow.definition.do | length }'}")
    before = compiled(tmp_path / "a", {**FILES, W: reading})
    after = compiled(
        tmp_path / "b", {**FILES, W: reading.replace("{ok: true}}", "{ok: true}, then: continue}")}
    )
    assert [change.id for change in plan(Side.of(before), Side.of(after), Facts()).changes] == [
        "shop/order:1.0.0"
    ]


def test_another_value_of_a_variable_is_told(tmp_path: Path) -> None:
    reading = {**FILES, W: ORDER.replace("{total: 7}", "{total: '${ $runtime.vars.region }'}")}
    before = compiled(tmp_path / "a", reading)
    after = compiled(tmp_path / "b", reading, {"region": "us", "password": "unused"})
    (change,) = plan(Side.of(before), Side.of(after), Facts()).changes
    assert [(each.kind, each.text) for each in change.meanings] == [
        ("variable.changed", "/vars/region changed (eu → us)")
    ]


def gate(*, enabled: bool = True, switched: Switch | None = None, override: Override | None = None) -> Gate:
    return Gate(
        api="orders/submit",
        enabled=enabled,
        digest="",
        git=None,
        override=override,
        queued=1,
        running=2,
        switched=switched,
    )


def texts(found: Plan) -> list[str]:
    return [meaning.text for change in found.changes for meaning in change.meanings]


def test_facts_of_the_store_complete_the_meanings(tmp_path: Path) -> None:
    facts = Facts(
        now_ms=1_000_000,
        in_flight={"shop/order:1.0.0": {41: Count(number=3)}, "orders/other": {0: Count(number=1)}},
        aged={"orders/submit": Count(number=1204)},
        upcoming={
            "shop/listener": Upcoming(
                workflow="shop/listener:1.0.0",
                schedule=compiled(tmp_path / "x", FILES).revision.scheduled["shop/listener"][1],
                next_ms=None,
                run="77",
            )
        },
        cases={"orders/submit": CaseVerdicts(total=5, failing=("a", "b"))},
    )
    edits = {
        A: ("retention: 7d", "retention: 1d"),
        W: ("method: post", "method: put"),
        L: ("shop.paid", "shop.sold"),
        N: ("{hours: 1}", "{hours: 2}"),
    }
    found = texts(changed(tmp_path, edits, facts))
    assert "3 runs in flight stay pinned to revision 41" in found
    aged = "retention shortened (7d → 1d), of new runs: 1,204 finished runs are older than that"
    assert f"{aged} and keep their 7d" in found
    assert any("its standing run 77 is cancelled" in each for each in found)
    assert "schedule changed (every 1h → every 2h): next tick at 1970-01-01T02:16:40Z" in found
    narrowed = texts(changed(tmp_path / "n", {A: ("maxLength: 20", "maxLength: 5")}, facts))
    assert narrowed == [
        "input schema narrowed: 2 of 5 debug cases are now refused (/sku: maxLength 20 → 5)",
    ]


def test_a_changed_schedule_says_whether_its_next_tick_moves(tmp_path: Path) -> None:
    hour, now_ms = 3_600_000, 1_000_000
    edit = {N: ("{hours: 1}", "{hours: 2}")}
    for at_ms, said in (
        (now_ms + 2 * hour, "next tick stays at 1970-01-01T02:16:40Z"),
        (now_ms + hour, "next tick moves to 1970-01-01T02:16:40Z from 1970-01-01T01:16:40Z"),
    ):
        schedule = Schedule(kind="every", program="p", milliseconds=hour)
        current = Upcoming(workflow="shop/nightly", schedule=schedule, next_ms=at_ms, run=None)
        facts = Facts(now_ms=now_ms, upcoming={"shop/nightly": current})
        found = texts(changed(tmp_path / str(at_ms), edit, facts))
        assert f"schedule changed (every 1h → every 2h): {said}" in found


def test_an_only_form_of_any_is_no_change(tmp_path: Path) -> None:
    alone = {A: ("auth: {token: {env: TOKEN}}", "auth: {any: [{token: {env: TOKEN}}]}")}
    assert not changed(tmp_path / "a", alone)
    old, new = (
        "auth: {token: {env: TOKEN}}\n",
        "auth: {any: [{token: {env: TOKEN}}]}\n    description: other\n",
    )
    (change,) = changed(tmp_path / "b", {A: (old, new)}).changes
    assert [each.pointer for each in change.meanings] == ["/description"]


def test_a_disabled_schedule_has_no_ticks_and_no_standing_run(tmp_path: Path) -> None:
    listener = compiled(tmp_path / "x", FILES).revision.scheduled["shop/listener"][1]
    waiting = Upcoming(
        workflow="shop/listener:1.0.0", schedule=listener, next_ms=None, run=None, disabled=True
    )
    edits = {N: ("{hours: 1}", "{hours: 2}"), L: ("shop.paid", "shop.sold")}
    for until_ms, said in ((None, ""), (7_200_000, " until 1970-01-01T02:00:00Z")):
        pause = Pause(author="ada", reason="", since_ms=0, until_ms=until_ms)
        facts = Facts(
            now_ms=1_000_000,
            upcoming={"shop/listener": waiting},
            pauses={"shop/nightly": pause, "shop/listener": pause},
        )
        found = texts(changed(tmp_path / str(until_ms), edits, facts))
        assert sorted(text for text in found if text.startswith("schedule")) == [
            f"schedule changed (every 1h → every 2h): it stays disabled{said}",
            f"schedule changed (other events): it stays disabled{said}",
        ]
    removed = {L: ("schedule: {on: {one: {with: {type: shop.paid}}}}\n", "")}
    facts = Facts(now_ms=1_000_000, upcoming={"shop/listener": waiting})
    assert "schedule removed (on events)" in texts(changed(tmp_path / "removed", removed, facts))


def test_runs_of_several_revisions_are_counted_together(tmp_path: Path) -> None:
    counts = {
        number: Count(number=amount, at_least=True) for number, amount in {7: 2, 8: 1, 12: 4, 13: 1}.items()
    }
    found = texts(
        changed(tmp_path, {W: ("method: post", "method: put")}, Facts(in_flight={"shop/order:1.0.0": counts}))
    )
    assert "at least 8 runs in flight stay pinned to revisions 7 to 13" in found


def test_whether_an_api_is_enabled_is_told_with_its_switch(tmp_path: Path) -> None:
    edits = {A: ("    tags: [billing]", "    enabled: true")}
    taken = "git takes over whether it is enabled: enabled"
    on = {"orders/submit": gate(enabled=True)}
    assert f"{taken}, as it is now" in texts(changed(tmp_path / "a", edits, Facts(gates=on)))
    off = {"orders/submit": gate(enabled=False)}
    assert f"{taken} (it is disabled now)" in texts(changed(tmp_path / "b", edits, Facts(gates=off)))
    override = Override(enabled=False, author="ada", reason="", set_at_ms=0, expires_at_ms=9)
    kept = {"orders/submit": gate(enabled=False, override=override)}
    assert f"{taken} (it is disabled now); an override keeps it disabled" in texts(
        changed(tmp_path / "c", edits, Facts(gates=kept))
    )


def test_deletion_of_an_api_on_hold_says_that_its_runs_stay_so(tmp_path: Path) -> None:
    before = compiled(tmp_path / "a", FILES)
    after = compiled(tmp_path / "b", {name: text for name, text in FILES.items() if name != A})
    facts = Facts(gates={"orders/submit": msgspec.structs.replace(gate(), held=True)})
    found = texts(plan(Side.of(before), Side.of(after), facts))
    assert "3 runs are accepted and not ended; those on hold stay so" in found


def test_an_api_that_a_person_has_disabled_stays_disabled_when_git_takes_over(tmp_path: Path) -> None:
    by = Switch(author="ada", reason="", set_at_ms=0)
    facts = Facts(gates={"orders/submit": gate(enabled=False, switched=by)})
    found = texts(changed(tmp_path, {A: ("    tags: [billing]", "    enabled: true")}, facts))
    assert (
        "git takes over whether it is enabled: enabled (it is disabled now); "
        "it stays disabled, because ada has disabled it" in found
    )


@pytest.mark.parametrize("enabled", [True, False])
def test_an_api_that_git_gives_back_stays_as_it_is(tmp_path: Path, *, enabled: bool) -> None:
    with_git = {**FILES, A: API.replace("    tags: [billing]", "    enabled: true")}
    before = compiled(tmp_path / "a", with_git)
    after = compiled(tmp_path / "b", {**FILES, A: API.replace("    tags: [billing]\n", "")})
    facts = Facts(gates={"orders/submit": gate(enabled=enabled)})
    (change,) = plan(Side.of(before), Side.of(after), facts).changes
    assert [(each.kind, each.text.partition("decides, and ")[2]) for each in change.meanings] == [
        ("enabled.released", f"it stays {'enabled' if enabled else 'disabled'}")
    ]


def test_marked_changes_are_listed_first(tmp_path: Path) -> None:
    found = changed(
        tmp_path,
        {
            A: ("auth: {token: {env: TOKEN}}", "auth: none"),
            W: ("Takes orders", "Sells"),
            N: ("{hours: 1}", "{hours: 2}"),
        },
    )
    assert [change.severity for change in found.changes] == ["weakening", "caution", "neutral"]
    assert found.summary() == "Plan: 0 to add, 3 to change, 0 to delete (1 weakening)"
