# ruff: noqa: E501 - the text replaced and its replacement are easier to compare unbroken
"""Over sixty typical mistakes, each in a document that is valid without it.

`⟦` in the replacement marks where the mistake is, as a person would point at it; the mark is taken out
before the document is read.
"""

from __future__ import annotations

from dataclasses import dataclass

API = """\
module: orders
description: Order intake
auth: {token: {env: ORDERS_TOKEN}}
timeout: 5m
methods:
  submit:
    description: Take an order
    verbs: [POST]
    workflow: shop/fulfil-order
    enabled: true
    auth:
      user: iolinker
      password: {env: ORDERS_PASSWORD}
    input:
      from: body
      schema: {type: object, required: [sku]}
    limits: {body: 1MiB, rate: 50/s, burst: 100, queued: 10000, running: 20}
    idempotency: {header: Idempotency-Key, ttl: 24h}
    retention: 7d
    protect: false
    tags: [billing]
    metadata: {owner: team-a}
    debug:
      - name: happy path
        verb: POST
        body: {sku: A-1}
        mocks: {/do/0/charge: {output: {paid: true}}}
        expect: {http: 202, status: completed, output: {ok: true}}
  cancel:
    workflow: shop/cancel-order:1.0.0
"""

WORKFLOW = """\
document:
  dsl: 1.0.0
  namespace: shop
  name: fulfil-order
  version: 1.0.0
input:
  schema:
    document: {type: object}
use:
  retries:
    patient:
      delay: {seconds: 3}
      backoff:
        exponential: {}
      limit: {attempt: {count: 5}}
do:
  - charge:
      call: http
      with:
        method: post
        endpoint: https://pay.example/charges
        body: {sku: "${ .sku }"}
        output: content
      timeout: {after: PT30S}
  - decide:
      switch:
        - paid:
            when: .paid
            then: ship
        - default:
            then: end
  - ship:
      for: {each: item, in: .items, at: index}
      while: .open
      do:
        - pack:
            run:
              script:
                language: python
                code: print(1)
                arguments: [a, b]
        - pause:
            wait: {minutes: 5}
  - guard:
      try:
        - send:
            call: notify:1.0.0@default
            with: {to: ops}
      catch:
        errors: {with: {status: 503}}
        retry: patient
        do:
          - note:
              set: {failed: true}
  - report:
      listen:
        to:
          one: {with: {type: com.example.shipped}}
        read: data
  - give-up:
      if: .failed
      raise:
        error: {type: https://example.com/errors/failed, status: 500}
"""


@dataclass(frozen=True)
class Seed:
    name: str
    base: str
    old: str
    new: str
    code: str

    def planted(self) -> tuple[str, int, int]:
        """The document with the mistake, and its line and column."""
        assert self.base.count(self.old) == 1, f"{self.name}: stands {self.base.count(self.old)} times"
        marked = self.base.replace(self.old, self.new)
        before = marked[: marked.index("⟦")]
        line = before.count("\n") + 1
        return marked.replace("⟦", ""), line, len(before) - (before.rfind("\n") + 1) + 1


def _api(name: str, old: str, new: str, code: str) -> Seed:
    return Seed(name, API, old, new, code)


def _workflow(name: str, old: str, new: str, code: str) -> Seed:
    return Seed(name, WORKFLOW, old, new, code)


SEEDS = (
    # typos
    _api(
        "a misspelt key", "    workflow: shop/fulfil-order\n", "    ⟦workfow: shop/fulfil-order\n", "IOG101"
    ),
    _api("another word for a key", "    verbs: [POST]", "    ⟦methods: [POST]", "IOG101"),
    _api("a misspelt limit", "queued: 10000", "⟦queue: 10000", "IOG101"),
    _api("a misspelt module key", "methods:\n", "⟦method:\n", "IOG101"),
    _api("a misspelt way to authenticate", "{token: {env: ORDERS_TOKEN}}", "{⟦tokn: {env: A}}", "IOG101"),
    _api("a misspelt key of a case", "        mocks:", "        ⟦moks:", "IOG101"),
    _api("a key in the wrong case", "    retention: 7d", "    ⟦Retention: 7d", "IOG101"),
    _workflow("a misspelt task key", "      with:\n        method", "      ⟦wiht:\n        method", "IOG201"),
    _workflow("a misspelt kind of task", "      switch:", "      ⟦swtich:", "IOG207"),
    _workflow("a misspelt argument", "        endpoint: https", "        ⟦endpont: https", "IOG201"),
    _workflow("a misspelt process", "              script:", "              ⟦scrpt:", "IOG201"),
    _workflow("a misspelt document key", "  version: 1.0.0\n", "  ⟦verison: 1.0.0\n", "IOG201"),
    _workflow("a misspelt backoff", "        exponential: {}", "        ⟦exponentiel: {}", "IOG201"),
    _workflow("a misspelt strategy", "          one: {with", "          ⟦onne: {with", "IOG201"),
    _workflow("a misspelt duration unit", "{minutes: 5}", "{⟦minuts: 5}", "IOG201"),
    _workflow("a misspelt document", "document:\n  dsl", "⟦documnt:\n  dsl", "IOG201"),
    Seed("a misspelt kind of document", "module: a\n", "module", "⟦modul", "IOG135"),
    # wrong indentation
    _api("a key indented too far", "    enabled: true", "      ⟦enabled: true", "IOG120"),
    _api(
        "a method not indented below its name", "  cancel:\n    workflow", "  cancel:\n  ⟦workflow", "IOG111"
    ),
    _api("a key between two levels", "    protect: false", "   ⟦protect: false", "IOG120"),
    _api(
        "a list item out of line",
        "      - name: happy path\n        verb: POST",
        "      - name: happy path\n       ⟦verb: POST",
        "IOG120",
    ),
    _workflow(
        "a task not indented below its name",
        "  - report:\n      listen:\n        to:\n          one: {with: {type: com.example.shipped}}\n        read: data\n",
        "  - report:\n    ⟦listen:\n      to:\n        one: {with: {type: com.example.shipped}}\n      read: data\n",
        "IOG209",
    ),
    _workflow("a tab", "      call: http", "⟦\t  call: http", "IOG130"),
    _workflow("a task without its dash", "  - report:", "    ⟦report:", "IOG209"),
    _workflow(
        "a case not indented",
        "        - paid:\n            when: .paid\n            then: ship",
        "        - paid:\n          ⟦when: .paid\n          then: ship",
        "IOG209",
    ),
    # syntax
    _api("a bracket left open", "    verbs: [POST]", "    verbs: ⟦[POST", "IOG120"),
    _api(
        "a brace left open",
        "{header: Idempotency-Key, ttl: 24h}",
        "⟦{header: Idempotency-Key, ttl: 24h",
        "IOG120",
    ),
    _api("a quote left open", "description: Take an order", 'description: ⟦"Take an order', "IOG120"),
    _api("a colon in a plain value", "description: Take an order", "description: ⟦Take: an order", "IOG120"),
    _api("a key without a colon", "    enabled: true\n", "    ⟦enabled\n", "IOG120"),
    _api("no space after the colon", "    enabled: true\n", "    ⟦enabled:true\n", "IOG120"),
    _api("a value that starts with @", "owner: team-a", "owner: ⟦@team-a", "IOG120"),
    _api("an anchor that is nowhere", "owner: team-a", "owner: ⟦*team", "IOG123"),
    _api("a merge key", "    protect: false", "    ⟦<<: {protect: false}", "IOG131"),
    _api("a tag of a language", "owner: team-a", "owner: ⟦!!python/name:os.system x", "IOG122"),
    _workflow("an expression in braces without quotes", '"${ .sku }"', "⟦${ .sku }", "IOG120"),
    # duplicates
    _api("a key twice", "    retention: 7d", "    retention: 7d\n    ⟦retention: 8d", "IOG121"),
    _api("a method twice", "  cancel:\n", "  ⟦submit:\n    workflow: a/b\n  cancel:\n", "IOG121"),
    _api("a verb twice", "verbs: [POST]", "verbs: ⟦[POST, POST]", "IOG109"),
    _workflow("a root key twice", "\nuse:\n", "\n⟦input: {}\nuse:\n", "IOG121"),
    # wrong types
    _api("a number for a rate", "rate: 50/s", "rate: ⟦50", "IOG103"),
    _api("a number for a secret", "password: {env: ORDERS_PASSWORD}", "password: ⟦123456", "IOG108"),
    _api("yes for true", "    enabled: true", "    enabled: ⟦yes", "IOG103"),
    _api("text for a list", "tags: [billing]", "tags: ⟦billing", "IOG103"),
    _api("a list for a mapping", "metadata: {owner: team-a}", "metadata: ⟦[owner]", "IOG103"),
    _api("text for a count", "queued: 10000", "queued: ⟦many", "IOG103"),
    _api("a number for a module", "module: orders", "module: ⟦42", "IOG103"),
    _workflow("a number for a version", "  version: 1.0.0\n", "  version: ⟦1.0\n", "IOG203"),
    _workflow("text for a count of tries", "count: 5", "count: ⟦five", "IOG203"),
    _workflow("a mapping for arguments", "arguments: [a, b]", "arguments: ⟦{a: b}", "IOG203"),
    _workflow(
        "a mapping for the list of tasks",
        "      try:\n        - send:\n            call",
        "      ⟦try:\n          send:\n            call",
        "IOG203",
    ),
    _workflow("a number for an exit", "            then: end", "            then: ⟦3", "IOG203"),
    # missing and empty
    _api(
        "no workflow",
        "  cancel:\n    workflow: shop/cancel-order:1.0.0\n",
        "  ⟦cancel:\n    description: Stop\n",
        "IOG102",
    ),
    Seed(
        "no authentication",
        API.replace("auth: {token: {env: ORDERS_TOKEN}}\n", ""),
        "  cancel:",
        "  ⟦cancel:",
        "IOG107",
    ),
    _api(
        "no password",
        "    auth:\n      user: iolinker\n      password: {env: ORDERS_PASSWORD}\n",
        "    ⟦auth:\n      user: iolinker\n",
        "IOG102",
    ),
    _api("a key without a value", "    retention: 7d", "    ⟦retention:", "IOG110"),
    _workflow("no version of the DSL", "document:\n  dsl: 1.0.0\n", "⟦document:\n", "IOG202"),
    _workflow(
        "no endpoint",
        "      with:\n        method: post\n        endpoint: https://pay.example/charges\n",
        "      ⟦with:\n        method: post\n",
        "IOG202",
    ),
    _workflow(
        "no outcome of a case",
        "        - paid:\n            when: .paid\n            then: ship",
        "        - ⟦paid:\n            when: .paid",
        "IOG202",
    ),
    _workflow(
        "no catch",
        "  - guard:\n      try:\n        - send:\n            call: notify:1.0.0@default\n            with: {to: ops}\n      catch:\n        errors: {with: {status: 503}}\n        retry: patient\n        do:\n          - note:\n              set: {failed: true}\n",
        "  - ⟦guard:\n      try:\n        - send:\n            call: notify:1.0.0@default\n",
        "IOG202",
    ),
    _workflow(
        "an empty task",
        "  - give-up:\n      if: .failed\n      raise:\n        error: {type: https://example.com/errors/failed, status: 500}\n",
        "  - ⟦give-up:\n",
        "IOG210",
    ),
    # forms
    _api("a duration in words", "timeout: 5m", "timeout: ⟦5 minutes", "IOG105"),
    _api("a duration of months", "retention: 7d", "retention: ⟦P1M", "IOG105"),
    _api("a size in words", "body: 1MiB", "body: ⟦1 megabyte", "IOG105"),
    _api(
        "a workflow without its namespace", "workflow: shop/fulfil-order", "workflow: ⟦fulfil-order", "IOG105"
    ),
    _api("a route with a space", "  cancel:", "  ⟦cancel order:", "IOG105"),
    _api("a hash of nothing", "{env: ORDERS_PASSWORD}", "{hash: ⟦sha256:abc}", "IOG105"),
    _workflow("a short duration", "after: PT30S", "after: ⟦30s", "IOG205"),
    _workflow("a namespace with an underscore", "namespace: shop", "namespace: ⟦my_shop", "IOG205"),
    _workflow(
        "a URI with a space",
        "endpoint: https://pay.example/charges",
        "endpoint: ⟦https://pay.example/my charges",
        "IOG205",
    ),
    # choices
    _api("a verb that is none", "verbs: [POST]", "verbs: [⟦PUT]", "IOG104"),
    _api("a verb in lower case", "        verb: POST", "        verb: ⟦post", "IOG104"),
    _api("a status that is none", "status: completed", "status: ⟦done", "IOG104"),
    _workflow("a content that is none", "output: content", "output: ⟦body", "IOG204"),
    _workflow("a misspelt choice", "        read: data", "        read: ⟦date", "IOG204"),
    # wrong places
    _api("a workflow among the methods", "  cancel:\n", "  ⟦workflow: a/b\n  cancel:\n", "IOG111"),
    _workflow(
        "a JSON Schema without document",
        "  schema:\n    document: {type: object}",
        "  ⟦schema:\n    type: object",
        "IOG206",
    ),
    _api("a limit on the method", "    protect: false", "    protect: false\n    ⟦rate: 5/s", "IOG101"),
    _api("a workflow on the module", "timeout: 5m", "timeout: 5m\n⟦workflow: a/b", "IOG101"),
    _workflow(
        "arguments beside with",
        "      timeout: {after: PT30S}",
        "      timeout: {after: PT30S}\n      ⟦headers: {a: b}",
        "IOG201",
    ),
    _workflow("a retry beside catch", "      catch:\n", "      ⟦retry: patient\n      catch:\n", "IOG201"),
    _workflow(
        "two kinds in one task",
        "            wait: {minutes: 5}",
        "            wait: {minutes: 5}\n            ⟦set: {a: 1}",
        "IOG208",
    ),
    _workflow(
        "a code and a source",
        "                code: print(1)\n",
        "                code: print(1)\n                ⟦source: {endpoint: a.py}\n",
        "IOG206",
    ),
)
