"""Runtime expressions: jq inside `${ … }`, and the templates of definitions that contain them.

Called by the compiler, which checks, and by the engine, which evaluates. Invariants: only text of a
definition is ever compiled, never data; values are not mutated; an expression has no access to the
process (environment, clock, files, inputs).
"""

from iogate.expressions.arguments import Arguments, Values
from iogate.expressions.language import (
    Expression,
    check,
    compiles,
    expression,
    functions,
    prove_together,
    results,
)
from iogate.expressions.templates import Template, bare, embedded, loose, loose_pieces, pieces, template

__all__ = [
    "Arguments",
    "Expression",
    "Template",
    "Values",
    "bare",
    "check",
    "compiles",
    "embedded",
    "expression",
    "functions",
    "loose",
    "loose_pieces",
    "pieces",
    "prove_together",
    "results",
    "template",
]
