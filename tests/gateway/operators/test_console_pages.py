"""Pages and forms of the console, without a browser."""

from __future__ import annotations

from iogate.gateway.console.formatting import NOTHING
from tests.gateway.driver import World, api
from tests.gateway.operators.browsing import submit, visit


async def test_the_page_of_an_api_without_a_timeout_is_shown(browsed: World) -> None:
    await browsed.publish(api("shop/buy"))
    page = await visit(browsed, "/console/apis/shop/buy", "read")
    assert page.status == 200, page.body
    assert f"<dt>Timeout</dt><dd>{NOTHING}</dd>" in page.body.decode()


async def test_a_refused_form_that_is_sent_again_is_refused_again(browsed: World) -> None:
    await browsed.publish(api("shop/buy"))
    form = {"reason": "the shop is down", "operation": "o1", "version": "of an earlier page"}
    for _ in range(2):
        refused = await submit(browsed, "/console/apis/shop/buy/disable", "operate", **form)
        assert refused.status == 412, refused.body
        assert "shop/buy was switched since you have read it: it is enabled" in refused.body.decode()
    assert (await browsed.call("shop/buy")).status == 202
