"""Pages and forms of the console, without a browser."""

from __future__ import annotations

from iogate.gateway.console.formatting import NOTHING
from tests.gateway.driver import World, api
from tests.gateway.operators.browsing import visit


async def test_the_page_of_an_api_without_a_timeout_is_shown(browsed: World) -> None:
    await browsed.publish(api("shop/buy"))
    page = await visit(browsed, "/console/apis/shop/buy", "read")
    assert page.status == 200, page.body
    assert f"<dt>Timeout</dt><dd>{NOTHING}</dd>" in page.body.decode()
