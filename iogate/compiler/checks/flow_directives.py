"""Check of flow directives: each `then` has a target in its list or ends it; one default per switch."""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, did_you_mean, problem_at
from iogate.compiler.reader.index import Directive
from iogate.documents.problems import Problem
from iogate.messages import listed, nearest, quoted

DIRECTIVES = ("continue", "exit", "end")


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    for directive in definition.index.directives:
        if not is_known(directive):
            yield _unknown(definition, directive)
    for case in definition.index.defaults:
        yield problem_at(
            definition.document,
            case.pointer,
            "IOG323",
            f"a switch has one default, and {quoted(case.element)} is that already",
            hint='give this case a "when"',
        )


def is_known(directive: Directive) -> bool:
    """Tell whether the target of a flow directive is one of the standard or a task of its list."""
    return directive.target in DIRECTIVES or directive.target in directive.reachable


def _unknown(definition: Definition, directive: Directive) -> Problem:
    target, reachable = directive.target, directive.reachable
    if reachable:
        where = f"no task of this list; its tasks are {listed(reachable)}"
    else:
        where = "not possible here, where no list goes on"
    return problem_at(
        definition.document,
        directive.pointer,
        "IOG311",
        f'"then: {target}" is {where}; else write continue, exit or end'
        if target.isprintable()
        else f'"then" names {quoted(target)}, which is {where}',
        hint=did_you_mean(nearest(target, (*reachable, *DIRECTIVES))),
    )
