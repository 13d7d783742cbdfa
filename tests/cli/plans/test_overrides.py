"""Overrides outlive every apply, and end in the step of one that is told to clear them."""

from __future__ import annotations

from tests.cli.conftest import Cli
from tests.cli.place import API


def enabled(project: Cli, api: str = "shop/buy") -> bool:
    found: bool = project("api", "show", api, "-o", "json").json["enabled"]
    return found


def test_a_merge_that_adds_enabled_does_not_undo_a_disable(project: Cli) -> None:
    """The plan says so: shop/hashed has no value in git, and someone has disabled it."""
    project("apply", "--yes")
    project("enable", "shop/hashed")
    project("disable", "shop/hashed", "--reason", "incident 12")
    taken_over = API.replace('7921a4881"}}\n', '7921a4881"}}\n    enabled: true\n')
    assert taken_over != API
    project.write("apis.d/shop.yaml", taken_over)
    ran = project("apply", "--yes")
    assert "it stays disabled, because " in ran.out
    assert not enabled(project, "shop/hashed")
    (override,) = project("override", "list", "-o", "json").json["overrides"]
    assert (override["api"], override["reason"]) == ("shop/hashed", "incident 12")
    assert "! override shop/hashed: disabled by " in project("plan").out
    ran = project("apply", "--clear-overrides", code=64)
    assert "- override shop/hashed: disabled by " in ran.out
    assert "add --yes" in ran.err
    project("apply", "--clear-overrides", "--yes")
    assert enabled(project, "shop/hashed")
    assert project("override", "list", "-o", "json").json["overrides"] == []
    assert "no changes" in project("apply", "--clear-overrides").out, "nothing to confirm"


def test_overrides_are_cleared_with_the_changes_of_the_files(project: Cli) -> None:
    project("apply", "--yes")
    project("disable", "shop/buy", "--hold")
    assert "! override shop/buy: held by " in project("plan").out
    project.write("apis.d/shop.yaml", API.replace("timeout: 10m", "timeout: 11m"))
    project("apply", "--yes")
    assert project("api", "show", "shop/buy", "-o", "json").json["held"] is True
    project.write("apis.d/shop.yaml", API)
    project("apply", "--yes", "--clear-overrides")
    assert project("api", "show", "shop/buy", "-o", "json").json["held"] is False


def test_a_part_of_the_overrides_is_not_cleared(project: Cli) -> None:
    ran = project("apply", "--yes", "--clear-overrides", "--select", "shop", code=64)
    assert "--clear-overrides and --select cannot be combined" in ran.err
    assert 'clear those of some APIs with "iogate override clear"' in ran.err
