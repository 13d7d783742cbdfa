"""Pages and forms of the console, without a browser."""

from __future__ import annotations

from urllib.parse import urlencode

from iogate.gateway.console.formatting import NOTHING
from iogate.gateway.console.session import Sessions
from iogate.settings import Settings
from tests.gateway.driver import Reply, World, api, build
from tests.gateway.operators.browsing import session, submit, visit
from tests.gateway.operators.conftest import token
from tests.gateway.operators.test_revision_routes import bundle
from tests.keys import LINK_KEY


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


async def test_the_pages_of_revisions_are_about_the_project_of_the_gateway(browsed: World) -> None:
    browsed.live.settings = Settings(link_key=LINK_KEY, project="bank")
    bank, shop = (browsed.store.of_project(name) for name in ("bank", "shop"))
    assert await bank.revisions.publish(bundle("bank/pay")) == 1
    assert await shop.revisions.publish(bundle("shop/buy")) == 2
    assert await bank.revisions.publish(bundle("bank/pay", "bank/refund")) == 3
    listed = (await visit(browsed, "/console/revisions")).body.decode()
    assert [f'href="/console/revisions/{number}"' in listed for number in (1, 2, 3)] == [True, False, True]
    newest = (await visit(browsed, "/console/revisions/3")).body.decode()
    assert '<span class="st big enabled">live</span>' in newest
    assert "Changes from revision 1 to 3" in newest
    assert "<b>bank/refund</b>" in newest
    oldest = (await visit(browsed, "/console/revisions/1")).body.decode()
    assert "No earlier revision is kept" in oldest
    assert "in place of revision 3." in oldest


def deleted(reply: Reply) -> set[str]:
    """The names of the cookies that a response deletes."""
    return {each.partition("=")[0] for each in reply.cookies if "; Max-Age=0" in each}


async def test_a_login_and_a_logout_end_a_session_of_an_earlier_key(browsed: World) -> None:
    earlier = session(browsed, "admin")
    sessions = browsed.live.sessions = Sessions("n" * 40, [LINK_KEY])
    browsed.application = build(browsed.live, browsed.refresher)
    given = {"cookie": earlier, "sec-fetch-site": "same-origin"}
    assert (await browsed.ask("/console/activity", headers=given)).status == 200
    name = earlier.partition("=")[0]
    form = urlencode({"token": token("read")}).encode()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    begun = await browsed.ask("/console/login", "POST", given | kind, form)
    assert (begun.status, deleted(begun)) == (303, {name})
    assert begun.cookies[0].startswith(f"{sessions.cookie}=")
    ended = await browsed.ask("/console/logout", "POST", given)
    assert (ended.status, deleted(ended)) == (303, {name, sessions.cookie})
