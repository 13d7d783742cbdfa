"""A server's side of digest authentication (RFC 7616), written from the text of the standard alone.

`/digest-auth/{qop}/{user}/{password}/{algorithm}` asks for it; a nonce serves three times, then it is stale.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter

from aiohttp import web

_SPENT = 3
_used: Counter[str] = Counter()
_issued = 0


def judge(request: web.Request, *, user: str, password: str) -> tuple[bool, dict[str, str]]:
    """Whether the request proves to know the password, and otherwise what it is asked for."""
    global _issued  # noqa: PLW0603 - nonces of one process
    _, qop, *_, algorithm = request.path.strip("/").split("/")
    given = {
        name: quoted or plain
        for name, quoted, plain in re.findall(
            r'([\w*]+)=(?:"([^"]*)"|([^\s,]+))', request.headers.get("Authorization", "")
        )
    }
    stale = ""
    nonce = given.get("nonce", "")
    if nonce and given.get("response") == _expected(request, given, user, password, algorithm):
        _used[nonce] += 1
        fresh = qop == "none" or int(given["nc"], 16) == _used[nonce]
        if fresh and _used[nonce] <= _SPENT:
            return True, {}
        stale = ", stale=true"
    _issued += 1
    ways = "" if qop == "none" else f', qop="{qop}"'
    asks = f'Digest realm="a, \\"b\\"", nonce="n{_issued}/=", opaque="o"{ways}, algorithm={algorithm}{stale}'
    return False, {"WWW-Authenticate": f'Negotiate, {asks}, Basic realm="c"'}


def _expected(request: web.Request, given: dict[str, str], user: str, password: str, algorithm: str) -> str:
    plain = algorithm.removesuffix("-sess")

    def h(text: str) -> str:
        return hashlib.new(plain.replace("-", "").lower(), text.encode()).hexdigest()

    a1 = f'{user}:a, "b":{password}'
    if algorithm != plain:
        a1 = f"{h(a1)}:{given['nonce']}:{given['cnonce']}"
    a2 = f"{request.method}:{request.raw_path}"
    if given.get("qop"):
        return h(f"{h(a1)}:{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}:{h(a2)}")
    return h(f"{h(a1)}:{given['nonce']}:{h(a2)}")
