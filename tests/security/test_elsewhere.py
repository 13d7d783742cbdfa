"""Fetched functions: their access to data and network of the caller."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iogate.compiler.program import Program, load
from iogate.compiler.resolved_references import References, join
from iogate.compiler.revision import resource_uri
from iogate.effects import EffectContext, Effects
from iogate.engine.advance import Environment
from iogate.engine.commands import Authentication, CallHttp, CallOpenApi
from iogate.json_pointer import escape
from iogate.settings import Settings
from tests.effects.conftest import Site, do, failure, site
from tests.engine.engine_runs import HEADER, Run

HOME = "https://lib.example/f.yaml"
SECRETS = Environment(secrets={"key": "canary"})

__all__ = ["site"]


def calling(function: dict[str, Any], home: str = HOME, *, resolved: Any = None, **more: Any) -> Program:
    definition = {"document": HEADER, "use": {"secrets": ["key"]}, "do": [{"a": {"call": home}}], **more}
    references = References(calls={"/do/0/a": home}, functions={home: function}, **(resolved or {}))
    return load(json.loads(json.dumps(join(definition, references))))


@pytest.mark.parametrize(
    "function",
    [
        {"set": {"x": "${ $secrets.key }"}},
        {"do": [{"b": {"set": "${ $secrets }"}}]},
        {
            "call": "http",
            "with": {
                "method": "get",
                "endpoint": {"uri": "https://lib.example/", "authentication": {"bearer": {"use": "key"}}},
            },
        },
    ],
)
@pytest.mark.parametrize("mode", ["strict", "loose"])
def test_no_expression_of_an_external_function_reaches_secrets_of_its_caller(
    function: dict[str, Any], mode: str
) -> None:
    run = Run(calling(function, evaluate={"mode": mode}), environment=SECRETS)
    run.advance()
    assert not run.performs
    assert run.state.error is not None
    assert run.state.error["type"].endswith("/authorization")
    assert "an external function cannot read $secrets" in run.state.error["detail"]


@pytest.mark.parametrize(
    ("home", "endpoint", "foreign"),
    [
        (HOME, "https://lib.example:8443/x", False),
        (HOME, "http://10.0.0.1/admin", True),
        (HOME, 'http://10.0.0.1/${ .x // "y" }', True),
        ("lib/f.yaml", "http://10.0.0.1/admin", False),
    ],
)
def test_a_host_that_only_a_fetched_function_names_is_trusted_as_a_redirection_is(
    home: str, endpoint: str, *, foreign: bool
) -> None:
    oauth = {"authority": endpoint, "grant": "client_credentials"}
    function = {
        "call": "http",
        "with": {"method": "get", "endpoint": {"uri": endpoint, "authentication": {"oauth2": oauth}}},
    }
    run = Run(calling(function, home))
    (perform,) = run.advance()
    assert isinstance(perform.effect, CallHttp)
    assert perform.effect.authentication is not None
    assert (perform.effect.foreign, perform.effect.authentication.foreign) == (foreign, foreign)
    assert not perform.effect.computed


@pytest.mark.parametrize("scheme", ["oauth2", "oidc"])
async def test_no_token_is_requested_at_a_host_that_only_an_external_function_names(scheme: str) -> None:
    login = Authentication(
        scheme=scheme,
        parameters={"authority": "http://127.0.0.1:9/", "grant": "client_credentials"},
        foreign=True,
    )
    call = CallHttp(method="GET", url="https://api.example/", authentication=login)
    async with Effects(settings=Settings()) as effects:
        kind, _, detail = failure(await do(effects, call))
    assert kind == "authorization"
    assert '"127.0.0.1" is 127.0.0.1, which is not a public address' in detail


DOCUMENT = {"openapi": "3.0.0", "servers": [{"url": "/"}], "paths": {"/x": {"get": {"operationId": "x"}}}}


@pytest.mark.parametrize("allowed", [False, True])
async def test_no_document_is_fetched_from_a_private_host_that_only_an_external_function_names(
    site: Site, *, allowed: bool
) -> None:
    site.respond("/api.json", text=json.dumps(DOCUMENT))
    document = {"endpoint": f'{site.url}/${{ "api.json" }}'}
    function = {"call": "openapi", "with": {"document": document, "operationId": "x"}}
    (perform,) = Run(calling(function)).advance()
    async with Effects(settings=Settings(allow_hosts=("127.0.0.1",) if allowed else ())) as effects:
        performed = await do(effects, perform.effect)
    if allowed:
        assert performed.output == {"path": "/x"}
        return
    kind, _, detail = failure(performed)
    assert kind == "authorization"
    assert "the OpenAPI document cannot be fetched" in detail
    assert '"127.0.0.1" is 127.0.0.1, which is not a public address' in detail
    assert site.seen == []


@pytest.mark.parametrize("foreign", [False, True])
async def test_a_stored_document_of_such_a_host_reaches_no_private_address(
    site: Site, *, foreign: bool
) -> None:
    """Its host was public when the document was fetched, and may have another address now."""
    address, uri = f"{site.url}/api.json", resource_uri(f"{site.url}/api.json", "0" * 64)
    home = HOME if foreign else f"{site.url}/f.yaml"
    at = f"/use/functions/{escape(home)}"
    function = {
        "call": "openapi",
        "with": {"document": {"endpoint": address}, "operationId": '${ "x" }'},
    }

    async def stored(_: EffectContext, name: str) -> bytes:
        assert name == uri
        return json.dumps(DOCUMENT).encode()

    (perform,) = Run(calling(function, home, resolved={"documents": {at: uri}})).advance()
    async with Effects(settings=Settings(), resources=stored) as effects:
        performed = await do(effects, perform.effect)
    assert isinstance(perform.effect, CallOpenApi)
    assert perform.effect.document == uri
    assert (performed.error is None) is not foreign
    assert len(site.seen) == (0 if foreign else 1)
