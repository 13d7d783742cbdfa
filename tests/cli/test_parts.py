"""Parts of the commands that need no process: banner, credentials, options, watched files."""

from __future__ import annotations

import base64
import io
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iogate.auth.description import describe
from iogate.auth.model import Auth, EnvSecret, NoAuth, Secret, SignatureAuth
from iogate.auth.reader import AUTH
from iogate.cli import options
from iogate.cli.apis import credentials
from iogate.cli.apis.examples import Example
from iogate.cli.apis.gateway_call import add_credentials, reachable_url
from iogate.cli.apis.signing import Outgoing
from iogate.cli.processes import banner
from iogate.cli.processes.banner import Row
from iogate.cli.render import Screen, Table
from iogate.cli.revisions.folder_changes import stamp
from iogate.compiler.revision import Api, Callback
from iogate.errors import IogateError, Misused
from iogate.operators.secrets import missing_secrets
from iogate.security.secrets import Unset
from tests.gateway import webhooks

HASH = "sha256:" + "0" * 64
REQUEST = Outgoing(verb="POST", path="/v1/api/m/x/async", body=b"{}", url="http://h:1", headers={})


def read_auth(given: Any) -> Auth[Secret]:
    return AUTH.read(given)


def row(
    auth: Any, *, enabled: bool = True, unset: tuple[str, ...] = (), verbs: tuple[str, ...] = ("POST",)
) -> Row:
    body = '{"a": 1}' if "POST" in verbs else None
    example = Example(verb=verbs[0], body=body)
    return Row(
        api="m/x",
        verbs=verbs,
        auth="",
        enabled=enabled,
        unset=unset,
        credentials=read_auth(auth),
        example=example,
    )


@pytest.mark.parametrize(
    ("auth", "options_"),
    [
        ("none", ""),
        ({"token": {"env": "T"}}, '-H "token: $T" '),
        ({"token": [{"hash": HASH}, {"file": "t.txt"}]}, '-H "token: $(cat t.txt)" '),
        ({"tokens": {"a": {"hash": HASH}, "b": {"env": "B"}}}, '-H "token: $B" '),
        ({"user": "u", "password": {"env": "P"}}, "-H 'user: u' -H \"password: $P\" "),
        ({"any": [{"token": "clear"}, {"users": {"u": {"env": "P"}}}]}, "-H 'user: u' -H \"password: $P\" "),
    ],
)
def test_the_curl_line_reads_secrets_where_they_are(auth: Any, options_: str) -> None:
    line = banner.curl_line(row(auth), "http://h:1")
    assert line == f"curl {options_}-d '{{\"a\": 1}}' h:1/v1/api/m/x/async"


def test_a_secret_in_clear_is_in_no_curl_line() -> None:
    assert banner.curl_line(row({"token": "hunter2"}), "http://h:1") is None
    assert banner.easiest_call([row({"user": "u", "password": "hunter2"})], "http://h:1") is None


def test_a_missing_secret_of_a_callback_is_shown_and_prevents_no_call() -> None:
    lacks = "callback: environment variable X is not set"
    unsigned = replace(row("none"), unsigned=(lacks,))
    assert unsigned.state == lacks
    assert unsigned.to_json()["unset"] == [lacks]
    assert banner.easiest_call([unsigned], "http://h:1") is not None


def test_the_secret_of_a_callback_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    callback = Callback(url="https://h.example", secret=EnvSecret(name="A_CALLBACK_SECRET"))
    api = Api(id="m/x", workflow="n/w:1", program="", auth=NoAuth(), callback=callback)
    for text, expected in (
        (None, ("callback: environment variable A_CALLBACK_SECRET is not set",)),
        ("whsec_?", ("callback: the secret begins with whsec_, and what follows is not base64",)),
        ("whsec_YWJj", ()),
    ):
        if text is None:
            monkeypatch.delenv("A_CALLBACK_SECRET", raising=False)
        else:
            monkeypatch.setenv("A_CALLBACK_SECRET", text)
        assert banner.unsigned(api) == expected


def test_the_remedy_fits_the_secret() -> None:
    malformed = "the secret begins with whsec_, and what follows is not base64"
    assert missing_secrets.remedy(malformed) == "write whsec_ and base64, or any text without whsec_"
    assert missing_secrets.remedy("secret file x does not exist") == "set it, or write the file"


def test_the_easiest_call_comes_first() -> None:
    rows = [row({"token": {"env": "T"}}), row("none", enabled=False), row("none", verbs=("GET",))]
    assert banner.easiest_call(rows, "http://h:1") == "curl h:1/v1/api/m/x/async"
    assert banner.easiest_call(rows[1:2], "http://h:1") == (
        "iogate enable m/x && curl -d '{\"a\": 1}' h:1/v1/api/m/x/async"
    )
    assert banner.easiest_call([row("none", unset=("T is not set",))], "http://h:1") is None


def test_a_banner_without_apis_suggests_init() -> None:
    assert banner.parts(url="u", store="s", revision=None, rows=[])[-1] == (
        'no APIs yet: create a first one with "iogate init"'
    )


def test_credentials_take_the_first_secret_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OLD", raising=False)
    monkeypatch.setenv("NEW", "n")
    (tmp_path / "p").write_text("word\n")
    for given, sent in (
        ({"token": [{"env": "OLD"}, {"env": "NEW"}]}, {"token": "n"}),
        ({"token": "literal"}, {"token": "literal"}),
        ({"users": {"u": {"file": "p"}}}, {"user": "u", "password": "word"}),
        ({"any": [{"token": {"env": "OLD"}}, "none"]}, {}),
    ):
        assert credentials.headers(read_auth(given), REQUEST, api="m/x") == sent
    with pytest.raises(Unset, match="environment variable OLD is not set"):
        credentials.headers(read_auth({"token": {"env": "OLD"}}), REQUEST, api="m/x")
    with pytest.raises(Misused, match="m/x: only a hash of the secret is available"):
        credentials.headers(read_auth({"token": {"hash": HASH}}), REQUEST, api="m/x")


def test_a_request_is_signed_as_the_sender_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLD", raising=False)
    monkeypatch.setenv("NEW", webhooks.SECRET)
    monkeypatch.setenv("STD", webhooks.WHSEC)
    body = b'{"a": 1}'
    request = replace(REQUEST, body=body, path="/v1/api/m/x/async?a=b c", headers={"X-GitHub-Delivery": "d1"})

    def headers(scheme: str, **more: Any) -> dict[str, str]:
        secret = {"env": "STD"} if scheme == "standard-webhooks" else [{"env": "OLD"}, {"env": "NEW"}]
        auth = read_auth({"signature": {"scheme": scheme, "secret": secret, **more}})
        return credentials.headers(auth, request, api="m/x")

    github = webhooks.github(body, delivery="d1")
    assert headers("github") == {key: github[key] for key in ("X-Hub-Signature-256", "X-GitHub-Delivery")}
    assert headers("meta", verify_token={"env": "V"}) == webhooks.meta(body)
    sent = headers("standard-webhooks")
    at, delivery = int(sent["webhook-timestamp"]), sent["webhook-id"]
    assert sent.items() <= webhooks.standard(body, delivery=delivery, at=at).items()
    assert headers("standard-webhooks")["webhook-id"] != delivery
    sent = headers("stripe")
    at = int(sent["Stripe-Signature"].partition(",")[0].removeprefix("t="))
    assert sent == webhooks.stripe(body, at=at)
    sent = headers("slack")
    assert sent == webhooks.slack(body, at=int(sent["X-Slack-Request-Timestamp"]))
    sent = headers(
        "hmac", header="X-S", prefix="s=", encoding="base64", signed="{method} {url} {path} {body}"
    )
    text = b"POST http://h:1/v1/api/m/x/async?a=b+c /v1/api/m/x/async?a=b+c " + body
    expected = base64.b64encode(webhooks.digest(webhooks.SECRET, text)).decode()
    assert sent == {"X-S": f"s={expected}"}
    with pytest.raises(Misused, match="m/x: the secret is no secret of Standard Webhooks, which is whsec_"):
        credentials.headers(
            read_auth({"signature": {"scheme": "standard-webhooks", "secret": {"env": "NEW"}}}),
            request,
            api="m/x",
        )
    monkeypatch.setenv("PUBLIC", "whpk_I56TaiVyLqTJqej31x5MPXZKuxMUGHLK/84EcholloA=")
    with pytest.raises(Misused, match="m/x: the secret is the public key of the sender") as caught:
        credentials.headers(
            read_auth({"signature": {"scheme": "standard-webhooks", "secret": {"env": "PUBLIC"}}}),
            request,
            api="m/x",
        )
    assert "send a signed request with --header" in caught.value.hint


def test_the_same_signed_case_starts_a_run_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW", "n")
    given: dict[str, Any] = {"id": "m/x", "workflow": "n/w:1", "program": "p"}
    secret = (EnvSecret(name="NEW"),)
    stripe = Api(**given, auth=SignatureAuth(scheme="stripe", secrets=secret, caller="stripe"))
    github = Api(**given, auth=SignatureAuth(scheme="github", secrets=secret, caller="github"))
    one, two = (add_credentials(stripe, REQUEST)["Idempotency-Key"] for _ in range(2))
    assert one != two
    assert (
        add_credentials(stripe, replace(REQUEST, headers={"Idempotency-Key": "k"}))["Idempotency-Key"] == "k"
    )
    assert "Idempotency-Key" not in add_credentials(github, REQUEST)
    own = {"X-Hub-Signature-256": "sha256=00"}
    assert add_credentials(github, replace(REQUEST, headers=own)) == own


def test_the_kinds_of_an_auth_are_described() -> None:
    signed = {"signature": {"scheme": "stripe", "secret": {"env": "S"}}}
    assert describe(read_auth({"any": [signed, "none"]})) == "signature (stripe) or none"
    (missing,) = credentials.unset_secrets(
        read_auth({"signature": signed["signature"] | {"secret": {"env": "GONE_X"}}})
    )
    assert missing.message == "environment variable GONE_X is not set"
    assert banner.curl_line(row(signed), "http://h:1") is None
    given = {"any": ["none", {"token": {"env": "T"}}, {"users": {"u": {"file": "p"}}}, {"token": "x"}]}
    assert describe(read_auth(given)) == "none or token or user/password"


@pytest.mark.parametrize(
    ("text", "value"), [("30", 30.0), ("30s", 30.0), ("5m", 300.0), ("PT5M", 300.0), ("2d", 172_800.0)]
)
def test_lengths_of_time_have_all_forms(text: str, value: float) -> None:
    assert options.parse_seconds(text, "--x") == value


def test_moments_are_dates_or_how_long_ago() -> None:
    assert options.parse_moment_ms("2026-01-01T00:00:00+00:00", "--since") == 1_767_225_600_000
    before = time.time() * 1000
    ago = options.parse_moment_ms("1h", "--since")
    assert ago is not None
    assert before - 1 <= ago + 3_600_000 <= time.time() * 1000


def test_a_length_in_months_is_refused() -> None:
    with pytest.raises(
        IogateError, match="--ttl P1M: expected a duration such as 30s, 5m or 2d, without months"
    ):
        options.parse_seconds("P1M", "--ttl")


def test_a_change_of_a_file_is_detected_except_hidden_ones(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".iogate").mkdir()
    data_dir = tmp_path / ".iogate"
    before = stamp(tmp_path, data_dir)
    (tmp_path / ".iogate/appendonly.aof").write_text("x")
    assert stamp(tmp_path, data_dir) == before
    (tmp_path / "scripts/report.py").write_text("print(1)")
    assert stamp(tmp_path, data_dir) != before


@pytest.mark.parametrize("folder", ["apis.d", "workflows.d"])
def test_a_change_in_a_linked_folder_of_documents_is_detected(tmp_path: Path, folder: str) -> None:
    shared, root = tmp_path / "shared", tmp_path / "project"
    (shared / "deep").mkdir(parents=True)
    root.mkdir()
    (root / folder).symlink_to("../shared")
    (root / "other").symlink_to(root)
    before = stamp(root, root / ".iogate")
    (shared / "deep/a.yaml").write_text("x")
    assert stamp(root, root / ".iogate") != before


@pytest.mark.parametrize("data_dir", ["state", "deploy/state", "link"])
def test_files_of_the_data_folder_are_no_change_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: str
) -> None:
    """Otherwise each publication would be followed by another one."""
    monkeypatch.chdir(tmp_path)
    for folder in ("state", "deploy/state"):
        Path(folder).mkdir(parents=True)
    Path("link").symlink_to("state")
    before = stamp(tmp_path, Path(data_dir))
    (Path(data_dir) / "newest_seals").write_text("x")
    assert stamp(tmp_path, Path(data_dir)) == before
    Path(data_dir).with_name("state.yaml").write_text("x")
    assert stamp(tmp_path, Path(data_dir)) != before


def narrow_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> io.StringIO:
    """Replace stdout by a terminal of this width; return the text that is written to it."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    return terminal


@pytest.mark.parametrize("columns", [100, 60, 30])
def test_no_id_is_broken_over_lines_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    terminal = narrow_terminal(monkeypatch, columns)
    uid, at = "912864883622363542", "2026-11-24T00:39:08.464Z"
    Screen().show(Table(columns=("uid", "what", "created"), rows=[(uid, "a text of several words", at)]))
    text = terminal.getvalue()
    assert uid in text
    assert at in text


def test_numbers_share_a_line_of_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = narrow_terminal(monkeypatch, 40)
    row = ("orders/place", "enabled", 3, 1, "shop/place-an-order:1.0.0")
    Screen().show(
        Table(
            columns=("api", "state", "queued", "running", "workflow"),
            rows=[row],
            numbers=frozenset({"queued", "running"}),
        )
    )
    assert terminal.getvalue().splitlines() == [
        "API       orders/place",
        "STATE     enabled",
        "QUEUED    3  RUNNING 1",
        "WORKFLOW  shop/place-an-order:1.0.0",
    ]


@pytest.mark.parametrize("columns", [100, 60, 40])
def test_no_line_of_a_table_is_left_to_the_terminal_to_break(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    terminal = narrow_terminal(monkeypatch, columns)
    advice = "set the same link_key on all machines; otherwise a link to a run works on only one"
    rows = [("link_key", "warning", "not set: each machine generates its own", advice)]
    Screen().show(Table(columns=("about", "verdict", "what", "what to do"), rows=rows))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in terminal.getvalue().splitlines()]
    assert max(map(len, lines)) <= columns
    words = " ".join(lines).split()
    assert set(advice.split()) <= set(words), "no word is broken"


def test_output_of_a_process_in_the_folder_is_not_a_change(tmp_path: Path) -> None:
    """Otherwise a log in the folder would trigger endless applies."""
    code = (
        "import pathlib, sys; from iogate.cli.revisions.folder_changes import stamp;"
        "before = stamp(pathlib.Path(), pathlib.Path('.iogate')); print('said', flush=True);"
        "print('said', file=sys.stderr, flush=True);"
        "sys.exit(stamp(pathlib.Path(), pathlib.Path('.iogate')) != before)"
    )
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        root = Path(__file__).parents[2]
        ran = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdout=out,
            stderr=err,
            env={"PYTHONPATH": str(root)},
            check=False,
        )
    assert ran.returncode == 0


def test_make_alone_lists_its_targets() -> None:
    root = Path(__file__).parents[2]
    ran = subprocess.run(["make", "-C", str(root)], capture_output=True, text=True, check=True)
    for target in ("setup", "run", "test", "check", "fmt", "bench", "faults"):
        assert f"make {target} " in ran.stdout


HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("announced", "host", "url"),
    [
        ("http://127.0.0.1:8000", HERE, "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000", "elsewhere", None),
        ("http://0.0.0.0:8000", HERE, "http://127.0.0.1:8000"),
        ("http://[::]:8000", HERE, "http://[::1]:8000"),
        ("http://0.0.0.0:8000", "elsewhere", "http://elsewhere:8000"),
        ("https://api.example.com", "elsewhere", "https://api.example.com"),
        ("", "elsewhere", None),
    ],
)
def test_a_gateway_is_called_where_it_can_be_reached_from_here(
    announced: str, host: str, url: str | None
) -> None:
    assert reachable_url(announced, host) == url


@pytest.mark.parametrize("text", ["yesterday", "P1M", "1 hour ago", "-1h"])
def test_a_wrong_moment_lists_both_forms(text: str) -> None:
    with pytest.raises(Misused) as raised:
        options.parse_moment_ms(text, "--since")
    assert raised.value.message == (
        f"--since {text}: expected how long ago, such as 1h or 7d, or a date and time, such as 2026-01-31 or "
        "2026-01-31T09:30"
    )


@pytest.mark.parametrize(
    ("zone", "text"), [("EST5", "9999-12-31T23:59:59"), ("JST-9", "0001-01-01T00:00:00")]
)
def test_a_moment_at_an_end_of_the_calendar_is_refused(zone: str, text: str) -> None:
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            with pytest.raises(Misused, match="expected how long ago, such as 1h or 7d, or a date and time"):
                options.parse_moment_ms(text, "--since")
    finally:
        time.tzset()


@pytest.mark.parametrize("text", ["0", "0s"])
def test_zero_ago_is_now(text: str) -> None:
    before = time.time() * 1000
    moment = options.parse_moment_ms(text, "--before")
    assert moment is not None
    assert before - 1 <= moment <= time.time() * 1000
