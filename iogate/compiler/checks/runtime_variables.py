"""Check of `$runtime.vars`: each variable that an expression reads is declared in the setting `vars`."""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler import variables
from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.expressions import expressions, literals
from iogate.compiler.checks.variable_names import declared_names
from iogate.compiler.diagnostics import CheckContext, did_you_mean, problem_at
from iogate.documents.problems import Problem
from iogate.expressions import compiles
from iogate.json_pointer import Pointer
from iogate.messages import listed, nearest, quoted

UNDECLARED = "IOG364"


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    document, declared = definition.document, context.settings.vars
    if variables.KEY in document.data:
        yield problem_at(
            document,
            (variables.KEY,),
            "IOG365",
            f"the key {quoted(variables.KEY)} is reserved: iogate stores what it resolved in it",
            key=True,
            hint="remove it",
        )
    if not variables.may_read(document.data):
        return
    if any("runtime" in declared_names(task) for task in definition.index.tasks):
        return  # `$runtime` may be the variable of a loop
    for pointer, text in _texts(definition):
        for name in sorted(variables.reads(text).names - declared.keys()):
            near = nearest(name, declared)
            known = f"it has {listed(sorted(declared)[:8])}" if declared else "it is empty"
            yield problem_at(
                document,
                pointer,
                UNDECLARED,
                f"$runtime.vars.{name}: no such variable in the setting vars; {known}",
                hint=did_you_mean(near) or f"write vars: {{{name}: VALUE}} in iogate.yaml",
            )


def _texts(definition: Definition) -> Iterator[tuple[Pointer, str]]:
    for found in expressions(definition):
        yield found.pointer, found.text
    if definition.loose:
        for pointer, text, _ in literals(definition):
            if "$" in text and compiles(text):
                yield pointer, text
