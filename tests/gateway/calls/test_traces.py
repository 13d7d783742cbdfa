"""The trace of a caller is kept on its run, and costs other runs nothing."""

from __future__ import annotations

import json

import pytest

from iogate.store.integrity.seals import Facts, decode_facts, seal_facts, verify_facts
from tests.gateway.driver import World, api
from tests.keys import RING

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ([("traceparent", PARENT)], PARENT),
        ([("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")], f"{PARENT} a=1,b=2"),
        ([("traceparent", PARENT), ("traceparent", PARENT)], ""),
        ([("traceparent", "nonsense"), ("tracestate", "a=1")], ""),
        ([("tracestate", "a=1")], ""),
        ([], ""),
    ],
)
async def test_the_trace_of_a_call_is_that_of_its_run(
    world: World, headers: list[tuple[str, str]], trace: str
) -> None:
    await world.publish(api("a/b"))
    uid = (await world.ask("/v1/api/a/b/async", "POST", headers, b"{}")).uid
    stored = await world.store.call("HGET", f"iogate:run:{uid}", "f")
    assert len(json.loads(stored)) == (9 if trace else 8)
    claim = await world.claim(uid)
    assert (claim.trace, claim.forged) == (trace, "")


def test_facts_of_earlier_releases_are_read() -> None:
    plain = Facts(1, "w", "p", "caller", None, "n", "7/1")
    sealed = seal_facts(RING, "1", "a/b", plain, b"{}")
    assert sealed.startswith(b'[1,"w","p","caller",null,"n","7/1","')
    assert verify_facts(RING, b"1", b"a/b", sealed, b"{}")
    found = decode_facts(sealed)
    assert (found.parent, found.trace) == ("7/1", "")
    assert found.seal
    assert seal_facts(RING, "1", "a/b", found, b"{}") == sealed, "a retry seals them again"
    traced = seal_facts(RING, "1", "a/b", Facts(1, "w", "p", "", None, "n", trace=PARENT), b"{}")
    assert verify_facts(RING, b"1", b"a/b", traced, b"{}")
    assert decode_facts(traced).trace == PARENT
    assert not verify_facts(RING, b"1", b"a/b", traced.replace(b"-01", b"-00"), b"{}"), "it is sealed"
