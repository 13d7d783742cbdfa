"""Models of the Open Workflow DSL 1.0: they accept the same documents as the official schema.

Only `metadata.iogate` has its own rules. One module for each family: field types, data flow, authentication,
events, errors, calls, processes, tasks, metadata. The compiler checks what the schema cannot express: unknown
`then` targets, names in `use`, empty lists.
"""

from iogate.documents.dsl.workflow import Workflow

__all__ = ["Workflow"]
