"""The setting `events`: valid values, and errors about invalid ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from iogate import settings
from iogate.errors import InvalidFiles
from iogate.settings import events as eventing

AUTHS: list[Any] = [
    "none",
    {"token": {"env": "EVENTS_TOKEN"}},
    {"token": [{"env": "OLD"}, {"file": "secrets/new"}]},
    {"tokens": {"shop": "123456", "billing": {"hash": "sha256:" + "0" * 64}}},
    {"user": "bot", "password": {"file": "p"}},
    {"users": {"bot": {"env": "P"}}},
    {"any": [{"token": "t"}, {"user": "bot", "password": "p"}]},
]


def fault(events: Any) -> str:
    with pytest.raises(InvalidFiles) as raised:
        settings.read({"events": events}, lines={"events": 3})
    assert raised.value.code == "IOG191"
    return raised.value.message.removeprefix("iogate.yaml:3: events: expected ")


@pytest.mark.parametrize("auth", AUTHS)
def test_every_form_of_auth_is_accepted_unchanged(auth: Any) -> None:
    assert settings.read({"events": {"auth": auth}}).events == {"auth": auth}


def test_a_sink_has_defaults_and_keeps_references() -> None:
    sink = {"url": "https://h/in?a=1", "headers": {"x-key": {"env": "KEY"}, "x-team": "shop"}}
    read = settings.read({"events": {"sinks": {"audit": sink}}}).events
    assert read == {"sinks": {"audit": sink | {"emitted": True, "lifecycle": False}}}
    assert settings.read({"events": read}).events == read, "a child reads what its parent had"


def test_a_literal_is_in_no_representation() -> None:
    read = settings.read({"events": {"auth": {"token": "hunter2"}}})
    assert "hunter2" not in repr(read)
    assert dataclasses.fields(read)


def test_a_secret_in_clear_is_known_and_a_reference_is_none() -> None:
    in_clear = [eventing.has_literal(auth) for auth in AUTHS]
    assert in_clear == [False, False, False, True, False, False, True]


FORM = "none, or one of {token}, {tokens}, {user, password}, {users} and {any: [ … ]}"
SECRET = "{env: NAME}, {file: PATH}, {hash: …} or a text"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], "{auth: AUTH, sinks: {NAME: SINK}}, with no other key"),
        ({"token": "hunter2"}, "{auth: AUTH, sinks: {NAME: SINK}}, with no other key"),
        ({"auth": "all"}, f"auth to be {FORM}"),
        ({"auth": {"tokn": "hunter2"}}, f"auth to be {FORM}"),
        ({"auth": {"user": "bot"}}, f"auth to be {FORM}"),
        ({"auth": {"any": []}}, f"auth to be {FORM}"),
        ({"auth": {"any": ["none", {"x": 1}]}}, f"auth.any[1] to be {FORM}"),
        ({"auth": {"any": [{"any": ["none"]}]}}, "auth.any to list forms other than any"),
        (
            {"auth": {"jwt": {}}},
            f"auth to be {FORM}: signatures and JWT are not executed by this release",
        ),
        (
            {"auth": {"token": 123456}},
            "auth.token to be a text in quotes: a YAML number loses leading zeros and signs",
        ),
        ({"auth": {"token": ""}}, f"auth.token to be {SECRET}"),
        ({"auth": {"token": {"env": "A B"}}}, f"auth.token to be {SECRET}"),
        ({"auth": {"token": {"hash": "md5:1"}}}, f"auth.token to be {SECRET}"),
        ({"auth": {"token": ["a"]}}, "auth.token to list two secrets, the old one and the new one"),
        ({"auth": {"tokens": {"a b": "x"}}}, "the names in auth.tokens to be text without spaces and colons"),
        ({"sinks": []}, "sinks to be a map of name to {url: URL}"),
        ({"sinks": {"a b": {}}}, "the names in sinks to be text without spaces and colons"),
        ({"sinks": {"a": {}}}, "sinks.a to be a map with a url"),
        (
            {"sinks": {"a": {"url": "https://h", "type": 1}}},
            "sinks.a to have no key 'type'; its keys are url, headers, emitted, lifecycle, types",
        ),
        ({"sinks": {"a": {"url": "ftp://h"}}}, "sinks.a.url to be a URL with http:// or https://"),
        (
            {"sinks": {"a": {"url": "https://h", "headers": {"x": {"hash": "y"}}}}},
            "sinks.a.headers.x to be a text of one line, {env: NAME} or {file: PATH}",
        ),
        (
            {"sinks": {"a": {"url": "https://h", "headers": {"content-type": "x"}}}},
            "sinks.a.headers to name headers; those of the body are set by iogate",
        ),
        ({"sinks": {"a": {"url": "https://h", "emitted": "yes"}}}, "sinks.a.emitted to be true or false"),
        (
            {"sinks": {"a": {"url": "https://h", "types": ["("]}}},
            "sinks.a.types to be regular expressions; one does not compile",
        ),
        (
            {"sinks": {"a": {"url": "https://h", "types": "x"}}},
            "sinks.a.types to be a list of regular expressions of event types",
        ),
    ],
)
def test_an_invalid_value_is_reported_by_position_and_never_shown(events: Any, expected: str) -> None:
    assert fault(events) == f"{expected}, got something else"
