"""Errors name the task and the reason, in the terms of the standard, and show no data."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.engine.errors import TEXT_BYTES
from iogate.errors import ERROR_TYPES
from tests.engine.engine_runs import Run, error, program

FAULTS: dict[str, tuple[str, Any, str, int, str, str]] = {
    "an expression that fails": (
        "do: [{a: {set: .n.x}}]",
        {"n": "private"},
        "expression",
        400,
        "/do/0/a",
        'task "a": expression ${ .n.x } failed: cannot index string with "x"',
    ),
    "jq's words show no data": (
        "do: [{a: {set: .n + 1}}]",
        {"n": "private"},
        "expression",
        400,
        "/do/0/a",
        'task "a": expression ${ .n + 1 } failed: string and number cannot be added',
    ),
    "a turn of a loop": (
        "do: [{f: {for: {in: '[1,2]'}, do: [{a: {if: $index == 1, set: .n.x}}]}}]",
        {"n": 1},
        "expression",
        400,
        "/do/0/f/for/do/0/a",
        'task "a" (iteration 1): expression ${ .n.x } failed: cannot index number with "x"',
    ),
    "for over no array": (
        "do: [{f: {for: {in: .n}, do: [{a: {set: '1'}}]}}]",
        {"n": {"a": 1}},
        "expression",
        400,
        "/do/0/f",
        'task "f": for.in must give an array, not object',
    ),
    "while that fails": (
        "do: [{f: {for: {in: '[1]'}, while: .n.x, do: [{a: {set: '1'}}]}}]",
        {"n": 1},
        "expression",
        400,
        "/do/0/f",
        'task "f" (iteration 0): expression ${ .n.x } failed: cannot index number with "x"',
    ),
    "the input schema of a task": (
        "do: [{a: {input: {schema: {document: {type: object, properties: {n: {type: string}}}}}, set: '1'}}]",
        {"n": 12345},
        "validation",
        400,
        "/do/0/a",
        'task "a": input does not match its schema: at /n: the value is not of type "string"',
    ),
    "the output schema of a task, after output.as": (
        "do: [{a: {set: {x: 1}, output: {as: .x, schema: {document: {type: object}}}}}]",
        None,
        "validation",
        400,
        "/do/0/a",
        'task "a": output does not match its schema: at its root: the value is not of type "object"',
    ),
    "the export schema of a task": (
        "do: [{a: {set: {x: 1}, export: {as: .x, schema: {document: {type: object}}}}}]",
        None,
        "validation",
        400,
        "/do/0/a",
        'task "a": context does not match its schema: at its root: the value is not of type "object"',
    ),
    "the workflow's input schema": (
        "input: {schema: {document: {type: object, required: [sku]}}}\ndo: [{a: {set: '1'}}]",
        {},
        "validation",
        400,
        "/input",
        'input of the workflow does not match its schema: at its root: "sku" is a required property',
    ),
    "the workflow's output schema": (
        "output: {as: .x, schema: {document: {type: string}}}\ndo: [{a: {set: {x: 1}}}]",
        {},
        "validation",
        400,
        "/output",
        'output of the workflow does not match its schema: at its root: the value is not of type "string"',
    ),
    "a schema that is none": (
        "do: [{a: {input: {schema: {document: {type: strin}}}, set: '1'}}]",
        {},
        "configuration",
        400,
        "/do/0/a",
        'task "a": the schema of the input is not a valid JSON Schema: ',
    ),
    "a schema that refers to the network": (
        "do: [{a: {input: {schema: {document: {$ref: 'http://localhost:1/x.json'}}}, set: '1'}}]",
        {},
        "configuration",
        400,
        "/do/0/a",
        "a schema may refer only to itself, not to http://localhost:1/x.json",
    ),
    "a schema that did not come along": (
        "do: [{a: {input: {schema: {resource: {endpoint: 'file:///x.json'}}}, set: '1'}}]",
        {},
        "configuration",
        400,
        "/do/0/a",
        'task "a": the schema of the input is not in the revision: file:///x.json',
    ),
    "a wait for nonsense": (
        "do: [{a: {wait: '${ .d }'}}]",
        {"d": "soon"},
        "expression",
        400,
        "/do/0/a",
        'task "a": wait: expected a duration such as 5m',
    ),
    "raise of a name that is not there": (
        "do: [{a: {raise: {error: lost}}}]",
        {},
        "configuration",
        400,
        "/do/0/a",
        'task "a": error "lost" is not defined in use.errors',
    ),
    "raise with a status that is no number": (
        "do: [{a: {raise: {error: {type: 'https://x/e', status: '${ .s }'}}}}]",
        {"s": "many"},
        "expression",
        400,
        "/do/0/a",
        'task "a": the status of an error must be a whole number, not string',
    ),
    "functions that call each other in a circle": (
        "use: {functions: {f: {call: f, with: {}}}}\ndo: [{a: {call: f}}]",
        {},
        "runtime",
        500,
        "/use/functions/f",
        'task "a": function "f": more than 32 functions call one another',
    ),
    "an argument that is not there yet": (
        "do: [{a: {if: $input, set: '1'}}]",
        {},
        "expression",
        400,
        "/do/0/a",
        'task "a": expression ${ $input } failed: $input is not defined',
    ),
    "a loop's variable inside a function": (
        "use: {functions: {f: {set: '[$item]'}}}\ndo: [{l: {for: {in: '[1]'}, do: [{a: {call: f}}]}}]",
        {},
        "expression",
        400,
        "/use/functions/f",
        'task "a" (iteration 0): function "f": expression ${ [$item] } failed: '
        "$item is not defined here; known are none",
    ),
}


@pytest.mark.parametrize(
    ("text", "data", "kind", "status", "instance", "detail"), FAULTS.values(), ids=FAULTS.keys()
)
def test_a_workflow_faults_with(
    text: str, data: Any, kind: str, status: int, instance: str, detail: str
) -> None:
    fault = error(text, data)
    assert fault["type"] == ERROR_TYPES + kind
    assert fault["status"] == status
    assert fault["instance"] == instance
    assert detail in fault["detail"]
    assert "private" not in str(fault)
    assert "12345" not in str(fault)


def test_raise_keeps_the_authors_text_and_names_its_task() -> None:
    fault = error(
        "do: [{o: {do: [{a: {raise: {error: {type: 'https://x/e', status: 418, title: '${ .t }', detail: d,"
        " instance: /elsewhere}}}}]}}]",
        {"t": "Tea"},
    )
    assert fault == {
        "type": "https://x/e",
        "status": 418,
        "title": "Tea",
        "detail": "d",
        "instance": "/do/0/o/do/0/a",
    }


def test_long_texts_of_an_error_are_shortened_in_the_state_and_the_notes_and_whole_for_catch() -> None:
    raised = "{raise: {error: {type: 'https://x/e', status: 418, title: '${ .text }', detail: '${ .text }'}}}"
    data = {"text": "é" * 20_000}
    run = Run(program(f"do: [{{o: {{do: [{{a: {raised}}}]}}}}]"), input=data)
    run.advance()
    assert run.state.error is not None
    told = [run.state.error, *(note.detail["error"] for note in run.notes if "error" in note.detail)]
    assert len(told) == 4, "of the state, the task, the task around it and the workflow"
    for each in told:
        for name in ("title", "detail"):
            assert each[name].startswith("é" * 4_000)
            assert each[name].endswith("é… [shortened from 40000 bytes]")
            assert TEXT_BYTES - 2 < len(each[name].encode()) <= TEXT_BYTES
    caught = Run(
        program(
            f"do: [{{t: {{try: [{{a: {raised}}}],"
            " catch: {do: [{h: {set: '${ [$error.title, $error.detail] | map(length) }'}}]}}}]"
        ),
        input=data,
    )
    caught.advance()
    assert caught.state.output == [20_000, 20_000]
    assert all(len(str(note.detail)) < 3 * TEXT_BYTES for note in caught.notes)


def test_raise_takes_a_named_error() -> None:
    fault = error(
        "use: {errors: {tea: {type: 'https://x/e', status: 418}}}\ndo: [{a: {raise: {error: tea}}}]",
    )
    assert fault == {"type": "https://x/e", "status": 418, "instance": "/do/0/a"}


def test_a_schema_from_a_resource_is_used() -> None:
    made = program(
        "do: [{a: {input: {schema: {resource: {endpoint: {uri: 'file:///x.json'}}}}, set: '1'}}]",
        {"file:///x.json": {"type": "string"}},
    )
    run = Run(made, input=5)
    run.advance()
    assert run.state.status == "faulted"
