"""Variables that an expression may name at each stage of a task: the table of the standard.

Read by the compiler's checks and by the engine, which binds just these. Variables of loops and
handlers come on top.
"""

from typing import Final

WORKFLOW_INPUT: Final = frozenset({"secrets", "workflow", "runtime"})
"""The workflow's `input.from`."""
WORKFLOW_OUTPUT: Final = WORKFLOW_INPUT | {"context"}
"""The workflow's `output.as`."""
BEFORE: Final = WORKFLOW_OUTPUT | {"task"}
"""A task's `if` and `input.from`."""
INSIDE: Final = BEFORE | {"input", "authorization"}
"""A task's own definition and its `output.as`."""
EXPORT: Final = INSIDE | {"output"}
"""A task's `export.as`."""
