"""Only addresses in `allow_ips` use an API and its runs; a file that cannot be used closes it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from iogate.atomic_files import write_atomically
from iogate.auth import allow_ips
from iogate.auth.allow_ips import ALLOW_IPS, AllowedAddresses
from iogate.gateway.calls import allowed_addresses
from iogate.gateway.calls.allowed_addresses import CLOSED, MAX_FILE, NOT_ALLOWED, AddressCheck, AddressFiles
from iogate.gateway.http.client_address import TrustedProxies
from iogate.gateway.http.responses import ErrorResponse
from iogate.store.store import Store
from tests.gateway.driver import TOKEN, World, api, build, opened, request, until

LOCAL = ("127.0.0.1", 50_000)
OUTSIDE = ("198.51.100.7", 50_000)


def allowed(*given: object) -> AllowedAddresses:
    return ALLOW_IPS.read(list(given))


def verdict(check: AddressCheck, address: str) -> ErrorResponse | None:
    return check.refuse(request(client=(address, 1)))


@pytest.fixture
async def world(store: Store, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(store, loopback=False, root=tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("10.1.2.3", None),
        ("::ffff:10.1.2.3", None),
        ("2001:db8::5", None),
        ("11.0.0.0", NOT_ALLOWED),
        ("::a01:203", NOT_ALLOWED),
        ("2001:db9::", NOT_ALLOWED),
        ("", NOT_ALLOWED),
        ("unix:/run/x", NOT_ALLOWED),
    ],
)
def test_an_address_is_allowed_if_a_network_has_it(address: str, refused: object) -> None:
    check = AddressCheck(allowed("10.0.0.0/8", "2001:db8::/32"))
    assert verdict(check, address) is refused
    assert verdict(check, address) is refused, "also from the cache"


def test_a_file_has_a_network_on_each_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# partners\n10.0.0.0/8 # Ada\n\n  2001:db8::1\t\r\n")
    check = AddressCheck(allowed("192.0.2.1", {"file": "a.txt"}), root=tmp_path)
    assert check.unset == ()
    for address in ("192.0.2.1", "10.9.9.9", "2001:db8::1"):
        assert verdict(check, address) is None
    assert verdict(check, "192.0.2.2") is NOT_ALLOWED


def test_a_shared_file_is_parsed_once_for_each_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    parse = allow_ips.parse_lines

    def noted(text: str) -> Any:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(allowed_addresses, "parse_lines", noted)
    (tmp_path / "a.txt").write_text("10.0.0.0/8\n")
    given, files = allowed("192.0.2.1", {"file": "a.txt"}), AddressFiles()
    checks = [AddressCheck(given, root=tmp_path, files=files) for _ in range(2)]
    assert parsed == ["10.0.0.0/8\n"]
    write_atomically(tmp_path / "a.txt", "198.51.100.0/24\n")
    for check in [each.renewed() for each in checks]:
        assert verdict(check, "192.0.2.1") is None
        assert verdict(check, "198.51.100.7") is None
        assert verdict(check, "10.0.0.1") is NOT_ALLOWED
    assert parsed == ["10.0.0.0/8\n", "198.51.100.0/24\n"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        (b"", "has no address"),
        (b"# nobody\n", "has no address"),
        (
            b"10.0.0.0/8\n10.0.0.1/8\n",
            "is invalid: line 2: 10.0.0.1/8 has bits below its prefix: write 10.0.0.0/8",
        ),
        (b"partner.example.com", "is invalid: line 1: expected an address or a network"),
        (b"10.0.0.0/8\n\xff", "is not UTF-8 text"),
        (b"10.0.0.0/8\n" * (MAX_FILE // 11 + 1), f"is larger than {MAX_FILE} bytes"),
    ],
)
def test_a_file_that_cannot_be_used_closes_the_api_for_every_address(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    check = AddressCheck(allowed("192.0.2.1", {"file": "a.txt"}), root=tmp_path)
    (message,) = check.unset
    assert message.startswith(f"file a.txt of allow_ips {reason}")
    assert "; " not in message
    for address in ("192.0.2.1", "10.0.0.1", ""):
        assert verdict(check, address) is CLOSED


def test_an_unreadable_file_closes_the_api(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    check = AddressCheck(allowed({"file": "a.txt"}), root=tmp_path)
    assert check.unset == ("file a.txt of allow_ips cannot be read: Is a directory",)


def test_a_pipe_closes_the_api_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    check = AddressCheck(allowed({"file": "a.txt"}), root=tmp_path)
    assert check.unset == ("file a.txt of allow_ips is not a regular file",)
    assert verdict(check, "192.0.2.1") is CLOSED


async def test_the_address_is_checked_after_the_switch_and_before_all_else(world: World) -> None:
    await world.publish(
        api("t/t", TOKEN, allow_ips=allowed("127.0.0.0/8"), verbs=("POST",)),
        api("t/off", TOKEN, allow_ips=allowed("127.0.0.0/8"), enabled=False),
    )
    assert (await world.call("t/t", token="123456")).status == 202
    world.client = OUTSIDE
    for reply in (
        await world.call("t/t", token="123456"),
        await world.call("t/t"),
        await world.ask("/v1/api/t/t/sync", "GET"),
        await world.ask("/v1/api/t/t/async", "OPTIONS"),
    ):
        assert (reply.status, reply.code, reply.message) == (
            403,
            "requestError.forbidden",
            "Address is not allowed",
        )
    assert (await world.call("t/off")).code == "requestError.notEnabled"


async def test_the_runs_of_an_api_are_shown_to_its_addresses_only(world: World) -> None:
    await world.publish(
        api("t/t", TOKEN, allow_ips=allowed("127.0.0.0/8")), api("t/open", TOKEN), api("t/none")
    )
    accepted = await world.call("t/t", token="123456", prefer="link=cancel")
    run, link, known = f"/v1/runs/{accepted.uid}", accepted.headers["location"], {"token": "123456"}
    assert (await world.ask(run, headers=known)).status == 200
    world.client = OUTSIDE
    for path, method, headers in (
        (run, "GET", known),
        (link, "GET", {}),
        (link.replace("?", "/events?"), "GET", {}),
        (f"{run}/cancel", "POST", known),
        (link.replace("?", "/cancel?"), "POST", {}),
    ):
        reply = await world.ask(path, method, headers)
        assert (reply.status, reply.message) == (403, "Address is not allowed"), (path, method)
    assert (await world.ask(run)).status == 404, "without credentials it does not exist"
    assert (await world.ask(run, headers={"token": "wrong"})).status == 404
    world.client = LOCAL
    assert (await world.ask(run, headers=known)).json["status"] == "pending"


async def test_without_a_revision_no_link_shows_a_run_to_an_address(world: World) -> None:
    await world.publish(api("t/t", TOKEN, allow_ips=allowed("127.0.0.0/8")))
    link = (await world.call("t/t", token="123456")).headers["location"]
    assert (await world.ask(link)).status == 200
    world.live.table = None
    for client in (LOCAL, OUTSIDE):
        world.client = client
        reply = await world.ask(link)
        assert (reply.status, reply.message) == (503, "No revision is loaded yet")


async def test_a_changed_file_is_read_again_and_a_broken_one_closes_the_api(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "iogate.gateway.revision_refresher")
    file = tmp_path / "partners.txt"
    file.write_text("198.51.100.0/24\n")
    await world.publish(api("t/t", TOKEN, allow_ips=allowed({"file": "partners.txt"})))
    assert (await world.call("t/t", token="123456")).status == 403
    reloading = asyncio.create_task(world.refresher._reload_secrets())
    try:
        for content, status in (("127.0.0.1\n", 202), ("not an address\n", 503), ("127.0.0.0/8\n", 202)):
            fresh = tmp_path / "fresh"
            fresh.write_text(content)
            fresh.replace(file)

            async def answered(wanted: int = status) -> bool:
                return (await world.call("t/t", token="123456")).status == wanted

            await until(answered)
        file.unlink()

        async def closed() -> bool:
            reply = await world.call("t/t", token="123456")
            return reply.status == 503 and "addresses that may call" in reply.message

        await until(closed)
    finally:
        reloading.cancel()
    assert world.live.table is not None
    assert world.live.table.unset == {"t/t": ("file partners.txt of allow_ips does not exist",)}
    texts = [
        record.getMessage()
        for record in caplog.records
        if record.name == "iogate.gateway.revision_refresher" and record.getMessage().startswith("t/t")
    ]
    assert texts[0] == "t/t: files reloaded"
    assert texts[1].startswith(
        "t/t responds with 503 to every caller: file partners.txt of allow_ips is invalid:"
    )
    assert texts[2] == "t/t has all its secrets and files"


async def test_a_request_whose_client_is_unknown_has_not_the_permission_of_its_proxy(world: World) -> None:
    world.live.trusted_proxies = TrustedProxies(["127.0.0.1"])
    world.application = build(world.live, world.refresher)
    await world.publish(api("t/t", allow_ips=allowed("127.0.0.0/8", "10.0.0.0/8")))
    assert (await world.call("t/t")).status == 202, "the proxy itself"
    assert (await world.call("t/t", x_forwarded_for="1.1.1.1, 10.0.0.1")).status == 202
    for headers in (
        {"x_forwarded_for": "198.51.100.7"},
        {"x_forwarded_for": "127.0.0.1, 198.51.100.7"},
        {"x_forwarded_for": "unknown"},
        {"x_forwarded_for": "198.51.100.7", "forwarded": "for=10.0.0.1"},
        {"forwarded": "for=_hidden"},
    ):
        assert (await world.call("t/t", **headers)).status == 403, headers
