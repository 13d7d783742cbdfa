"""Models of API documents: modules, methods, authentication and limits.

This package does not know workflows: the compiler checks that a workflow exists.
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
from iogate.documents.debug_cases import Mock

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
