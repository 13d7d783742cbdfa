"""Each task behaves as the standard says, or as documented if the standard is silent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.engine_runs import NOW_MS, Run, output, program

COMPLETES: dict[str, tuple[str, Any, Any]] = {
    "set replaces and does not merge": ("do: [{a: {set: {x: 1}}}, {b: {set: {y: 2}}}]", {"z": 3}, {"y": 2}),
    "set evaluates trees": (
        "do: [{a: {set: {x: ['${ .n }', {y: '${ .n + 1 }'}], t: 'n=${ .n }!'}}}]",
        {"n": 1},
        {"x": [1, {"y": 2}], "t": "n=1!"},
    ),
    "set takes a bare expression": ("do: [{a: {set: .n}}]", {"n": [1]}, [1]),
    "set sees the transformed input": (
        "do: [{a: {input: {from: .n}, set: {x: '${ . }', i: '${ $input }'}}}]",
        {"n": 5},
        {"x": 5, "i": 5},
    ),
    "each output is the next input": (
        "do: [{a: {set: '.+1'}}, {b: {set: '.*10'}}]",
        1,
        20,
    ),
    "do is a sequence": ("do: [{a: {do: [{b: {set: '.+1'}}, {c: {set: '.+1'}}]}}]", 1, 3),
    "if false gives the raw input and applies nothing": (
        "do: [{a: {if: .n > 1, input: {from: .n}, set: {x: 1}, output: {as: '{y: 1}'}, then: end}},"
        " {b: {set: '{seen: .}'}}]",
        {"n": 1},
        {"seen": {"n": 1}},
    ),
    "if sees the raw input": (
        "do: [{a: {if: '${ .n == 1 }', input: {from: .m}, set: .}}]",
        {"n": 1, "m": 2},
        2,
    ),
    "switch takes the first true case": (
        "do: [{s: {switch: [{a: {when: .n > 0, then: x}}, {b: {when: .n > 1, then: y}}]}},"
        " {x: {set: '\"x\"', then: end}}, {y: {set: '\"y\"', then: end}}]",
        {"n": 5},
        "x",
    ),
    "switch takes the default wherever it stands": (
        "do: [{s: {switch: [{d: {then: y}}, {a: {when: .n > 9, then: x}}]}},"
        " {x: {set: '\"x\"', then: end}}, {y: {set: '\"y\"', then: end}}]",
        {"n": 5},
        "y",
    ),
    "switch without a match goes where the task says": (
        "do: [{s: {switch: [{a: {when: .n > 9, then: x}}], then: y}},"
        " {x: {set: '\"x\"', then: end}}, {y: {set: '\"y\"', then: end}}]",
        {"n": 5},
        "y",
    ),
    "switch gives its input": (
        "do: [{s: {switch: [{a: {when: 'true', then: continue}}]}}]",
        {"n": 5},
        {"n": 5},
    ),
    "for gives the last turn's output, fed by the turn before": (
        "do: [{f: {for: {in: .l, each: k, at: i}, do: [{a: {set: {l: '${ .l }',"
        " s: '${ (.s // 0) + $k * 10 + $i }'}}}]}}]",
        {"l": [1, 2, 3]},
        {"l": [1, 2, 3], "s": 63},
    ),
    "for names item and index by default": (
        "do: [{f: {for: {in: '[7, 8]'}, do: [{a: {set: '[$item, $index]'}}]}}]",
        None,
        [8, 1],
    ),
    "for over nothing gives its input": (
        "do: [{f: {for: {in: '[]'}, do: [{a: {set: {x: 1}}}]}}]",
        {"n": 1},
        {"n": 1},
    ),
    "for takes an inline array": (
        "do: [{f: {for: {in: [{a: 1}, {a: '${ .n }'}]}, do: [{a: {set: $item.a}}]}}]",
        {"n": 4},
        4,
    ),
    "while ends a loop on what the turn would get": (
        "do: [{f: {for: {in: '[range(100)]'}, while: . < 3, do: [{a: {set: .+1}}]}}]",
        0,
        3,
    ),
    "while sees the turn's item": (
        "do: [{f: {for: {in: '[1,2,3]', each: k}, while: $k < 3, do: [{a: {set: .+$k}}]}}]",
        0,
        3,
    ),
    "exit leaves the turn, not the loop": (
        "do: [{f: {for: {in: '[1,2,3]'}, do: [{a: {set: .+1, then: exit}}, {b: {set: '0'}}]}}]",
        0,
        3,
    ),
    "loops inside loops see both variables": (
        "do: [{f: {for: {in: '[1,2]', each: a}, do: [{g: {for: {in: '[10,20]', each: b},"
        " do: [{s: {set: '. + [$a * $b]'}}]}}]}}]",
        [],
        [10, 20, 20, 40],
    ),
    "the inner loop's variable hides the outer's": (
        "do: [{f: {for: {in: '[1]'}, do: [{g: {for: {in: '[2]'}, do: [{s: {set: $item}}]}}]}}]",
        None,
        2,
    ),
    "then goes to a named task, also back": (
        "do: [{a: {set: .+1}}, {s: {switch: [{again: {when: . < 5, then: a}}]}}]",
        0,
        5,
    ),
    "exit leaves the scope": (
        "do: [{o: {do: [{a: {set: .+1, then: exit}}, {b: {set: .+100}}]}}, {c: {set: .+10}}]",
        0,
        11,
    ),
    "exit in the first scope ends the run": ("do: [{a: {set: .+1, then: exit}}, {b: {set: .+100}}]", 0, 1),
    "end finishes from any depth, skipping outer transformations": (
        "do: [{o: {output: {as: '{outer: .}'}, do: [{f: {for: {in: '[1,2]'},"
        " do: [{a: {set: .+1, then: end}}]}}]}}]\n"
        "output: {as: '{result: .}'}",
        0,
        {"result": 1},
    ),
    "wait gives its input": ("do: [{w: {wait: {seconds: 1}}}]", {"n": 1}, {"n": 1}),
    "output.as transforms": ("do: [{a: {set: {x: 1}, output: {as: .x + 1}}}]", None, 2),
    "output.as takes a tree": ("do: [{a: {set: {x: 1}, output: {as: {y: '${ .x }'}}}}]", None, {"y": 1}),
    "context starts empty": ("do: [{a: {set: $context}}]", {"n": 1}, {}),
    "export replaces the context, from the transformed output": (
        "do: [{a: {set: {x: 1}, output: {as: .x}, export: {as: '{v: ., o: $output,"
        " i: $input}'}}}, {b: {set: $context}}]",
        {"n": 1},
        {"v": 1, "o": 1, "i": {"n": 1}},
    ),
    "export inside a loop is seen by the next turn": (
        "do: [{f: {for: {in: '[1,2,3]'}, do: [{a: {set: $item,"
        " export: {as: '{s: (($context.s // 0) + .)}'}}}]}},"
        " {b: {set: $context.s}}]",
        None,
        6,
    ),
    "workflow input.from and output.as": (
        "input: {from: .a}\ndo: [{t: {set: '[., $workflow.input]'}}]\noutput: {as: '{r: ., c: $context}'}",
        {"a": 1},
        {"r": [1, {"a": 1}], "c": {}},
    ),
    "results are counted: none is null, many are an array": (
        "do: [{a: {set: {none: '${ empty }', many: '${ .[] }'}}}]",
        [1, 2],
        {"none": None, "many": [1, 2]},
    ),
    "task descriptor": (
        "do: [{o: {do: [{a: {input: {from: .n}, set: {r: $task.reference, n: '${ $task.name }',"
        " i: '${ $task.input }',"
        " d: '${ $task.definition.metadata.k }', ref: '${ $task.reference }',"
        " at: '${ $task.startedAt.epoch.milliseconds }'},"
        " metadata: {k: v}}}]}}]",
        {"n": 1},
        {"r": "$task.reference", "n": "a", "i": {"n": 1}, "d": "v", "ref": "/do/0/o/do/0/a", "at": NOW_MS},
    ),
    "task output is raw in output.as": (
        "do: [{a: {set: {x: 1}, output: {as: '[$task.output, (. == $task.output)]'}}}]",
        None,
        [{"x": 1}, True],
    ),
    "workflow descriptor": (
        "do: [{a: {set: {id: '${ $workflow.id }', at: '${ $workflow.startedAt }',"
        " n: '${ $workflow.definition.document.name }'}}}]",
        None,
        {
            "id": "42",
            "at": {
                "iso8601": "2023-11-14T22:13:20.123Z",
                "epoch": {"seconds": NOW_MS // 1000, "milliseconds": NOW_MS},
            },
            "n": "sample",
        },
    ),
    "runtime descriptor": ("do: [{a: {set: $runtime.name}}]", None, "iogate"),
    "now is the engine's time": ("do: [{a: {set: now}}]", None, NOW_MS / 1000),
    "expressions in data are data": (
        "do: [{a: {set: {x: '${ .x }'}}}, {b: {set: .}}]",
        {"x": "${ 1 + 1 }"},
        {"x": "${ 1 + 1 }"},
    ),
    "big integers stay exact": (
        "do: [{a: {set: {x: '${ .x }'}}}]",
        {"x": 12345678901234567890},
        {"x": 12345678901234567890},
    ),
    "inline function gets its own input": (
        "use: {functions: {twice: {set: {v: '${ .n * 2 }', all: '${ . }'}}}}\n"
        "do: [{f: {for: {in: '[3]'}, do: [{a: {call: twice, with: {n: '${ $item }'},"
        " output: {as: '. + {in: $input}'}}}]}}]",
        {"secret": 1},
        {"v": 6, "all": {"n": 3}, "in": {"secret": 1}},
    ),
    "names with slashes have proper pointers": (
        "do: [{a/b~c: {set: $task.reference}}]",
        None,
        "/do/0/a~1b~0c",
    ),
}


@pytest.mark.parametrize(("text", "data", "expected"), COMPLETES.values(), ids=COMPLETES.keys())
def test_a_workflow_completes_with(text: str, data: Any, expected: Any) -> None:
    assert output(text, data) == expected


@pytest.mark.parametrize(
    ("duration", "length_ms"),
    [
        ("{minutes: 1, seconds: 2}", 62_000),
        ("PT1.5S", 1_500),
        ("'${ .iso }'", 3_600_000),
        ("{seconds: '${ .n }'}", 7_000),
        ("P1M", 30 * 86_400_000),  # from the 14th of November to the 14th of December
    ],
)
def test_a_wait_ends_at_its_due_time_and_not_before(duration: str, length_ms: int) -> None:
    run = Run(program(f"do: [{{w: {{wait: {duration}}}}}]"), input={"iso": "PT1H", "n": 7})
    run.advance()
    assert run.state.due_ms == NOW_MS + length_ms
    waiting = run.state.waiting_for
    assert waiting is not None
    assert (waiting.kind, waiting.task, waiting.until_ms) == ("timer", "/do/0/w", NOW_MS + length_ms)
    statuses = []
    for passes_ms in (0, length_ms - 1, 1):
        run.now_ms += passes_ms
        run.advance()
        statuses.append(run.state.status)
    assert statuses == ["waiting", "waiting", "completed"]


def test_a_wait_of_zero_does_not_wait() -> None:
    run = Run(program("do: [{w: {wait: {seconds: 0}}}]"))
    run.advance()
    assert run.state.status == "completed"


@pytest.mark.parametrize(("name", "expected"), [("continue", [[1, 2], 3]), ("exit", 1), ("end", 1)])
def test_a_flow_directive_of_the_standard_wins_over_a_task_of_its_name(name: str, expected: Any) -> None:
    tasks = f"{{a: {{set: '1', then: {name}}}}}, {{b: {{set: '[., 2]'}}}}, {{{name}: {{set: '[., 3]'}}}}"
    assert output(f"do: [{tasks}]") == expected


def test_the_journal_notes_each_step_of_a_run() -> None:
    run = Run(
        program("do: [{a: {if: 'false', set: '1'}}, {s: {switch: [{c: {then: end}}]}}, {z: {set: '1'}}]")
    )
    run.advance()
    assert [(note.kind, note.reference, dict(note.detail)) for note in run.notes] == [
        ("workflow.started", "", {}),
        ("task.skipped", "/do/0/a", {}),
        ("task.started", "/do/1/s", {}),
        ("task.completed", "/do/1/s", {"case": "c"}),
        ("workflow.completed", "", {}),
    ]
