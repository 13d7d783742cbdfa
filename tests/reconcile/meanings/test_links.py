"""Changes of the links of a workflow say what people can do with them, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.reconcile.meanings.workflows import differences, meanings

SCHEMA = {"type": "object", "properties": {"decision": {"enum": ["yes", "no"]}}}
LINK = {"ttl": "7d", "title": "Refund", "schema": SCHEMA}
NARROWER = {"type": "object", "properties": {"decision": {"enum": ["yes"]}}}
AT = "/document/metadata/iogate/links"


def workflow(**metadata: Any) -> dict[str, Any]:
    head = {"dsl": "1.0.3", "namespace": "n", "name": "w", "version": "1.0.0"}
    return {"document": {**head, **metadata}, "do": [{"a": {"set": {"x": 1}}}]}


def linked(**links: Any) -> dict[str, Any]:
    return workflow(metadata={"iogate": {"links": links}})


def found(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str]]:
    changed = meanings(before, after, differences(before, after))
    return [(each.kind, each.text, each.pointer) for each in changed]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            workflow(),
            linked(approve=LINK),
            (
                "link.added",
                'link "approve" added: who has its URL can use it once within 7d',
                f"{AT}/approve",
            ),
        ),
        (
            linked(approve=LINK),
            workflow(),
            ("link.removed", 'link "approve" removed: new runs have no such link', f"{AT}/approve"),
        ),
        (
            linked(approve=LINK),
            linked(approve={**LINK, "ttl": "1d"}),
            (
                "link.shortened",
                'link "approve" of new runs is valid for a shorter time (7d → 1d)',
                f"{AT}/approve/ttl",
            ),
        ),
        (
            linked(approve={}),
            linked(approve={"ttl": "30d"}),
            (
                "link.lengthened",
                'link "approve" of new runs is valid for a longer time (7d → 30d)',
                f"{AT}/approve/ttl",
            ),
        ),
        (
            linked(approve=LINK),
            linked(approve={**LINK, "title": "Pay back"}),
            ("link.changed", 'title on the page of link "approve" changed', f"{AT}/approve/title"),
        ),
        (
            linked(approve={}),
            linked(approve={"schema": SCHEMA}),
            ("link.changed", 'link "approve" takes data: its page has a form', f"{AT}/approve/schema"),
        ),
        (
            linked(approve=LINK),
            linked(approve={**LINK, "schema": NARROWER}),
            (
                "link.changed",
                'link "approve" accepts less data: /decision: value no not allowed any more',
                f"{AT}/approve/schema",
            ),
        ),
    ],
)
def test_each_change_of_a_link_has_one_meaning(
    before: dict[str, Any], after: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert found(before, after) == [expected]


def test_a_change_beside_the_links_keeps_its_own_meaning() -> None:
    before = workflow(metadata={"owner": "ops"})
    after = workflow(metadata={"owner": "shop", "iogate": {"links": {"approve": {}}}})
    assert [(kind, pointer) for kind, _, pointer in found(before, after)] == [
        ("link.added", f"{AT}/approve"),
        ("workflow.changed", "/document/metadata/owner"),
    ]
    spelled = linked(approve={"ttl": "168h"})
    assert found(linked(approve={"ttl": "7d"}), spelled) == [], "another spelling is no change"
