"""The page about operators has the routes, roles and parameters that the gateway has."""

from __future__ import annotations

import re

from iogate.gateway.operators.operations import OPERATIONS
from iogate.settings.operators import ROLES
from tests.docs.pages import DOCS, names, rows, sections

PAGE = DOCS / "reference" / "operators.md"


def test_exactly_the_routes_and_roles_are_documented() -> None:
    told = {}
    for cells in rows(sections(PAGE)["Routes"]):
        (request,), (role,) = names(cells[0]), names(cells[1])
        told[request.partition("?")[0]] = role
    assert told == {f"{each.method} {each.path}": str(each.role) for each in OPERATIONS}


def test_exactly_the_parameters_are_documented() -> None:
    page = "\n".join(sections(PAGE).values())
    for operation in OPERATIONS:
        for name in (*operation.query, *operation.body):
            assert re.search(rf"`{name}[`=]", page), (operation.name, name)


def test_exactly_the_roles_are_documented() -> None:
    assert [names(cells[0])[0] for cells in rows(sections(PAGE)["Roles"])] == list(ROLES)
