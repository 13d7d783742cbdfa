"""Models of API documents: modules, methods, authentication and limits.

This package does not know workflows: the compiler checks that a workflow exists.
"""

from iogate.documents.api.debug_cases import DebugCase, Expect
from iogate.documents.api.input import Input
from iogate.documents.api.module import ApiModule, Idempotency, Limits, Method
from iogate.documents.debug_cases import Mock

__all__ = [
    "ApiModule",
    "DebugCase",
    "Expect",
    "Idempotency",
    "Input",
    "Limits",
    "Method",
    "Mock",
]
