"""Guard: an apply deletes neither protected APIs nor all APIs."""

from __future__ import annotations

import pytest

from iogate.errors import Refused
from iogate.reconcile import guard
from tests.reconcile.revisions import api, revision


def test_a_protected_api_is_not_deleted() -> None:
    before = revision(api("a/b", protect=True), api("a/c", protect=True), api("a/d"))
    with pytest.raises(Refused) as caught:
        guard.check(before, revision(api("a/d")), allow_empty=True)
    assert caught.value.message == "a/b, a/c are protected and would be deleted"
    assert caught.value.hint == ("restore the file; or write protect: false, apply that, and then delete it")
    assert (caught.value.code, caught.value.exit_code) == ("IOG630", 4)


def test_a_protected_api_may_change_and_lose_its_protection() -> None:
    guard.check(revision(api(protect=True)), revision(api(protect=False)), allow_empty=False)


def test_all_apis_are_deleted_only_with_allow_empty() -> None:
    with pytest.raises(Refused, match="this would delete all 2 APIs: the files contain none") as caught:
        guard.check(revision(api("a/b"), api("a/c")), revision(), allow_empty=False)
    assert caught.value.hint.endswith("pass --allow-empty")
    with pytest.raises(Refused, match="this would delete the only API"):
        guard.check(revision(api("a/b")), revision(), allow_empty=False)
    guard.check(revision(api("a/b")), revision(), allow_empty=True)


def test_an_empty_project_may_be_the_first() -> None:
    guard.check(None, revision(), allow_empty=False)
    guard.check(revision(), revision(), allow_empty=False)
