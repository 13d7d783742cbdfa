"""`python -m tests.faults.forwarding`: forged forwarding headers against an API with a list of addresses.

A gateway of this process trusts one proxy. Each forged request is sent twice: by an attacker directly, and
through the proxy, which appends the address of the attacker as nginx and RFC 7239 do. The forged values are
allowed addresses, addresses of the proxy, and malformed parts. None may be let in; between them, callers with
an allowed address must be.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from dataclasses import dataclass, field

from iogate.auth.allow_ips import AllowedAddresses
from iogate.gateway.http.client_address import TrustedProxies
from iogate.store.embedded.server import temporary_server
from iogate.store.store import Store, open_store
from tests.gateway.driver import World, api, build, opened
from tests.keys import RING

PROXY, ATTACKER, CALLER = "10.0.0.9", "198.51.100.66", "192.0.2.7"
GOOD_EVERY = 100

Headers = list[tuple[str, str]]


@dataclass(kw_only=True)
class Campaign:
    """Outcome of forged and of good requests."""

    direct: Counter[int] = field(default_factory=Counter)
    """Statuses of forged requests without the proxy."""
    through: Counter[int] = field(default_factory=Counter)
    """Statuses of forged requests through the proxy."""
    good: Counter[int] = field(default_factory=Counter)
    let_in: list[Headers] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return set(self.direct) == set(self.through) == {403} and set(self.good) == {202}

    def table(self) -> str:
        return "\n".join(
            f"{name:<24} {dict(found)}"
            for name, found in (
                ("forged, direct", self.direct),
                ("forged, through a proxy", self.through),
                ("good, through a proxy", self.good),
            )
        ) + "".join(f"\nlet in: {headers}" for headers in self.let_in[:5])


def node(chance: random.Random) -> str:
    """Return an address in one of its notations, or something else."""
    address = chance.choice([CALLER, CALLER, PROXY, "127.0.0.1", "::1", "0.0.0.0", "::ffff:192.0.2.7"])
    forms = [
        address,
        f"{address}:{chance.randrange(70_000)}",
        f"[{address}]",
        f"[{address}]:80",
        f'"{address}"',
        f"{address}%eth0",
        f" {address}\t",
        "unknown",
        "_hidden",
        "",
        "3221225991",
        "192.0.2",
        "0300.0.2.7",
        "192.0.2.7\x00",
        "\xff" * chance.randrange(9),
        "9" * chance.randrange(400),
        ",".join([PROXY] * chance.randrange(60)),
    ]
    return chance.choice(forms)


def plain(chance: random.Random) -> str:
    """Return a value of X-Forwarded-For."""
    return chance.choice([",", ", ", " ", ";", ",,"]).join(node(chance) for _ in range(chance.randrange(5)))


def element(chance: random.Random) -> str:
    """Return an element of Forwarded, or something like it."""
    value = node(chance)
    pairs = [
        f"for={value}",
        f'for="{value}"',
        f'For="[{value}]:80"',
        f"for = {value}",
        f'for="{value}',
        f"by={value}",
        'host="a,b"',
        "proto=https",
        f"for={value};for={CALLER}",
        'x="\\"',
        value,
    ]
    return ";".join(chance.sample(pairs, chance.randrange(1, 4)))


def forwarded(chance: random.Random) -> str:
    """Return a value of Forwarded."""
    return ", ".join(element(chance) for _ in range(chance.randrange(4)))


def forged(chance: random.Random) -> Headers:
    """Return the forwarding headers that an attacker sends."""
    found = [
        chance.choice([("x-forwarded-for", plain(chance)), ("forwarded", forwarded(chance))])
        for _ in range(chance.randrange(1, 4))
    ]
    found += [("x-real-ip", CALLER), ("client-ip", CALLER)][: chance.randrange(3)]
    return found


def appended(headers: Headers, address: str, chance: random.Random) -> Headers:
    """Return the headers as a proxy passes them on: with the address of its peer in one of the two."""
    name, value = chance.choice([("x-forwarded-for", address), ("forwarded", f"for={address}")])
    last = max((at for at, (each, _) in enumerate(headers) if each == name), default=None)
    if last is None or chance.random() < 0.3:
        return [*headers, (name, value)]
    return [*headers[:last], (name, f"{headers[last][1]}, {value}"), *headers[last + 1 :]]


async def campaign(store: Store, *, requests: int, seed: int) -> Campaign:
    """Send forged requests, directly and through the proxy, and good ones between them."""
    chance, found = random.Random(seed), Campaign()
    async with opened(store, loopback=False) as world:
        world.live.trusted_proxies = TrustedProxies([PROXY])
        world.application = build(world.live, world.refresher)
        # The proxy is allowed, too: an unknown client behind it is not.
        addresses = AllowedAddresses(networks=("10.0.0.0/8", "127.0.0.0/8", "192.0.2.0/24", "::1"))
        await world.publish(api("t/t", allow_ips=addresses))
        for number in range(requests):
            headers = forged(chance)
            found.direct[status := await _call(world, ATTACKER, headers)] += 1
            passed = appended(headers, ATTACKER, chance)
            found.through[behind := await _call(world, PROXY, passed)] += 1
            if 202 in (status, behind):
                found.let_in.append(passed)
            if number % GOOD_EVERY == 0:
                good = [("x-forwarded-for", f"{plain(chance)}, {CALLER}")]
                found.good[await _call(world, PROXY, good)] += 1
    return found


async def _call(world: World, peer: str, headers: Headers) -> int:
    world.client = (peer, 40_000)
    return (await world.ask("/v1/api/t/t/async", "POST", headers, b"{}")).status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = parser.parse_args()

    async def run() -> Campaign:
        with temporary_server() as server:
            store = await open_store(server.url, client_name="forwarding", keyring=RING)
            try:
                return await campaign(store, requests=given.requests, seed=given.seed)
            finally:
                await store.close()

    found = asyncio.run(run())
    print(f"seed {given.seed}\n{found.table()}")
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
