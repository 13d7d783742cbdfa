"""Check of the addresses that may use an API: the key `allow_ips` of its document.

Used by `routing_table` for the APIs that have the key, and by `caller_routes` for their runs. Invariant: a
file that cannot be read or is invalid closes the API for every address, and never opens it for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from iogate import atomic_files
from iogate.auth.allow_ips import parse_lines
from iogate.gateway.http.responses import ErrorResponse, unavailable
from iogate.security import regular_files
from iogate.security.networks import NetworkSet, parse_address, parse_network

if TYPE_CHECKING:
    from iogate.auth.allow_ips import AllowedAddresses
    from iogate.gateway.http.client_address import TrustedProxies
    from iogate.gateway.http.request import Request

MAX_FILE: Final = 1024 * 1024
"""Bytes of a file, for about 60,000 networks, which are read in half a second."""
_REMEMBERED: Final = 1024

NOT_ALLOWED: Final = ErrorResponse(403, "requestError.forbidden", "Address is not allowed")
CLOSED: Final = unavailable("The addresses that may call this API cannot be read on this gateway")

_Content: TypeAlias = NetworkSet | str
"""Networks of a file, or the reason why it cannot be used."""


class AddressFiles:
    """Parsed files of allowed addresses, which address checks share: each version is parsed once.

    Several threads may use it at the same time.
    """

    def __init__(self) -> None:
        self._parsed: dict[Path, tuple[atomic_files.Version, _Content]] = {}

    def read(self, path: Path) -> tuple[atomic_files.Version, _Content]:
        """Return the version of a file with allowed addresses, and its networks or its fault."""
        # Before the file is read, so that a change in between is noticed later.
        version = atomic_files.version(path)
        known = self._parsed.get(path)
        if known is not None and version is not None and known[0] == version:
            return known
        try:
            text = regular_files.read_text(path, most=MAX_FILE)
        except ValueError as error:
            return version, str(error)
        found = self._parsed[path] = version, _parse(text)
        return found


class AddressCheck:
    """Check of the addresses of clients against the networks and files of one API."""

    def __init__(
        self,
        allowed: AllowedAddresses,
        *,
        root: Path | None = None,
        proxies: TrustedProxies | None = None,
        files: AddressFiles | None = None,
        check_only: bool = False,
    ) -> None:
        """Read the files of an address check, unless it is made to check its declaration only.

        `files` has those that other checks have read already.
        """
        self._allowed, self._root, self._proxies = allowed, root, proxies
        self._shared = AddressFiles() if files is None else files
        self.unset: tuple[str, ...] = ()
        """Messages about files that cannot be used; the API is closed while there are any."""
        self._files: dict[Path, atomic_files.Version] = {}
        self._networks = [NetworkSet(parse_network(each) for each in allowed.networks)]
        for name in () if check_only else allowed.files:
            path = file_path(name, root)
            self._files[path], content = self._shared.read(path)
            if isinstance(content, str):
                self.unset += (f"file {name} of allow_ips {content}",)
            else:
                self._networks.append(content)
        self._known: dict[str, bool] = {}
        """Whether recent addresses are allowed."""

    def refuse(self, request: Request) -> ErrorResponse | None:
        """Return a 403 or 503 if the API is closed to the address of the client; None if it is open."""
        if self.unset:
            return CLOSED
        address = request.address
        allowed = self._known.get(address)
        if allowed is None:
            allowed = self._is_allowed(address)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[address] = allowed
        if not allowed:
            return NOT_ALLOWED
        if self._proxies is not None and self._proxies.is_doubtful(address, request.raw_headers):
            return NOT_ALLOWED
        return None

    def _is_allowed(self, address: str) -> bool:
        found = parse_address(address)
        return found is not None and any(found in each for each in self._networks)

    def has_changed(self) -> bool:
        """Tell whether a file with allowed addresses has changed; calls stat on each file."""
        return any(atomic_files.version(path) != known for path, known in self._files.items())

    def renewed(self) -> AddressCheck:
        """Return a new address check of the same API with its files read again."""
        return AddressCheck(self._allowed, root=self._root, proxies=self._proxies, files=self._shared)


def file_path(name: str, root: Path | None) -> Path:
    """Return the path of a file with allowed addresses, which may be relative to the project's folder."""
    return Path(name) if root is None else root / name


def _parse(text: str) -> _Content:
    try:
        found = parse_lines(text)
    except ValueError as error:
        return f"is invalid: {error}"
    return NetworkSet(found) if found else "has no address"
