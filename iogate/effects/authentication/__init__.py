"""Who a call says it is: from an evaluated policy to what stands in the header `Authorization`.

Used by `http`. Invariant: passwords, tokens and assertions stay in memory, and no message repeats one.

    policies      what an evaluated policy means, or what it lacks
    credentials   what a call presents, and whether another try is worth it after a 401
    digest        challenges and their answers (RFC 7616)
    tokens        access tokens, kept until shortly before they expire, asked for once by all who need one
    grants        the requests for tokens (RFC 6749, 8693, 7523) and what their answers mean
    discovery     where an OpenID provider has its token endpoint
"""

from iogate.effects.authentication.credentials import Authenticator, Credential

__all__ = ["Authenticator", "Credential"]
