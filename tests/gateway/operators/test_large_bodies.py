"""Bodies of operators that are large, or name a project of a wrong form; calls do not wait for them."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from iogate.gateway.operators import parameters
from iogate.gateway.operators.operator_api import ON_LOOP_BYTES
from iogate.gateway.operators.parameters import VALUES_MOST
from tests.gateway.driver import World
from tests.gateway.operators.conftest import bearer, refusal
from tests.gateway.operators.test_revision_routes import bundle, plan, publish, sent

JSON = {"content-type": "application/json"}


async def test_a_large_body_is_decoded_in_a_thread(operated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bool] = []
    read = parameters.read

    def noted(*given: Any) -> Any:
        threads.append(threading.current_thread() is not threading.main_thread())
        return read(*given)

    monkeypatch.setattr(parameters, "read", noted)
    large = {**sent(bundle("shop/buy")), "contents": {"0" * 64: "A" * ON_LOOP_BYTES}}
    refused = await plan(operated, bundle=large)
    assert (refused.status, "has another digest" in refused.message) == (400, True)
    assert (await plan(operated, bundle=sent(bundle("shop/buy")))).status == 200
    assert threads == [True, False]


async def test_a_body_with_too_many_values_is_refused_before_it_is_decoded(operated: World) -> None:
    data = b'{"bundle": {"a": [' + b"[]," * VALUES_MOST + b"1]}}"
    reply = await operated.ask("/v1/plan", "POST", bearer("read") | JSON, data)
    assert refusal(reply) == (
        400,
        "requestError.invalidParams",
        "The body has more than 1000000 objects and arrays",
    )


@pytest.mark.parametrize("project", ["../shop", "a:b", "{shop}", "\x1b[31m", "x" * 64, ""])
async def test_no_project_has_a_name_that_the_setting_refuses(operated: World, project: str) -> None:
    message = "The member project of the body must be a name of letters, digits and dashes"
    published = await publish(operated, bundle("shop/buy"), 0, project=project)
    planned = await plan(operated, bundle=sent(bundle("shop/buy")), project=project)
    for reply in (published, planned):
        assert refusal(reply) == (400, "requestError.invalidParams", message)
    listed = await operated.ask("/v1/status", headers=bearer("read"))
    assert json.loads(listed.body)["response"]["projects"] == []
