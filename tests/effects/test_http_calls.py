"""HTTP calls: the sent request, the decoded response, and the text of errors."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib

import pytest
from aiohttp import web

from iogate.compiler.resources.document_addresses import as_template
from iogate.effects import Effects
from iogate.engine.commands import Authentication, CallHttp
from iogate.settings import Settings
from tests.effects.conftest import KEY, Site, do, failure, get, until


async def test_content_of_any_json_type_is_parsed(site: Site, effects: Effects) -> None:
    url = site.respond(
        "/a", body=b'{"big": 12345678901234567890, "t": "\\u00e9"}', content_type="application/problem+json"
    )
    performed = await do(effects, get(url))
    assert (performed.frame, performed.error, performed.definite) == (7, None, True)
    assert performed.output == {"big": 12345678901234567890, "t": "é"}


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        ({"text": "grüße", "content_type": "text/plain", "charset": "latin-1"}, "grüße"),
        ({"body": b"<a/>", "content_type": "application/xml"}, "<a/>"),
        ({"body": b"\xff\xfe", "content_type": "image/png"}, "//4="),
        ({"body": b"\xffx", "content_type": "text/plain"}, "\ufffdx"),
        ({"status": 204}, None),
        ({"body": b"", "content_type": "application/json"}, None),
    ],
)
async def test_content_follows_its_content_type(
    site: Site, effects: Effects, answer: dict[str, object], output: object
) -> None:
    assert (await do(effects, get(site.respond("/a", **answer)))).output == output


async def test_raw_is_base64_of_the_decompressed_body(site: Site, effects: Effects) -> None:
    url = site.respond("/a", body=gzip.compress(b"plain"), headers={"Content-Encoding": "gzip"})
    assert (await do(effects, get(url, output="raw"))).output == base64.b64encode(b"plain").decode()


@pytest.mark.parametrize("wbits", [15, -15], ids=["zlib", "bare"])
async def test_both_forms_of_deflate_are_decompressed(site: Site, effects: Effects, wbits: int) -> None:
    squeeze = zlib.compressobj(wbits=wbits)
    body = squeeze.compress(b"plain") + squeeze.flush()
    url = site.respond("/a", body=body, headers={"Content-Encoding": "deflate"}, content_type="text/plain")
    assert (await do(effects, get(url))).output == "plain"


async def test_output_response_contains_request_status_headers_and_content_but_no_secret(
    site: Site, effects: Effects
) -> None:
    url = site.respond(
        "/a", body=b"[1]", content_type="application/json", headers={"x-seen": "yes"}, status=201
    )
    call = get(
        url + "?page=2&api_key=swordfish",
        output="response",
        headers={"X-Kind": "test", "X-Auth-Token": "swordfish"},
        authentication=Authentication(scheme="bearer", parameters={"token": "swordfish"}),
    )
    output = (await do(effects, call)).output
    assert output["request"]["method"] == "get"
    assert output["request"]["uri"] == f"{url}?page=2&api_key=[redacted]"
    assert output["request"]["headers"]["X-Kind"] == "test"
    assert (output["statusCode"], output["content"]) == (201, [1])
    assert output["headers"]["X-Seen"] == "yes"
    assert "swordfish" not in json.dumps(output)
    assert site.seen[0].headers["X-Auth-Token"] == "swordfish"
    assert site.seen[0].headers["Authorization"] == "Bearer swordfish"


async def test_basic_authentication_is_sent(site: Site, effects: Effects) -> None:
    parameters = {"username": "iolinker", "password": "grüße"}
    await do(effects, get(site.url, authentication=Authentication(scheme="basic", parameters=parameters)))
    expected = base64.b64encode("iolinker:grüße".encode()).decode()
    assert site.seen[0].headers["Authorization"] == f"Basic {expected}"


async def test_only_unsafe_methods_carry_the_idempotency_key(site: Site, effects: Effects) -> None:
    for method in ("get", "post", "DELETE", "head"):
        await do(effects, CallHttp(method=method, url=site.url))
    assert [s.headers.get("Idempotency-Key") for s in site.seen] == [None, KEY, KEY, None]


async def test_an_idempotency_key_of_the_author_is_kept(site: Site, effects: Effects) -> None:
    await do(effects, CallHttp(method="post", url=site.url, headers={"idempotency-key": "mine"}))
    assert [s.headers["Idempotency-Key"] for s in site.seen] == ["mine"]


@pytest.mark.parametrize(
    ("body", "headers", "sent", "kind"),
    [
        ({"a": "é"}, {}, '{"a":"é"}'.encode(), "application/json"),
        (None, {}, b"null", "application/json"),
        ("as it is", {}, b"as it is", "text/plain; charset=utf-8"),
        ('{"a":1}', {"content-type": "application/json"}, b'{"a":1}', "application/json"),
        (
            {"a": [1, True], "b": "x y"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"a=1&a=true&b=x+y",
            "application/x-www-form-urlencoded",
        ),
    ],
)
async def test_bodies_are_encoded_by_their_type(
    site: Site, effects: Effects, body: object, headers: dict[str, str], sent: bytes, kind: str
) -> None:
    await do(effects, CallHttp(method="post", url=site.url, body=body, has_body=True, headers=headers))
    assert (site.seen[0].body, site.seen[0].headers["Content-Type"]) == (sent, kind)


async def test_a_large_body_arrives_completely(site: Site, effects: Effects) -> None:
    await do(effects, CallHttp(method="put", url=site.url, body="x" * 3_000_000, has_body=True))
    assert (len(site.seen[0].body), site.seen[0].headers["Content-Length"]) == (3_000_000, "3000000")


async def test_a_server_without_tls_is_reported_as_such(site: Site, effects: Effects) -> None:
    url = site.url.replace("http:", "https:")
    kind, status, detail = failure(await do(effects, get(url)))
    assert (kind, status) == ("communication", 500)
    assert detail.startswith(f"GET {url} failed: cannot connect: TLS: ")


async def test_the_query_is_added_to_that_of_the_url(site: Site, effects: Effects) -> None:
    await do(effects, get(site.url + "/?a=1", query={"b": [1, False], "c": "x&y", "gone": None}))
    assert site.seen[0].query == [("a", "1"), ("b", "1"), ("b", "false"), ("c", "x&y")]


async def test_a_status_outside_2xx_is_an_error_that_shows_only_the_origin(
    site: Site, effects: Effects
) -> None:
    url = site.respond("/hooks/swordfish", status=503, text="swordfish")
    performed = await do(effects, get(url + "?key=swordfish"))
    assert failure(performed) == ("communication", 503, f"GET {site.url} answered 503 Service Unavailable")
    assert performed.definite


async def test_a_refused_connection_is_not_definite(effects: Effects) -> None:
    performed = await do(effects, get("http://127.0.0.1:1/x?key=swordfish"))
    detail = "GET http://127.0.0.1:1 failed: cannot connect: Connection refused"
    assert failure(performed) == ("communication", 500, detail)
    assert not performed.definite


async def test_a_connection_closed_before_the_response_is_not_definite(site: Site, effects: Effects) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    site.handlers["/a"] = hang_up
    performed = await do(effects, CallHttp(method="post", url=site.url + "/a"))
    detail = f"POST {site.url} failed: the server closed the connection"
    assert failure(performed) == ("communication", 500, detail)
    assert not performed.definite


async def test_an_incomplete_response_is_not_definite(site: Site, effects: Effects) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    site.handlers["/a"] = half
    performed = await do(effects, get(site.url + "/a"))
    assert failure(performed)[2] == f"GET {site.url} failed: the connection broke within the response"
    assert not performed.definite


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", "Expecting property name enclosed in double quotes at line 1, column 2"),
        (b"[NaN]", "NaN is not a JSON number"),
        (b"1e999", "a number is out of range"),
        (b'"\\ud800"', "a text holds half a surrogate pair, which UTF-8 cannot encode"),
        (b"[" * 300 + b"]" * 300, "it is nested deeper than 256 levels"),
        (b"[" * 100_000, "it is nested deeper than 256 levels"),
        (b'"\xff"', "it is not valid UTF-8"),
    ],
)
async def test_invalid_json_is_a_definite_error(
    site: Site, effects: Effects, body: bytes, expected: str
) -> None:
    url = site.respond("/a", body=body, content_type="application/json")
    performed = await do(effects, get(url))
    detail = (
        f"GET {site.url} answered, but its body is not the JSON that its Content-Type promises: {expected}"
    )
    assert failure(performed) == ("communication", 500, detail)
    assert performed.definite


async def test_a_body_over_the_cap_is_refused(site: Site, effects: Effects) -> None:
    url = site.respond("/a", body=bytes(10 * 1024 * 1024 + 1))
    performed = await do(effects, get(url))
    assert failure(performed)[2] == f"GET {site.url} answered, but its body is larger than 10485760 bytes"


async def test_a_decompression_bomb_is_refused_before_decompression(site: Site, effects: Effects) -> None:
    bomb = gzip.compress(bytes(512 * 1024 * 1024), compresslevel=1)
    url = site.respond("/a", body=bomb, headers={"Content-Encoding": "gzip"})
    performed = await do(effects, get(url))
    assert failure(performed)[2] == f"GET {site.url} answered, but its body is larger than 10485760 bytes"


async def test_a_compressed_body_over_the_cap_is_refused_whatever_is_in_it(
    site: Site, effects: Effects
) -> None:
    """Data after the end of a deflated body are ignored, and were read without a limit."""
    body = zlib.compress(b"x") + bytes(10 * 1024 * 1024)
    url = site.respond("/a", body=body, headers={"Content-Encoding": "deflate"}, content_type="text/plain")
    performed = await do(effects, get(url))
    assert failure(performed)[2] == f"GET {site.url} answered, but its body is larger than 10485760 bytes"


async def test_a_gzip_body_may_have_several_members(site: Site, effects: Effects) -> None:
    body = gzip.compress(b"one ") + gzip.compress(b"two")
    url = site.respond("/a", body=body, headers={"Content-Encoding": "gzip"}, content_type="text/plain")
    assert (await do(effects, get(url))).output == "one two"


@pytest.mark.parametrize("body", [gzip.compress(b"x" * 1000)[:-4], b"plain"], ids=["cut", "none"])
async def test_a_broken_compressed_body_is_an_error(site: Site, effects: Effects, body: bytes) -> None:
    url = site.respond("/a", body=body, headers={"Content-Encoding": "gzip"})
    expected = f"GET {site.url} answered, but its compressed body is broken"
    assert failure(await do(effects, get(url)))[2] == expected


async def test_an_unsupported_encoding_is_refused(site: Site, effects: Effects) -> None:
    url = site.respond("/a", body=b"x", headers={"Content-Encoding": "br"})
    expected = f'GET {site.url} answered, but its Content-Encoding is "br"; gzip and deflate are read'
    assert failure(await do(effects, get(url)))[2] == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (get("ftp://h/"), "the endpoint is not an absolute http:// or https:// URL"),
        (get("/relative"), "the endpoint is not an absolute http:// or https:// URL"),
        (get("http://[::1"), "the endpoint is not an absolute http:// or https:// URL"),
        (get("http://h/", headers={"X": "a\r\nY: b"}), 'the value of header "X" holds a line break'),
        (get("http://h/", headers={"X Y": "a"}), "the name of a header is not a valid one"),
        (
            get("http://h/", headers={"Content-Length": "1"}),
            'header "Content-Length" is set by the client itself; leave it out',
        ),
        (get("http://h/", query={"q": {}}), 'query parameter "q" is an object; use text, numbers or a list'),
        (
            CallHttp(
                method="POST",
                url="http://h/",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body={"f": {}},
                has_body=True,
            ),
            'field "f" is an object; use text, numbers or a list',
        ),
        (CallHttp(method="no method", url="http://h/"), "the method is not an HTTP method"),
        (
            get("http://a:b@h/", authentication=Authentication(scheme="bearer", parameters={"token": "t"})),
            "the endpoint holds a user, and the call has bearer authentication; keep one of them",
        ),
        (
            get("http://a:b@h/", headers={"Authorization": "swordfish"}),
            'the endpoint holds a user, and the call an "Authorization"; keep one of them',
        ),
        (
            get("http://h/", authentication=Authentication(scheme="digest", parameters={})),
            'digest authentication needs "username", as text',
        ),
        (
            get("http://h/", authentication=Authentication(scheme="bearer", parameters={"token": 5})),
            'bearer authentication needs "token", as text',
        ),
    ],
)
async def test_a_call_that_cannot_be_sent_states_the_reason(
    effects: Effects, call: CallHttp, expected: str
) -> None:
    assert failure(await do(effects, call)) == ("configuration", 400, expected)


async def test_a_cancelled_call_closes_its_connection(site: Site, effects: Effects) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    site.handlers["/a"] = never
    task = asyncio.create_task(do(effects, get(site.url + "/a")))
    await until(lambda: site.seen)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: site.left == 1)


async def test_endpoints_rewrite_only_at_a_path_boundary(site: Site) -> None:
    endpoints = {"https://api.example.com/v1": site.url + "/staging"}
    async with Effects(settings=Settings(endpoints=endpoints)) as effects:
        performed = await do(effects, get("https://api.example.com/v1/pay?x=1", computed=True))
        assert performed.output == {"path": "/staging/pay"}
        assert effects.rewrites("https://api.example.com/v1")
        assert not effects.rewrites("https://api.example.com/v10/pay")
        assert not effects.rewrites("https://api.example.com.evil.example/v1")


async def test_endpoints_rewrite_urls_with_a_user(site: Site) -> None:
    endpoints = {"https://api.example.com": site.url}
    async with Effects(settings=Settings(endpoints=endpoints)) as effects:
        performed = await do(effects, get("https://ada:p%40ss@api.example.com/pay"))
        assert performed.output == {"path": "/pay"}
    assert site.seen[0].headers["Authorization"] == "Basic YWRhOnBAc3M="


async def test_a_connection_serves_many_calls_even_after_an_error_status(
    site: Site, effects: Effects
) -> None:
    ports: list[int] = []

    async def remember(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.Response(status=500 if len(ports) == 1 else 200, text="x" * 1000)

    site.handlers["/a"] = remember
    for _ in range(3):
        await do(effects, get(site.url + "/a"))
    assert len(set(ports)) == 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("{url}/orders/{{id}}?key=swordfish#a", "GET {url}/orders/{{id}}"),
        ("http://user:swordfish@h/a", "GET {url}/a"),
        ("http://[{{ip}}]/a", "GET {url}"),
        ("{url}/bot123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/send", "GET {url}/…/send"),
        ("{url}/x/0b5e9a1c-77d2-4e0f-9c61-2f8f4a1d3b90", "GET {url}/x/…"),
        ("{url}/api/v2-customer-accounts-2024/x", "GET {url}/api/v2-customer-accounts-2024/x"),
        ("{url}/a-long-name-that-is-no-key/1", "GET {url}/a-long-name-that-is-no-key/1"),
        ("${{ .base + .path }}", "GET {url} (from ${{ .base + .path }})"),
        (
            '${{ "https://a:swordfish@h/k0e1y2f3g4h5i6j7k8/x?key=swordfish&q=" + (.q? // "?") }}',
            'GET {url} (from ${{ "https://…@h/…/x?…" + (.q? // "?") }})',
        ),
        ("${{ " + "x" * 200 + " }}", "GET {url} (from ${{ " + "x" * 116 + "…)"),
    ],
)
async def test_an_error_shows_the_address_as_written(
    site: Site, effects: Effects, address: str, expected: str
) -> None:
    url = site.respond("/gone", status=404)
    performed = await do(effects, get(url, address=address.format(url=site.url)))
    assert failure(performed)[2] == expected.format(url=site.url) + " answered 404 Not Found"


@pytest.mark.parametrize(
    ("address", "template"),
    [
        ('${ "http://h/" + .item }', "http://h/{item}"),
        ('${"https://h/a/"+.item+"/b?x=1"}', "https://h/a/{item}/b?x=1"),
        ('${ "http://h/" + (.item | tostring) }', "http://h/{item}"),
        ('${ "http://h/" + (.item | @uri) }', "http://h/{item}"),
        ('${ "http://h/\\(.item)/b" }', "http://h/{item}/b"),
        ('${ "http://h" + .item }', ""),
        ('${ "http://" + .host + "/a" }', ""),
        ("${ .url }", ""),
        ("http://h/{item}", ""),
        ('${ "http://h/" + .a.b }', ""),
    ],
)
def test_an_address_with_a_constant_host_is_suggested_as_a_template(address: str, template: str) -> None:
    assert as_template(address) == template
