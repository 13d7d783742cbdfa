"""The page about observability has the log records and the metrics of the code, and rules that use them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from iogate.gateway.observability import metrics
from iogate.store import keys
from iogate.store.events.due_callbacks import OUTCOMES
from iogate.store.integrity.refusals import KINDS
from iogate.timing.durations import parse_duration
from tests.docs import log_records
from tests.docs.log_records import LEVELS
from tests.docs.pages import DOCS, ROOT, names, rows, sections

PAGE = DOCS / "reference" / "observability.md"
UNWRITTEN = "Records of the level debug"
"""Section of the records that no process writes."""
HEAD = "| action | level | members |"
SERIES = re.compile(r"\b(iogate_\w+?)(_bucket)?\b(?:\{([^}]*)\})?(?=\W|$)")


def told_records() -> dict[str, list[str]]:
    """Return the cells of each row about an action, by the action."""
    found: dict[str, list[str]] = {}
    for section in sections(PAGE).values():
        for cells in rows(section) if HEAD in section else ():
            (action,) = names(cells[0])
            assert action not in found, f"two rows for {action}"
            found[action] = cells
    return found


def served_metrics() -> dict[str, tuple[str, list[str]]]:
    """Return type and labels of each metric that the code serves, by its name."""
    processes = metrics.Snapshot(
        apis={"a/b": metrics.Counts(refused={"code": 1})},
        events=metrics.EventCounts(refused={"code": 1}),
        revision=1,
        certificate_expiry_s=1.0,
    )
    store = metrics.StoreFigures(
        runs={"running": 1},
        queued=0,
        forged={"run": 1},
        callbacks=({"failed": 1}, 0),
        skips={"a/b": {"missed": 1}},
        workers=0,
        memory=(1, 2),
    )
    text = metrics.exposition(processes, store).decode()
    found = {}
    for name, kind in re.findall(r"(?m)^# TYPE (\w+) (\w+)$", text):
        samples = re.findall(rf"(?m)^{name}(?:_bucket)?(?:\{{(.*?)\}})? \S+$", text)
        labels = {label for sample in samples for label in re.findall(r'(\w+)="', sample)}
        found[name] = (kind, sorted(labels - {"le"}))
    return found


def told_metrics() -> dict[str, list[str]]:
    """Return the cells of each row about a metric, by its name."""
    return {names(cells[0])[0]: cells for cells in rows(sections(PAGE)["Metrics"])}


def rules() -> list[dict[str, Any]]:
    """Return the alert rules of the page."""
    (block,) = re.findall(r"(?ms)^```yaml\n(groups:.*?)^```$", PAGE.read_text(encoding="utf-8"))
    (group,) = yaml.safe_load(block)["groups"]
    return list(group["rules"])


def test_exactly_the_actions_of_the_code_are_documented_with_their_levels_and_members() -> None:
    told, records = told_records(), log_records.log_records()
    written = {action for action, record in records.items() if record.levels != {"debug"}}
    assert told.keys() == written
    assert set(names(sections(PAGE)[UNWRITTEN])) == records.keys() - written
    for action, (_, level, members, meaning, remedy) in told.items():
        record, levels, named = records[action], level.split(", "), set(names(members))
        assert record.levels <= set(levels) <= record.levels | record.possible_levels, action
        assert levels == sorted(set(levels), key=LEVELS.index), action
        assert record.members <= named <= record.members | record.possible_members, action
        assert meaning.endswith("."), action
        assert remedy, action


def test_exactly_the_metrics_of_the_code_are_documented() -> None:
    told = {name: (cells[1], sorted(names(cells[2]))) for name, cells in told_metrics().items()}
    assert told == served_metrics()


def test_values_of_labels_are_those_of_the_code() -> None:
    told = {name: set(names(cells[4])) for name, cells in told_metrics().items()}
    assert set(keys.STATUSES) == told["iogate_runs"]
    assert set(OUTCOMES) == told["iogate_callbacks_total"]
    assert set(KINDS) == told["iogate_store_refused_total"]
    script = (ROOT / "iogate" / "store" / "lua" / "tick.lua").read_text(encoding="utf-8")
    (labels,) = re.findall(r"(?s)local LABELS = \{(.*?)\}", script)
    reasons = set(re.findall(r"= '(\w+)'", labels))
    assert reasons == told["iogate_schedule_ticks_skipped_total"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_rule_uses_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    assert {"alert", "expr", "for", "labels", "annotations"} == rule.keys()
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert parse_duration(rule["for"]).seconds > 0
    served = served_metrics()
    used = SERIES.findall(rule["expr"])
    assert used or "up{" in rule["expr"]
    for name, bucket, matchers in used:
        kind, labels = served[name]
        assert (kind == "histogram") == bool(bucket)
        assert set(re.findall(r"(\w+)\s*[=!]~?", matchers)) <= set(labels), rule["expr"]


def test_each_alert_rule_has_a_reason() -> None:
    told = [names(cells[0])[0] for cells in rows(sections(PAGE)["Alert rules"])]
    assert told == [rule["alert"] for rule in rules()]
