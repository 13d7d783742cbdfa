"""Workflows over all pure tasks, for Hypothesis. Data is a number, `$context` is `{n: number}`.

What would depend on which branch comes first is left out: one branch of a fork at most may raise, none ends
the workflow, and of those that compete all but one fail at once. Directives lead forward, so that each ends.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

EXPRESSIONS = st.sampled_from(
    [".", ". + 1", ". * 2 % 1000", "7", "(. // 0) - 3", "$input", "($context.n // 0) + 1"]
)
SHAPES = st.sampled_from([".", ". + 1", "(. // 0) * 3 % 1000", "($context.n // 5)"])
CONDITIONS = st.sampled_from([". % 2 == 0", "(. // 0) > 3", "true", "null", "$context.n == null"])
LISTS = st.sampled_from(["[]", "[1, 2, 3]", "[range(. % 4 | fabs)]", "[5]"])
STATUSES = st.integers(400, 403)
EXTENDS = st.sampled_from(["all", "composite", "for", "raise", "set", "switch", "try", "wait"])

QUIET = ("continue", "exit")
"""Directives that end no workflow."""


@st.composite
def workflows(draw: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"do": draw(tasks(2))}
    extensions = draw(st.lists(extension(), max_size=2))
    if extensions:
        made["use"] = {"extensions": [{f"e{index}": each} for index, each in enumerate(extensions)]}
    return made


@st.composite
def extension(draw: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"extend": draw(EXTENDS)}
    if draw(st.booleans()):
        made["when"] = draw(CONDITIONS)
    for moment in ("before", "after"):
        if draw(st.booleans()):
            made[moment] = draw(tasks(0, raises=False, ends=False))
    return made


@st.composite
def tasks(draw: Any, depth: int, *, raises: bool = True, ends: bool = True) -> list[dict[str, Any]]:
    names = [f"t{index}" for index in range(draw(st.integers(1, 4)))]
    out = [*QUIET, *(["end"] if ends else [])]
    return [
        {name: draw(task(depth, [*names[index + 1 :], *out], raises=raises, ends=ends))}
        for index, name in enumerate(names)
    ]


@st.composite
def task(draw: Any, depth: int, targets: list[str], *, raises: bool, ends: bool) -> dict[str, Any]:
    kinds = ["set", "set", "switch", "wait"]
    if raises and draw(st.integers(0, 4)) == 0:
        kinds.append("raise")
    kind = draw(st.sampled_from(kinds if depth == 0 else [*kinds, "for", "do", "try", "try", "fork", "fork"]))
    made: dict[str, Any] = {}
    match kind:
        case "set":
            made["set"] = draw(EXPRESSIONS)
        case "wait":
            made["wait"] = {"milliseconds": draw(st.integers(0, 3))}
        case "raise":
            made["raise"] = raising(draw(STATUSES))
        case "switch":
            cases = [{"when": draw(CONDITIONS), "then": draw(st.sampled_from(targets))} for _ in range(2)]
            if draw(st.booleans()):
                cases.append({"then": draw(st.sampled_from(targets))})
            made["switch"] = [{f"c{index}": case} for index, case in enumerate(cases)]
        case "for":
            made["for"] = {"in": draw(LISTS), "each": draw(st.sampled_from(["item", "other"]))}
            if draw(st.booleans()):
                made["while"] = draw(st.sampled_from(["(. // 0) < 50", "$index < 2", "true"]))
            made["do"] = draw(tasks(depth - 1, raises=raises, ends=ends))
        case "try":
            made["try"] = draw(tasks(depth - 1, raises=raises, ends=ends))
            made["catch"] = draw(catches(depth, targets, raises=raises, ends=ends))
        case "fork":
            made["fork"] = draw(forks(depth, raises=raises))
            made["output"] = {"as": "[.. | numbers] | add"}
        case _:
            made["do"] = draw(tasks(depth - 1, raises=raises, ends=ends))
    if draw(st.integers(0, 3)) == 0:
        made["if"] = draw(CONDITIONS)
    if draw(st.integers(0, 3)) == 0:
        made["input"] = {"from": draw(SHAPES)}
    if kind != "fork" and draw(st.integers(0, 3)) == 0:
        made["output"] = {"as": draw(SHAPES)}
    if draw(st.integers(0, 3)) == 0:
        made["export"] = {"as": "{n: .}"}
    if draw(st.integers(0, 2)) == 0:
        made["then"] = draw(st.sampled_from(targets))
    return made


@st.composite
def forks(draw: Any, depth: int, *, raises: bool) -> dict[str, Any]:
    if raises and draw(st.integers(0, 3)) == 0:
        return draw(competitions(depth))  # type: ignore[no-any-return] # Hypothesis's draw says nothing
    count = draw(st.integers(1, 3))
    loud = draw(st.integers(0, count - 1))
    branches = [
        draw(task(depth - 1, list(QUIET), raises=raises and index == loud, ends=False))
        for index in range(count)
    ]
    return {"branches": [{f"b{index}": branch} for index, branch in enumerate(branches)]}


@st.composite
def competitions(draw: Any, depth: int) -> dict[str, Any]:
    branches: list[dict[str, Any]] = [{"raise": raising(402)} for _ in range(draw(st.integers(0, 2)))]
    if not branches or draw(st.booleans()):
        winner = draw(task(depth - 1, list(QUIET), raises=False, ends=False))
        branches.insert(draw(st.integers(0, len(branches))), winner)
    return {"compete": True, "branches": [{f"b{index}": each} for index, each in enumerate(branches)]}


@st.composite
def catches(draw: Any, depth: int, targets: list[str], *, raises: bool, ends: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if draw(st.integers(0, 2)) == 0:
        made["errors"] = {"with": {"status": draw(STATUSES)}}
    if draw(st.integers(0, 2)) == 0:
        made["when"] = draw(st.sampled_from([".status > 401", ".status != 400"]))
    if draw(st.booleans()):
        made["retry"] = {"limit": {"attempt": {"count": draw(st.integers(0, 2))}}}
    if draw(st.booleans()):
        name = draw(st.sampled_from(["error", "problem"]))
        made["as"] = name
        made["do"] = [
            {"h": {"set": f"${name}.status"}},
            *draw(tasks(depth - 1, raises=raises, ends=ends)),
        ]
    if draw(st.integers(0, 2)) == 0:
        made["then"] = draw(st.sampled_from(targets))
    return made


def raising(status: int) -> dict[str, Any]:
    return {"error": {"type": "https://x/e", "status": status}}
