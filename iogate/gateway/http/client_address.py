"""Address of a client behind trusted proxies, from `Forwarded` (RFC 7239) or `X-Forwarded-For`.

Used by `app` for each request, if the setting `trusted_proxies` is given. Each proxy appends the address that
it received the request from. So the list is read from the right, as long as each address is a trusted proxy;
all to the left of the first other address may be forged. Invariant: the headers of a peer that is not a
trusted proxy have no effect.

    10.0.0.9 (peer, trusted) ◀── 10.0.0.2 (trusted) ◀── 198.51.100.7 (the client) ◀── forged, forged …
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from iogate.security.networks import NetworkSet, parse_address, parse_network

if TYPE_CHECKING:
    from iogate.gateway.http.request import RawHeaders
    from iogate.security.networks import Address

MOST_HOPS: Final = 32
"""Elements that are read, also empty ones; a longer way through trusted proxies is a loop or a forgery."""
_REMEMBERED: Final = 256
_FORWARDED, _X_FORWARDED_FOR = b"forwarded", b"x-forwarded-for"

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - of RFC 9110, section 5.6.2
_VALUE = rf'{_TOKEN}|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t -~])*"'
_PAIR = re.compile(rf"({_TOKEN})=({_VALUE})")
_ESCAPED = re.compile(r"\\(.)")
_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_BRACKETED = r"\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\]"  # an IPv6 address
_NODE = re.compile(rf"(?:{_BRACKETED}|([0-9.]+)){_PORT}")
_ADDRESS_AND_PORT = re.compile(rf"{_BRACKETED}(?::[0-9]{{1,5}})?|([0-9.]+):[0-9]{{1,5}}")


class TrustedProxies:
    """The setting `trusted_proxies`: networks of the proxies whose headers name the client."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = NetworkSet(map(parse_network, networks))
        self._peers: dict[str, Address | None] = {}
        """Address of each recent peer that is a trusted proxy; None for another peer."""

    def resolve(self, scope: Any) -> None:
        """Replace the `client` of an ASGI scope by the client, and keep the proxy as its `peer`."""
        peer = scope["client"]
        if peer is not None and (address := self.client(peer[0], scope["headers"])) != peer[0]:
            scope["client"], scope["peer"] = (address, 0), peer

    def client(self, peer: str, headers: RawHeaders) -> str:
        """Return the client's address; the peer's if the headers of proxies are malformed or contradict."""
        if self._trusted_peer(peer) is None:
            return peer
        return self._named(headers) or peer

    def is_doubtful(self, address: str, headers: RawHeaders) -> bool:
        """Tell whether the client is unknown: `client` gave a proxy, for lack of a correct header.

        Such a request must not get the permissions of the proxy itself.
        """
        if self._trusted_peer(address) is None:
            return False
        return _has_any(headers) and not self._named(headers)

    def _trusted_peer(self, peer: str) -> Address | None:
        if peer in self._peers:
            return self._peers[peer]
        found = parse_address(peer)
        if found is not None and found not in self._networks:
            found = None
        if len(self._peers) >= _REMEMBERED:
            self._peers.clear()
        self._peers[peer] = found
        return found

    def _named(self, headers: RawHeaders) -> str:
        """Return the client that the headers of a trusted peer name; empty if they do not name one.

        A proxy that writes one of the two headers passes on the other one as the client has sent it. So both
        must name the same client.
        """
        forwarded = [value for name, value in headers if name == _FORWARDED]
        plain = [value for name, value in headers if name == _X_FORWARDED_FOR]
        named = self._last_untrusted(_forwarded_nodes(forwarded)) if forwarded else None
        if plain:
            other = self._last_untrusted(_plain_addresses(plain))
            named = other if not forwarded or named == other else None
        return "" if named is None else str(named)

    def _last_untrusted(self, nodes: Iterator[Address | None]) -> Address | None:
        """Return the last address that is no trusted proxy, else the first; None if it is unknown."""
        found: Address | None = None
        for count, found in enumerate(nodes, 1):
            if found is None or count > MOST_HOPS:
                return None
            if found not in self._networks:
                return found
        return found


def _has_any(headers: RawHeaders) -> bool:
    return any(name in (_FORWARDED, _X_FORWARDED_FOR) for name, _ in headers)


def _plain_addresses(lines: Sequence[bytes]) -> Iterator[Address | None]:
    """Yield the addresses of `X-Forwarded-For` from right to left; None for an element without one.

    Empty elements are ignored (RFC 9110, section 5.6.1), but they count: the one after MOST_HOPS is None.
    """
    count = 0
    for line in reversed(lines):
        end = len(line)
        while end >= 0:
            count += 1
            if count > MOST_HOPS:
                yield None
                return
            comma = line.rfind(b",", 0, end)
            text = line[comma + 1 : end].strip(b" \t").decode("latin-1")
            end = comma
            if text:
                yield _plain_address(text)


def _plain_address(text: str) -> Address | None:
    """Return the client address of `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT` in a proxy's header."""
    if (found := parse_address(text)) is not None:
        return found
    with_port = _ADDRESS_AND_PORT.fullmatch(text)
    return parse_address(with_port[1] or with_port[2]) if with_port else None


def _forwarded_nodes(lines: Sequence[bytes]) -> Iterator[Address | None]:
    """Yield the addresses in `for=` of `Forwarded` from right to left; None for an element without one.

    The quotation marks of a line can only be paired from its beginning: a line that is malformed anywhere
    has no elements.
    """
    for line in reversed(lines):
        elements = _elements(line.decode("latin-1"))
        if elements is None:
            yield None
            return
        for element in reversed(elements):
            yield _node(element)


def _elements(line: str) -> list[list[tuple[str, str]]] | None:
    """Parse a line of `Forwarded` (RFC 7239, section 4), with client addresses, into its elements."""
    found: list[list[tuple[str, str]]] = []
    pairs: list[tuple[str, str]] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at] in " \t":
            at += 1
        pair = _PAIR.match(line, at)
        if pair is not None:
            value = pair[2]
            pairs.append((pair[1].lower(), _ESCAPED.sub(r"\1", value[1:-1]) if value[0] == '"' else value))
            at = pair.end()
            while at < end and line[at] in " \t":
                at += 1
        if at == end or line[at] == ",":
            if pairs:
                found.append(pairs)
                pairs = []
            if at == end:
                return found
        elif line[at] != ";" or not pairs:
            return None
        at += 1


def _node(element: Sequence[tuple[str, str]]) -> Address | None:
    """Return the address in the only `for` of an element; RFC 7239 allows `unknown` and hidden names, too."""
    nodes = [value for name, value in element if name == "for"]
    if len(nodes) != 1 or not (node := _NODE.fullmatch(nodes[0])):
        return None
    return parse_address(node[1] or node[2])
