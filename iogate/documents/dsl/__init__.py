"""The Open Workflow DSL 1.0 as models whose verdict is the official schema's, but for `metadata.iogate`.

One module a family: values, data flow, authentication, events, faults, calls, processes, tasks, metadata.
May import the shapes, values and cases of documents. What the schema cannot say (unknown `then` targets,
names in `use`, empty lists) is the compiler's to check.
"""

from iogate.documents.dsl.workflow import Workflow

__all__ = ["Workflow"]
