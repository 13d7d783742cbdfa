"""OpenAPI documents: the operation of a call, reduced to the parts that its request needs.

Called by the compiler, and by effects for documents whose address only a run knows. Pure: a document
comes in as plain data, an operation goes out.
"""

from iogate.compiler.openapi.document import find
from iogate.compiler.openapi.document_references import Unusable
from iogate.compiler.openapi.operation import Body, Operation, Parameter

__all__ = ["Body", "Operation", "Parameter", "Unusable", "find"]
