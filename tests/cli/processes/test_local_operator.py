"""The operator that `iogate up` makes on a machine of its own, and the link to the console that it prints."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from iogate.cli.processes.local_operator import add_operator
from iogate.settings import Settings
from tests.cli.place import Place, until, up, write_project
from tests.patient_http import PatientTransport, is_stalled


@pytest.mark.parametrize(
    "changed",
    [
        {"host": "0.0.0.0"},
        {"public_url": "https://calls.example"},
        {"trusted_proxies": ("10.0.0.0/8",)},
        {"operators": {"ada": {"token": {"env": "ADA"}, "role": "read"}}},
    ],
    ids=["others reach it", "a public URL", "behind a proxy", "with operators"],
)
def test_no_operator_is_added_where_others_may_come(changed: dict[str, Any]) -> None:
    settings = replace(Settings(), **changed)
    assert add_operator(settings) is settings


def test_the_token_of_the_added_operator_is_known_to_nobody() -> None:
    (given,) = add_operator(Settings()).operators.values()
    (other,) = add_operator(Settings()).operators.values()
    assert given["role"] == "admin"
    assert re.fullmatch("sha256:[0-9a-f]{64}", given["token"]["hash"])
    assert given != other


def test_up_prints_a_link_that_opens_the_console_once(tmp_path: Path) -> None:
    write_project(tmp_path)
    for _ in range(3):
        with up(tmp_path) as shop:
            until(lambda: "(this link opens it once, within 15 minutes)" in shop.err)
            if opens_the_console_once(shop):
                return
    pytest.fail("the store was stalled each time")


def opens_the_console_once(shop: Place) -> bool:
    """Check a login by the link; return False if it has met a stalled store, and may be used up."""
    (link,) = re.findall(r"^console +(\S+)$", shop.err, re.MULTILINE)
    own = {"Origin": shop.url}
    with httpx.Client(timeout=30, transport=PatientTransport()) as browser:
        shown = browser.get(link)
        assert (shown.status_code, "set-cookie" in shown.headers) == (200, False)
        (once,) = re.findall(r'name="once" value="([\w-]+)"', shown.text)
        begun = httpx.post(f"{shop.url}/console/login", data={"once": once}, headers=own, timeout=30)
        if begun.status_code == 503 and is_stalled(begun.text):
            return False
        browser.cookies.update(begun.cookies)
        assert (begun.status_code, begun.headers["location"]) == (303, "/console")
        assert browser.get(f"{shop.url}/console/activity").status_code == 200
    with httpx.Client(timeout=30, transport=PatientTransport()) as other:
        again = other.post(f"{shop.url}/console/login", data={"once": once}, headers=own)
        assert (again.status_code, "set-cookie" in again.headers) == (410, False)
        assert "This login link was used, or is too old." in again.text
    return True
