"""Models of API documents: modules, methods, authentication and limits.

May import the shapes and values of documents. May not know workflows: that a workflow exists is
the compiler's to check.
"""

from iogate.documents.api.auth import (
    AnyAuth,
    Auth,
    EnvSecret,
    FileSecret,
    HashSecret,
    Jwt,
    JwtAuth,
    Secret,
    Signature,
    SignatureAuth,
    TokenAuth,
    TokensAuth,
    UserAuth,
    UsersAuth,
)
from iogate.documents.api.debug import DebugCase, Expect
from iogate.documents.api.module import ApiModule, Idempotency, Input, Limits, Method
from iogate.documents.cases import Mock

__all__ = [
    "AnyAuth",
    "ApiModule",
    "Auth",
    "DebugCase",
    "EnvSecret",
    "Expect",
    "FileSecret",
    "HashSecret",
    "Idempotency",
    "Input",
    "Jwt",
    "JwtAuth",
    "Limits",
    "Method",
    "Mock",
    "Secret",
    "Signature",
    "SignatureAuth",
    "TokenAuth",
    "TokensAuth",
    "UserAuth",
    "UsersAuth",
]
