"""Form `user`: user and password, in headers of their own or as basic credentials (RFC 7617)."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence

from iogate.auth.model import StoredSecret, UserAuth
from iogate.gateway.authentication.forms.form import HeaderForm, Setup, renamed
from iogate.gateway.authentication.request_credentials import BASIC, Credential, to_text
from iogate.security.secrets import Verifier


class Users(HeaderForm):
    """Users of one API."""

    kind = label = "User/Password"
    carrier = BASIC
    challenge = (b"www-authenticate", b'Basic realm="iogate", charset="UTF-8"')
    stripped = frozenset({b"user", b"password"})

    def __init__(
        self, passwords: Mapping[str, Sequence[str]], names: Mapping[str, str], setup: Setup
    ) -> None:
        self._verifier = Verifier(passwords, hashing=setup.hashing)
        self.work = self._verifier.password_work
        self._names = names

    @classmethod
    def build(cls, declared: Sequence[UserAuth[StoredSecret]], setup: Setup) -> Users | None:
        """Build the form `user` of its declarations; None if this machine has none of the secrets."""
        passwords: dict[str, list[str]] = {}
        for each in declared:
            setup.secrets.read(each.users, passwords)
        names = setup.callers.claim("user", [user for each in declared for user in each.users])
        return cls(passwords, names, setup) if passwords else None

    def authenticate(self, value: tuple[bytes, bytes], address: str) -> Awaitable[str | None]:
        found = self._verifier.password(to_text(value[0]), to_text(value[1]), address=address)
        return self._renamed(found) if self._names else found

    async def _renamed(self, found: Awaitable[str | None]) -> str | None:
        return renamed(await found, self._names)

    def known_caller(self, credential: Credential) -> str | None:
        return renamed(self._verifier.known_caller(credential.hashed), self._names)

    def is_self_contained(self, credential: Credential) -> bool:
        return not self._verifier.needs_hash(credential.hashed.user)

    async def verify(self, credential: Credential) -> str | None:
        return renamed(await self._verifier.verify(credential.hashed), self._names)
