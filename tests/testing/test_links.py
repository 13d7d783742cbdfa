"""`$runtime.links` is one URL in all expressions of a run; the event of a link continues it in a test."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from iogate.settings import Settings
from iogate.testing import FakeClock, Harness, Outcome

WORKFLOW = """
document:
  dsl: 1.0.3
  namespace: t
  name: w
  version: 1.0.0
  metadata:
    iogate:
      links:
        approve: {ttl: 2d, description: 'Pay ${ .amount } of ${ $context.total // 0 }?'}
        reject: {}
timeout: {after: P3D}
do:
  - ask: {set: {url: '${ $runtime.links.approve }', all: '${ $runtime.links | keys }', amount: 3}}
  - pause: {wait: {hours: 1}}
  - decided:
      listen:
        to: {any: [{with: {type: iogate.link.approve}}, {with: {type: iogate.link.reject}}]}
        read: envelope
      output: {as: '{type: .[0].type, data: .[0].data, url: $runtime.links.approve}'}
"""
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def harness(root: Path, text: str = WORKFLOW) -> Harness:
    (root / "workflows.d").mkdir(exist_ok=True)
    (root / "workflows.d" / "w.yaml").write_text(text)
    return Harness.load(root, settings=Settings(public_url="https://gate.example"))


async def test_the_event_of_a_link_continues_the_run(tmp_path: Path) -> None:
    event = {"type": "iogate.link.approve", "data": {"ok": True}}
    outcome = await harness(tmp_path).run("t/w", events=[event], clock=FakeClock(BEGIN))
    assert outcome.status == "completed", outcome.error
    assert outcome.output["data"] == {"ok": True}
    ends_s = int(BEGIN.timestamp()) + 2 * 86_400
    assert outcome.output["url"].startswith(f"https://gate.example/v1/links/{outcome.uid}.approve.{ends_s}.")


async def test_the_url_is_the_same_whenever_it_is_read(tmp_path: Path) -> None:
    text = WORKFLOW.replace("url: $runtime.links.approve}'}", "url: $runtime.links}'}")
    text += "  - later: {set: {first: '${ .url.approve }', again: '${ $runtime.links.approve }'}}\n"
    outcome = await harness(tmp_path, text).run("t/w", events=[{"type": "iogate.link.reject"}])
    assert outcome.status == "completed", outcome.error
    assert outcome.output["first"] == outcome.output["again"]


async def test_an_event_of_a_link_cannot_be_emitted(tmp_path: Path) -> None:
    emit = '  - forge: {emit: {event: {with: {source: /x, type: \'${ "iogate.link." + "approve" }\'}}}}\n'
    outcome = await harness(tmp_path, WORKFLOW.replace("do:\n", "do:\n" + emit)).run("t/w")
    assert told(outcome).endswith(
        'attribute "type" of the event must not begin with "iogate.link.": only the link of a run sends such '
        "an event"
    )


async def test_links_need_public_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iogate.testing.defaults.link_maker", lambda *_: None)
    outcome = await harness(tmp_path).run("t/w")
    assert outcome.error is not None
    assert (outcome.error["type"].rpartition("/")[2], outcome.error["title"]) == (
        "configuration",
        "Links have no URL",
    )
    assert told(outcome).endswith(
        "$runtime.links needs the setting public_url, the URL at which people reach the gateway, and this "
        "worker has none"
    )


def told(outcome: Outcome) -> str:
    assert outcome.error is not None
    return str(outcome.error["detail"])
