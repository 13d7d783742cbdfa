"""The setting `events`: valid values, and errors about invalid ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from iogate import settings
from iogate.errors import InvalidFiles
from iogate.settings.events import has_literal

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
        settings.read({"events": events}, place_of=lambda _: "iogate.yaml:3")
    assert raised.value.code == "IOG191"
    return raised.value.message.removeprefix("iogate.yaml:3: events")


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
    in_clear = [has_literal({"auth": auth}) for auth in AUTHS]
    assert in_clear == [False, False, False, True, False, False, True]


FORM = "none, or a mapping with token, tokens, user, users, signature, jwt or any"
SECRET = "{env: NAME}, {file: PATH}, {hash: …} or a literal text"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], ": expected a mapping, got a list"),
        ({"token": "hunter2"}, ': unknown key "token"; keys are auth, sinks'),
        ({"auth": "all"}, f".auth: expected {FORM}, got a value of 3 characters"),
        (
            {"auth": {"tokn": "hunter2"}},
            '.auth: unknown key "tokn"; did you mean "token"?',
        ),
        ({"auth": {"user": "bot"}}, '.auth: missing key "password"'),
        ({"auth": {"any": []}}, ".auth.any: the list is empty"),
        (
            {"auth": {"any": ["none", 1]}},
            f".auth.any[1]: expected {FORM}, got a number",
        ),
        (
            {"auth": {"any": [{"any": ["none"]}]}},
            '.auth.any[0]: "any" stands inside of "any"; list its forms here',
        ),
        (
            {"auth": {"jwt": {"issuer": "id"}}},
            ".auth.jwt.issuer: the keys of an issuer are found by its OpenID configuration if it is a URL, "
            "and it is none; give jwks, key or secret, too",
        ),
        (
            {"auth": {"token": 123456}},
            ".auth.token: a secret must be text, not a number;"
            " quote it: a YAML number loses leading zeros and signs",
        ),
        ({"auth": {"token": ""}}, f".auth.token: the secret is empty; give {SECRET}"),
        (
            {"auth": {"token": {"env": "A B"}}},
            ".auth.token.env: expected the name of a variable, got a value of 3 characters",
        ),
        (
            {"auth": {"token": {"hash": "md5:1"}}},
            ".auth.token.hash: expected sha256: and 64 hex digits, or $argon2id$…, as `iogate secret hash`"
            " writes it, got a value of 5 characters",
        ),
        (
            {"auth": {"token": ["a"]}},
            ".auth.token: a list of secrets holds two: the old one and the new one",
        ),
        (
            {"auth": {"tokens": {"a b": "x"}}},
            ".auth.tokens: expected each name to be a name without spaces and colons",
        ),
        ({"sinks": []}, ".sinks: expected a map of name to {url: URL}, got a list"),
        (
            {"sinks": {"a b": {"url": "https://h"}}},
            ".sinks: expected each name to be up to 64 letters, digits, dots, dashes and underscores",
        ),
        ({"sinks": {"a": {}}}, '.sinks.a: missing key "url"'),
        (
            {"sinks": {"a": {"url": "https://h", "type": 1}}},
            '.sinks.a: unknown key "type"; did you mean "types"?',
        ),
        (
            {"sinks": {"a": {"url": "ftp://h"}}},
            ".sinks.a.url: expected a URL with http:// or https://, got a value of 7 characters",
        ),
        (
            {"sinks": {"a": {"url": "https://h", "headers": {"x": {"hash": "y"}}}}},
            ".sinks.a.headers.x: expected a text of one line, {env: NAME} or {file: PATH}, got a mapping",
        ),
        (
            {"sinks": {"a": {"url": "https://h", "headers": {"content-type": "x"}}}},
            ".sinks.a.headers: expected each name to be the name of a header that iogate does not set",
        ),
        (
            {"sinks": {"a": {"url": "https://h", "emitted": "yes"}}},
            ".sinks.a.emitted: expected true or false, got a value of 3 characters",
        ),
        (
            {"sinks": {"a": {"url": "https://h", "types": ["("]}}},
            ".sinks.a.types: expected regular expressions; one does not compile, got a list",
        ),
        (
            {"sinks": {"a": {"url": "https://h", "types": "x"}}},
            ".sinks.a.types: expected a list of regular expressions of event types,"
            " got a value of 1 characters",
        ),
    ],
)
def test_an_invalid_value_is_reported_by_position_and_never_shown(events: Any, message: str) -> None:
    assert fault(events) == message


def test_all_errors_of_the_setting_are_reported_each_with_its_line() -> None:
    places_of: dict[tuple[str | int, ...], str] = {
        ("events", "auth", "token"): "iogate.yaml:3",
        ("events", "sinks", "a", "url"): "iogate.yaml:6",
    }
    with pytest.raises(InvalidFiles) as raised:
        settings.read(
            {"events": {"auth": {"token": 1}, "sinks": {"a": {"url": "x"}}}}, place_of=places_of.__getitem__
        )
    places = [line.split(": ")[0:2] for line in raised.value.message.splitlines()]
    assert places == [["iogate.yaml:3", "events.auth.token"], ["iogate.yaml:6", "events.sinks.a.url"]]
