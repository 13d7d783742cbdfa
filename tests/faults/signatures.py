"""`python -m tests.faults.signatures`: malformed, expired and wrong signatures of every scheme.

A gateway of this process has an API for each scheme. Each request is a valid delivery that one mutation
breaks: in its signature, its time, its id, its body, or by a repeated header. Every one must get a 401.
Between them, valid deliveries must start a run, and their replays none.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from iogate.auth.model import EnvSecret, SignatureAuth, SignatureFormat, SignatureScheme, StoredSecret
from iogate.store.embedded.server import temporary_server
from iogate.store.store import Store, open_store
from tests.gateway.driver import World, api, opened
from tests.gateway.webhooks import SECRET, WHSEC, digest, github, meta, now, slack, standard, stripe
from tests.keys import RING

GOOD_EVERY = 50
Headers: TypeAlias = dict[str, str]
OWN = SignatureFormat(
    header="X-Sig", prefix="h=", signed="{id};{timestamp};{body}", timestamp="X-Time", unit="ms", id="X-Id"
)


def own(body: bytes, secret: str = SECRET, delivery: str = "1", at: int | None = None) -> Headers:
    moment = f"{now() if at is None else at}000"
    signed = f"{delivery};{moment};".encode() + body
    return {"X-Sig": f"h={digest(secret, signed).hex()}", "X-Time": moment, "X-Id": delivery}


@dataclass(frozen=True, kw_only=True)
class Sender:
    """A scheme, with the headers that a mutation may break."""

    sign: Callable[..., Headers]
    signature: str
    timestamp: str = ""
    id: str = ""
    secret: str = SECRET
    other: str = "another secret"


SENDERS: dict[SignatureScheme, Sender] = {
    "github": Sender(sign=github, signature="X-Hub-Signature-256"),
    "standard-webhooks": Sender(
        sign=standard,
        signature="webhook-signature",
        timestamp="webhook-timestamp",
        id="webhook-id",
        secret=WHSEC,
        other=WHSEC[:-4] + "AAAA",
    ),
    "stripe": Sender(sign=stripe, signature="Stripe-Signature", timestamp="Stripe-Signature"),
    "slack": Sender(sign=slack, signature="X-Slack-Signature", timestamp="X-Slack-Request-Timestamp"),
    "meta": Sender(sign=meta, signature="X-Hub-Signature-256"),
    "hmac": Sender(sign=own, signature="X-Sig", timestamp="X-Time", id="X-Id"),
}


@dataclass(kw_only=True)
class Campaign:
    """Outcome of broken and of valid deliveries."""

    broken: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Mutations with the statuses of their responses."""
    messages: Counter[str] = field(default_factory=Counter)
    good: Counter[int] = field(default_factory=Counter)
    replays: int = 0
    """Replays that returned the run of the first delivery."""
    let_in: list[tuple[str, Headers]] = field(default_factory=list)
    held: int = 0
    """Bytes of bodies that are still counted after all responses."""

    @property
    def holds(self) -> bool:
        return (
            {status for _, status in self.broken} == {401}
            and set(self.good) == {202}
            and self.replays > 0
            and not self.held
        )

    def table(self) -> str:
        lines = [f"{name:<24} {status}  {count}" for (name, status), count in sorted(self.broken.items())]
        lines += [f"{count:>7} x {message}" for message, count in self.messages.most_common()]
        lines.append(f"valid {dict(self.good)}, replays without a run {self.replays}, held {self.held} bytes")
        return "\n".join(lines + [f"let in: {each}" for each in self.let_in[:5]])


JUNK = (
    "", ",", ";;", " ", "=", "t=", "v1=", "v0=", "v1,", "sha256=", "sha1=0", "t=1,v1=", "\xff" * 40, "\x00",
    "sha256=" + "0" * 64, "sha256=" + "g" * 64, "v1=" + "0" * 64, "v1," + "A" * 43 + "=", "v0=" + "\xe9" * 64,
    "h=" + "0" * 64, "h=" * 500, "A" * 20_000, "v1," * 5_000, "t=1," * 5_000, "{body}", "%00", "%s", "None",
)  # fmt: skip
TIMES = (
    "", "0", "-1", "+1", "1e9", "1.5", "0x5", "\xb2\xb3", "NaN", "99999999999999999999", "9" * 4_000, " ",
    "1,2", "١٢٣".encode().decode("latin-1"), "now",
)  # fmt: skip


def _broken(sender: Sender, chance: random.Random, body: bytes) -> tuple[str, bytes, list[tuple[str, str]]]:
    """Return the name of a mutation, and the body and headers of a delivery that it broke."""
    headers = sender.sign(body)
    mutations = ["junk", "flipped", "truncated", "absent", "wrong secret", "other scheme", "body", "twice"]
    mutations += ["time", "expired", "early"] if sender.timestamp else []
    mutations += ["id"] if sender.id else []
    name = chance.choice(mutations)
    value = headers[sender.signature]
    match name:
        case "junk":
            headers[sender.signature] = chance.choice(JUNK)
        case "flipped":
            at = chance.randrange(len(value) - 40, len(value) - 2)
            headers[sender.signature] = value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]
        case "truncated":
            headers[sender.signature] = value[: chance.randrange(len(value) - 2)]
        case "absent":
            del headers[sender.signature]
        case "wrong secret":
            headers = sender.sign(body, sender.other)
        case "other scheme":
            other = chance.choice([each for each in SENDERS.values() if each.signature != sender.signature])
            headers[sender.signature] = other.sign(body, other.secret)[other.signature]
        case "body":
            body = chance.choice([body + b" ", body[1:], b"", b"{}", body.replace(b"n", b"m"), b"\xff" * 9])
        case "time":
            moment = chance.choice(TIMES)
            if sender.timestamp == sender.signature:
                moment = f"t={moment}," + value.partition(",")[2]
            headers[sender.timestamp] = moment
        case "expired":
            headers = sender.sign(body, at=now() - chance.randrange(301, 10**6))
        case "early":
            headers = sender.sign(body, at=now() + chance.randrange(302, 10**6))
        case "id":
            headers[sender.id] = chance.choice(["", "other", "\xff", "x" * 9_000])
    sent = list(headers.items())
    if name == "twice":
        repeated = chance.choice([each for each in (sender.signature, sender.timestamp, sender.id) if each])
        sent.append((repeated, headers[repeated]))
    return name, body, sent


async def campaign(store: Store, *, requests: int, seed: int) -> Campaign:
    """Send `requests` broken deliveries, and valid ones between them."""
    chance = random.Random(seed)
    found = Campaign()
    os.environ |= {"SIGNATURES_SECRET": SECRET, "SIGNATURES_WHSEC": WHSEC}
    async with opened(store) as world:
        await world.publish(*(api(f"hooks/{scheme}", _auth(scheme), verbs=("POST",)) for scheme in SENDERS))
        for number in range(requests):
            scheme = chance.choice(list(SENDERS))
            path = f"/v1/api/hooks/{scheme}/{chance.choice(['async', 'sync'])}"
            body = b'{"n": %d, "id": "evt_%d", "event_id": "Ev%d"}' % (number, number, number)
            if number % GOOD_EVERY == 0:
                await _deliver(world, scheme, body, str(number), found)
            name, sent, headers = _broken(SENDERS[scheme], chance, body)
            reply = await world.ask(path, "POST", headers, sent)
            found.broken[name, reply.status] += 1
            if reply.status == 401:
                found.messages[reply.message] += 1
            else:
                found.let_in.append((f"{scheme} {name} {reply.status}", dict(headers)))
        found.held = world.live.bodies.held
    return found


def _auth(scheme: SignatureScheme) -> SignatureAuth[StoredSecret]:
    secret = EnvSecret(name="SIGNATURES_WHSEC" if scheme == "standard-webhooks" else "SIGNATURES_SECRET")
    return SignatureAuth(
        scheme=scheme,
        secrets=(secret,),
        caller=scheme,
        verify_token=(secret,) if scheme == "meta" else (),
        declared=OWN if scheme == "hmac" else None,
    )


async def _deliver(
    world: World, scheme: SignatureScheme, body: bytes, delivery: str, found: Campaign
) -> None:
    """Send a valid delivery twice."""
    sender = SENDERS[scheme]
    named = {"delivery": delivery} if sender.id or scheme == "github" else {}
    headers = sender.sign(body, **named)
    path = f"/v1/api/hooks/{scheme}/async"
    first, again = [await world.ask(path, "POST", headers, body) for _ in range(2)]
    found.good[first.status] += 1
    found.good[again.status] += 1
    if scheme != "meta" and 202 == first.status == again.status:
        assert first.uid == again.uid, scheme
        found.replays += 1


async def _main(requests: int, seed: int) -> Campaign:
    with temporary_server() as server:
        store = await open_store(server.url, client_name="signatures", keyring=RING)
        try:
            return await campaign(store, requests=requests, seed=seed)
        finally:
            await store.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = parser.parse_args()
    print(f"seed {given.seed}")
    found = asyncio.run(_main(given.requests, given.seed))
    print(found.table())
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
