"""Templates of the files that `init` and `new` create: small documents that run unchanged.

Templates are plain text with inserted values; the results are validated like any other document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from textwrap import indent
from typing import Any

DSL = "1.0.3"

SETTINGS = """\
# Settings of this project; each has an environment variable IOGATE_… of the same name.
allow_run: [script]        # what workflows may start as processes: script, shell, container
"""

HELLO_API = """\
module: hello
description: A first API, to try out and to delete
auth: none                 # anyone may call; `iogate secret new` makes a token
methods:
  greet:
    description: Greet someone by name
    verbs: [GET, POST]
    workflow: hello/greet
    enabled: true
    input:
      schema:
        type: object
        properties: {name: {type: string, maxLength: 100}}
    timeout: 1m
    debug:
      - name: by name
        body: {name: Ada}
        expect: {http: 202, status: completed, output: {greeting: "Hello, Ada!"}}
      - name: nobody in particular
        body: {}
        expect: {http: 202, status: completed, output: {greeting: "Hello, world!"}}
"""

HELLO_WORKFLOW = f"""\
document:
  dsl: {DSL}
  namespace: hello
  name: greet
  version: 1.0.0
do:
  - greet:
      set:
        greeting: ${{ "Hello, " + (.name // "world") + "!" }}
"""


def api(module: str, method: str, workflow: str, *, case: str) -> str:
    """Return the template of an API document: a module with one method."""
    return f"""\
module: {_text(module)}
auth: {{token: {{env: {_variable(module)}_TOKEN}}}}
methods:
{indent(method_block(method, workflow, case=case), "  ")}"""


def method_block(method: str, workflow: str, *, case: str) -> str:
    """Return the template of one new method, for the key `methods`."""
    return f"""\
{_text(method)}:
  verbs: [POST]
  workflow: {workflow}
  timeout: 5m
  debug:
{indent(case, "    ")}"""


def workflow(namespace: str, name: str, task: str) -> str:
    """Return the template of a workflow document with one task."""
    return f"""\
document:
  dsl: {DSL}
  namespace: {_text(namespace)}
  name: {_text(name)}
  version: 1.0.0
do:
{indent(task, "  ")}"""


def set_task() -> tuple[str, str]:
    """Return the template of a task that returns its input, and its debug case."""
    task = """\
- answer:
    set:
      received: ${ . }
"""
    case = """\
- name: happy path
  body: {hello: world}
  expect: {http: 202, status: completed, output: {received: {hello: world}}}
"""
    return task, case


SCRIPT = '''\
"""Runs once for each call: the input is JSON on stdin, the output is the JSON that it prints."""

import json
import sys

given = json.load(sys.stdin)
print(json.dumps({"received": given}))
'''


def script_task(endpoint: str) -> tuple[str, str]:
    """Return the template of a task that runs a Python script with JSON on stdin, and its debug case."""
    task = f"""\
- run:
    run:
      script:
        language: python
        source: {{endpoint: {_text(endpoint)}}}
        stdin: ${{ tojson }}           # the input, as JSON
    output:
      as: ${{ . as $text | try fromjson catch $text }}   # what it prints: JSON, else text
"""
    return task, _plain_case()


def function_task(reference: str, schema: Mapping[str, Any]) -> tuple[str, str]:
    """Return the template of a task that calls a Python function with the input, and its debug case."""
    required = schema["required"]
    arguments = "".join(f"      {_text(name)}: ${{ .{name} }}\n" for name in required)
    head = "    with:\n" if required else ""
    optional = [name for name in schema["properties"] if name not in required]
    spare = "".join(f"      # {_text(name)}: ${{ .{name} }}   # optional\n" for name in optional)
    if optional and not required:
        head = "    # with:\n"
    task = f"- call:\n    call: {reference}@default\n{head}{arguments}{spare}"
    body = {name: _sample(schema["properties"][name], schema.get("$defs", {})) for name in required}
    return task, _plain_case(body)


_SAMPLES: Mapping[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": [],
    "object": {},
}


def _sample(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """Return a value for the debug case of a template, which a schema that comes from annotations accepts."""
    match schema:
        case {"$ref": str(reference)}:
            return _sample(definitions.get(reference.rpartition("/")[2], {}), definitions)
        case {"enum": [first, *_]} | {"const": first}:
            return first
        case {"anyOf": [first, *_]}:
            return _sample(first, definitions)
        case {"properties": Mapping() as properties}:
            return {name: _sample(properties[name], definitions) for name in schema.get("required", ())}
        case {"type": str(kind)}:
            return _SAMPLES.get(kind)
    return None


def http_task(url: str) -> tuple[str, str]:
    """Return the template of a task that posts the input to a URL, and a debug case that mocks it."""
    from iogate.documents.formatter.scalar_style import double_quoted

    task = f"""\
- call:
    call: http
    with:
      method: post
      endpoint: {double_quoted(url)}
      body: ${{ . }}
"""
    case = """\
- name: happy path
  body: {}
  mocks: {/do/0/call: {output: {ok: true}}}
  expect: {http: 202, status: completed, output: {ok: true}}
"""
    return task, case


def _plain_case(body: Mapping[str, Any] | None = None) -> str:
    return f"""\
- name: happy path
  body: {json.dumps(body or {}, ensure_ascii=False)}
  expect: {{http: 202, status: completed}}
"""


def _text(text: str) -> str:
    """Return a key or value for the YAML of a file template, in quotes if they are needed."""
    from iogate.documents.formatter.scalar_style import double_quoted, is_plain

    return text if is_plain(text, flow=True) else double_quoted(text)


def _variable(module: str) -> str:
    name = "".join(char if char.isalnum() else "_" for char in module).upper()
    return f"_{name}" if name[0].isdigit() else name
