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


async def test_an_api_that_is_disabled_and_on_hold_is_shown_as_such(browsed: World) -> None:
    await browsed.publish(api("shop/buy"))
    url = "/console/apis/shop/buy"
    for fields in ({"reason": "wait for the bank", "hold": "true"}, {"reason": "the shop is down"}):
        done = await submit(browsed, f"{url}/disable", "operate", **fields)
        assert done.status == 303, done.body
    assert (await browsed.call("shop/buy")).status == 403
    page = (await visit(browsed, url, "operate")).body.decode()
    assert '<span class="st disabled held big">disabled, held</span>' in page
    assert "Refuses calls, and starts no run by an override of operateer: the shop is down." in page
    assert "Gateways accept calls again at once, and the runs on hold start." in page
    assert f'action="{url}/enable"' in page
    assert f'action="{url}/disable"' not in page
    assert "disabled, held" in (await visit(browsed, "/console/apis")).body.decode()
    overview = await visit(browsed, "/console")
    assert "is disabled, and on hold with 0 queued runs" in overview.body.decode()
