"""Literal credentials are recognised in commands; references to secrets are not."""

from __future__ import annotations

import pytest

from iogate.reconcile.shown_values import shown
from iogate.security.credential_shapes import redact_credentials

COMMAND = ("do", 0, "a", "run", "shell", "command")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("curl -u ada:CANARY https://x", "curl -u ada:[redacted] https://x"),
        ("curl --user 'ada:CAN ARY' x", "curl --user 'ada:[redacted]' x"),
        ('curl --proxy-user="ada:CANARY" x', 'curl --proxy-user="ada:[redacted]" x'),
        ("mysql --password CANARY -e x", "mysql --password [redacted] -e x"),
        ("mysql --password=CANARY -e x", "mysql --password=[redacted] -e x"),
        ("deploy --api-key 'CANARY' --dry-run", "deploy --api-key [redacted] --dry-run"),
        ("PGPASSWORD=CANARY psql -h x", "PGPASSWORD=[redacted] psql -h x"),
        ("export DB_TOKEN='CANARY'; x", "export DB_TOKEN=[redacted]; x"),
        ("curl -H 'X: Bearer CANARY1' x", "curl -H 'X: Bearer [redacted]' x"),
        ("aws AKIAABCDEFGHIJKLMNOP", "aws [redacted]"),
        ("git clone https://ada:CANARY@h/x", "git clone https://ada:[redacted]@h/x"),
        ("-----BEGIN PRIVATE KEY-----\nCANARY", "-----BEGIN PRIVATE KEY-----[redacted]"),
    ],
)
def test_a_literal_credential_is_redacted(text: str, expected: str) -> None:
    assert redact_credentials(text) == expected
    assert "CANARY" not in shown(COMMAND, text)


@pytest.mark.parametrize(
    "text",
    [
        "mysql --password ${ $secrets.pw }",
        "curl -u ${ .user }:${ .pw } x",
        'curl -u "ada:$PW" x',
        "deploy --token --dry-run",
        "sort --key 3 --reverse",
        "echo basic instructions follow",
        "TZ=UTC date -u",
    ],
)
def test_a_reference_or_a_plain_argument_stays(text: str) -> None:
    assert redact_credentials(text) == text


def test_arguments_and_environment_of_a_process_are_masked() -> None:
    process = {
        "command": "x",
        "arguments": ["--password", "CANARY", "--token", "$T", "-v", "y"],
        "environment": {"PGPASSWORD": "CANARY", "MYSQL_PWD": "${ $secrets.pw }", "TZ": "UTC"},
    }
    assert shown(COMMAND[:4], {"shell": process})["shell"] == {
        "command": "x",
        "arguments": ["--password", "[redacted]", "--token", "$T", "-v", "y"],
        "environment": {"PGPASSWORD": "[redacted]", "MYSQL_PWD": "${ $secrets.pw }", "TZ": "UTC"},
    }
    assert shown((*COMMAND[:5], "environment", "PGPASSWORD"), "CANARY") == "[redacted]"
