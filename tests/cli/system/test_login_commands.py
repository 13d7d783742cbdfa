"""`iogate login` and `logout`: where the token goes, and where it does not."""

from __future__ import annotations

import http.server
import os
import select
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from iogate.cli import last_run
from iogate.cli.system.logins import Login, Logins
from iogate.errors import Misused
from tests import certificates
from tests.cli.conftest import Cli, token
from tests.cli.place import Place
from tests.cli.system.conftest import Machines
from tests.patient_http import is_stalled
from tests.ports import free_port

SECRET = "token-that-nobody-may-see"
Reply = tuple[int, dict[str, str], str]


@pytest.fixture
def alone(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A machine without a project, with a token in a file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "token").write_text(SECRET + "\n")
    return cli


@contextmanager
def server(
    reply: Callable[[str], Reply], tls: tuple[Path, Path] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server that replies by the path; its URL, and the credentials that it has got."""
    got: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(self.headers.get("Authorization", ""))
            status, headers, text = reply(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = False  # so that the end of the server waits for those that still have a socket
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        made.socket = context.wrap_socket(made.socket, server_side=True)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        host = "localhost" if tls is not None else "127.0.0.1"
        yield f"{'https' if tls is not None else 'http'}://{host}:{made.server_port}", got
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def error(status: int, message: str, **headers: str) -> Reply:
    code = "requestError.x"
    return status, headers, f'{{"response":{{"error":{{"code":"{code}","message":"{message}"}}}}}}'


def test_a_login_is_saved_for_its_owner_only_and_used_without_a_store(machines: Machines) -> None:
    shop = machines.shop
    (machines.elsewhere / "token").write_text(token("operate"))
    nothing: Any = {"IOGATE_SERVER": "", "IOGATE_TOKEN": "", "IOGATE_REDIS_URL": ""}
    ran = machines.there("login", shop.url, "--token-file", "token", **nothing)
    assert ran.out == f"logged in at {shop.url} as operateer, with the role operate\n"
    file = machines.elsewhere / "iogate/logins.json"
    assert ran.err == f"saved as profile default in {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    uid = shop.buy("sleep")
    assert uid in machines.there("runs", "list", **nothing).out
    ran = machines.there("runs", "cancel", uid, "--reason", "x", **nothing)
    assert ran.err == f"server: {shop.url} (profile default)\n"
    # A project with a store of its own does not use the login by itself.
    (machines.elsewhere / ".iogate/redis").mkdir(parents=True)
    assert (
        'no store: set redis_url, or start one with "iogate up"'
        in machines.there("runs", "list", code=6, **nothing).err
    )
    chosen: Any
    for chosen in (
        {"IOGATE_PROFILE": "default", **nothing},
        {"IOGATE_SERVER": shop.url, "IOGATE_TOKEN": ""},
    ):
        assert uid in machines.there("runs", "list", **(nothing | chosen)).out
    assert uid in machines.there("runs", "list", "--profile", "default", **nothing).out
    assert uid in machines.there("--profile", "default", "runs", "list").out
    assert machines.there("logout", **nothing).out == f"removed the login at {shop.url} (profile default)\n"
    assert "no login in" in machines.there("logout", code=8, **nothing).err
    assert token("operate") not in file.read_text()


def test_each_profile_has_its_server_and_a_mistyped_one_is_named(machines: Machines) -> None:
    nothing: Any = {"IOGATE_SERVER": "", "IOGATE_TOKEN": ""}
    for name in ("prod", "staging"):
        (machines.elsewhere / "token").write_text(token("read"))
        machines.there("login", machines.shop.url, "--profile", name, "--token-file", "token", **nothing)
    ran = machines.there("runs", "list", "--profile", "prd", code=8, **nothing)
    assert 'no profile "prd" in ' in ran.err
    assert 'did you mean "prod"? [IOG811]' in ran.err
    assert "known: " in ran.err
    machines.there("logout", "--profile", "staging", **nothing)
    machines.there("runs", "list", "--profile", "prod", **nothing)
    ran = machines.there("runs", "list", code=64, IOGATE_PROFILE="prod")
    assert "IOGATE_SERVER and IOGATE_PROFILE both choose a server [IOG814]" in ran.err


def test_a_wrong_token_is_not_saved_and_not_shown(machines: Machines) -> None:
    (machines.elsewhere / "token").write_text(SECRET)
    ran = machines.there("login", machines.shop.url, "--token-file", "token", code=4)
    assert f"{machines.shop.url} refuses the token: Token is invalid [IOG817]" in ran.err
    advice = "give there one of the setting `operators` of the gateway\n"
    assert ran.err.endswith(f"  the token is from --token-file token: {advice}")
    assert not (machines.elsewhere / "iogate").exists()
    # A path that callers have too responds to them with a 404.
    for command in (("runs", "show", machines.shop.buy()), ("status",)):
        ran = machines.there(*command, code=4, IOGATE_TOKEN=SECRET)
        assert (
            "refuses the token: Token is invalid [IOG817]\n  the token is from IOGATE_TOKEN: give" in ran.err
        )
    assert SECRET not in ran.err


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "http://shop.example.com",
            "URL: http://shop.example.com is not encrypted: others could read the token",
        ),
        ("shop.example.com", 'URL: "shop.example.com" is not the URL of a gateway'),
        ("https://ada:pw@shop.example.com", "URL: is not the URL of a gateway"),
        ("https://shop.example.com?x=1", 'URL: "https://shop.example.com?x=1" is not the URL of a gateway'),
        ("https://shop.example.com:x", 'URL: "https://shop.example.com:x" is not the URL of a gateway'),
        ("https://[shop.example.com", 'URL: "https://[shop.example.com" is not the URL of a gateway'),
    ],
)
def test_an_address_that_would_reveal_the_token_is_refused(alone: Cli, url: str, message: str) -> None:
    ran = alone("login", url, "--token-file", "token", code=64)
    assert ran.err.startswith(f"iogate: {message} [IOG812]\n  ")
    assert "pw" not in ran.err


@pytest.mark.parametrize(
    ("reply", "code", "message"),
    [
        (
            (302, {"Location": "https://evil.example/x"}, ""),
            6,
            "URL redirects to https://evil.example: the token was not sent there [IOG820]\n"
            "  if that is your gateway, log in there: iogate login URL",
        ),
        (
            (302, {"Location": "https://[x"}, ""),
            6,
            "URL redirects to an invalid address: ",
        ),
        (
            error(404, "There is nothing at this path"),
            6,
            "URL has no HTTP API of operators for this token [IOG819]\n  the setting `operators` of its",
        ),
        (error(421, "The host x is not served here"), 6, "URL: The host x is not served here [IOG815]"),
        (
            error(429, "Too many wrong credentials; retry in 1 s"),
            6,
            "URL: Too many wrong credentials; retry in 1 s [IOG821]\n  wait, and repeat the command",
        ),
        (
            error(503, "The store is closed for a planned failover", **{"Retry-After": "7"}),
            6,
            "URL: The store is closed for a planned failover [IOG821]\n  repeat the command after 7 s",
        ),
        ((502, {}, "<html>"), 6, "URL responded with 502, and not as a gateway of iogate does [IOG820]"),
        ((200, {}, "hello"), 6, "URL responded with 200, and not as a gateway of iogate does [IOG820]"),
        (error(401, "Token is invalid"), 4, "URL refuses the token: Token is invalid [IOG817]"),
    ],
)
def test_each_failure_of_a_server_says_what_to_do(alone: Cli, reply: Reply, code: int, message: str) -> None:
    with server(lambda _: reply) as (url, got):
        ran = alone("login", url, "--token-file", "token", code=code)
        assert ran.err.startswith("iogate: " + message.replace("URL ", f"{url} ").replace("URL:", f"{url}:"))
        assert set(got) == {f"Bearer {SECRET}"}
        assert SECRET not in ran.err + ran.out


def test_a_server_that_nobody_vouches_for_gets_no_token(
    alone: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificates.made(tmp_path)
    with server(lambda _: error(401, "Token is invalid"), made) as (url, got):
        ran = alone("login", url, "--token-file", "token", code=6)
        assert f"cannot reach the gateway at {url}: its certificate is not trusted: self-signed" in ran.err
        assert ran.err.endswith("has signed it, name its file in SSL_CERT_FILE\n")
        assert got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(made[0]))
        assert "refuses the token" in alone("login", url, "--token-file", "token", code=4).err


def test_a_server_that_does_not_answer_is_named(alone: Cli) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ran = alone("login", url, "--token-file", "token", code=6)
    assert ran.err == (
        f"iogate: cannot reach the gateway at {url}: Connection refused [IOG815]\n"
        "  URL names this server; check its address, and that it runs\n"
    )


def test_a_file_that_others_can_read_is_refused(alone: Cli, tmp_path: Path) -> None:
    file = tmp_path / "config/iogate/logins.json"
    file.parent.mkdir(parents=True)
    file.write_text(f'{{"schema": "iogate.logins/v1", "tokens": "{SECRET}"}}')
    file.chmod(0o644)
    ran = alone("runs", "list", code=64)
    assert (
        f"{file} has tokens, and others may read or write it (mode 644) [IOG810]\n  chmod 600 {file}"
        in ran.err
    )
    file.chmod(0o600)
    file.write_text(f'{{"schema": "{SECRET}')
    ran = alone("runs", "list", code=64)
    assert "is not a file of logins of this release [IOG810]" in ran.err
    assert SECRET not in ran.err


def test_a_token_is_one_word(alone: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    alone.write("token", "two words")
    ran = alone("login", "https://shop.example.com", "--token-file", "token", code=64)
    assert (
        "--token-file token: the token is not one line of ASCII characters without blanks [IOG813]" in ran.err
    )
    ran = alone("login", "https://shop.example.com", "--token-file", "nowhere", code=64)
    assert "--token-file nowhere: cannot be read: No such file or directory" in ran.err
    monkeypatch.setenv("IOGATE_SERVER", "https://shop.example.com")
    ran = alone("runs", "list", code=64)
    assert ran.err == (
        "iogate: IOGATE_SERVER: no token for https://shop.example.com [IOG813]\n"
        "  set IOGATE_TOKEN, or save one with iogate login https://shop.example.com\n"
    )


def test_a_server_of_an_older_release_is_told(alone: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (200, dict[str, str](), '{"response": {"operator": "ada", "role": "read", "version": "0.0.9"}}')
    nothing = error(404, "There is nothing at this path")
    with server(lambda path: whole if path == "/v1/operator" else nothing) as (url, _):
        monkeypatch.setenv("IOGATE_SERVER", url)
        monkeypatch.setenv("IOGATE_TOKEN", SECRET)
        ran = alone("runs", "errors", code=6)
    assert f"{url} has no GET /v1/errors: iogate 0.0.9 runs there [IOG819]\n  update the gateway" in ran.err


def test_a_user_without_a_home_folder_has_no_logins_and_no_last_run(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose user has neither HOME nor an account."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert "iogate: no store: " in cli("runs", "list", code=6).err
    assert "no run was started in this terminal" in cli("runs", "show", "@last", code=8).err
    last_run.remember("7")
    logins = Logins({})
    assert (logins.current(), dict(logins.all())) == (None, {})
    with pytest.raises(Misused) as refused:
        logins.save("default", Login(server="https://x.example", token=SECRET, operator="ada", role="read"))
    assert refused.value.message == "there is no place for logins: this user has no home folder"
    assert refused.value.hint.startswith("set HOME or XDG_CONFIG_HOME, or give the server in IOGATE_SERVER")


def test_a_login_asks_for_the_token_without_showing_it(shop: Place, tmp_path: Path) -> None:
    """On a terminal; `ps` shows no token either, since no argument has it."""
    for _ in range(3):  # the gateway refuses a login while its store is stalled
        code, seen = _logged_in(shop, tmp_path)
        if not is_stalled(seen.decode()):
            break
    assert code == 0, seen
    assert b"saved as profile default" in seen
    assert b"as adminer, with the role admin" in seen
    assert token("admin").encode() not in seen


def _logged_in(shop: Place, folder: Path) -> tuple[int, bytes]:
    """Log in on a terminal; return the exit code and what the terminal shows."""
    ours, theirs = os.openpty()
    environment = {"XDG_CONFIG_HOME": str(folder), "TERM": "dumb", "PATH": os.environ["PATH"]}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    with subprocess.Popen(
        [sys.executable, "-m", "iogate", "login", shop.url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        cwd=folder,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        seen = _read_until(ours, b"Token for")
        os.write(ours, token("admin").encode() + b"\n")
        seen += _read_until(ours, b"saved as profile default")
        code = process.wait(30)
    os.close(ours)
    return code, seen


def _read_until(terminal: int, text: bytes) -> bytes:
    """Return what a terminal shows until a text, or until its process has ended."""
    seen = b""
    deadline = time.monotonic() + 40
    while text not in seen:
        assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], seen
        try:
            seen += os.read(terminal, 1000)
        except OSError:
            break
    return seen
