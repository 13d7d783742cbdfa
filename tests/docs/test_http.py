"""The page about HTTP has the codes and routes that the gateway has; the store's keys are told."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

from litestar import Litestar

from iogate.gateway import app
from iogate.store import keys
from tests.docs.pages import DOCS, ROOT, names, rows, sections

PAGE = DOCS / "reference" / "http.md"
CODE = re.compile(r"\b(?:requestError|serverError)\.\w+")


def test_exactly_the_error_codes_of_the_gateway_are_documented() -> None:
    sources = "\n".join(path.read_text() for path in sorted((ROOT / "iogate" / "gateway").rglob("*.py")))
    assert set(CODE.findall(sections(PAGE)["Errors"])) == set(CODE.findall(sources))


def test_codes_are_documented_with_their_status() -> None:
    sources = "\n".join(path.read_text() for path in sorted((ROOT / "iogate" / "gateway").rglob("*.py")))
    sent = {code: status for status, code in re.findall(r'\(\s*(\d{3}),\s*"(\w+\.\w+)"', sources)}
    sent |= {"requestError.invalidParams": "400"}
    for cells in rows(sections(PAGE)["Errors"]):
        (code,) = names(cells[2])
        assert cells[1] in {sent[code], "401"}, cells


def test_exactly_the_routes_are_documented() -> None:
    listening: Any = SimpleNamespace(
        draining=SimpleNamespace(is_set=lambda: False),
        senders=None,
        operators=None,
        hosts=None,
        origins=None,
        trusted_proxies=None,
        access_log=None,
    )
    built: Litestar = app.build(listening, cast("Any", None))._others
    served = {re.sub(r":\w+", "", route.path) for route in built.routes}
    told = {path for cells in rows(sections(PAGE)["HTTP"]) for path in re.findall(r"/[\w./{}]+", cells[0])}
    calls = {"/v1/api/{module}/{method}/async", "/v1/api/{module}/{method}/sync", "/v1/events"}
    calls |= {"/v1/links/{link}", "/v1/activity", "/v1/runs"}
    assert calls <= told
    assert told - calls == {path for path in served if not path.startswith("/v1/api")}


def test_exactly_the_keys_of_the_store_are_documented() -> None:
    told = {
        name
        for cells in rows(sections(DOCS / "how-it-works.md")["What is stored"])
        for name in names(cells[0])
        if name.startswith("iogate:")
    }
    described = set(re.findall(r"(?m)^ {4}(iogate:\S+)", str(keys.__doc__)))
    assert told == described
