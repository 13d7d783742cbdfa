"""Authentication of calls: from an evaluated policy to the header `Authorization`.

Used by `http_calls`. Invariant: passwords, tokens and assertions stay in memory, and no message contains one.

    policies          parsing and validation of an evaluated policy
    call_credentials  the credential of a call, and its retry after a 401
    digest            challenges and their responses (RFC 7616)
    token_cache       access tokens, with one request for concurrent callers
    grants            token requests (RFC 6749, 8693, 7523) and their responses
    discovery         endpoints of an OpenID provider
"""

from iogate.effects.authentication.call_credentials import Authenticator, Credential

__all__ = ["Authenticator", "Credential"]
