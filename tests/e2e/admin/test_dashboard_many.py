"""The dashboard of a balancer with many pools, in a real browser: with the mouse, and with the keyboard alone."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from tests.e2e.admin.test_dashboard import OVERVIEW, browse, row, wait_for_state
from tests.support.balancer import config
from tests.support.browser import NEEDS_CHROMIUM
from tests.support.many_pools import many_pools
from tests.support.operating import ADMIN, operated
from tests.support.servers import Named, backends

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
ROW = ".pool-row, .server"
FOCUS = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"


def wait_for_found(page, text):
    page.locator(f'#found:text-is("{text}")').wait_for()


def pools(page):
    return [text.strip() for text in page.locator(".pool-row a").all_inner_texts()]


def column(page, name):
    return page.locator("#table").get_by_role("columnheader", name=name)


async def test_two_hundred_pools_are_found_sorted_and_paged(tmp_path):
    async with backends("a", "b") as live, operated(tmp_path, many_pools(*live, top=ADMIN)) as (lb, operator):
        await operator.do("p150-07", "drain", pool="p150")

        def visit(page):
            wait_for_found(page, "201 pools, 4,002 servers, page 1 of 5")
            assert pools(page)[0] == "p150"
            assert page.locator(ROW).count() == 50
            trio.from_thread.run(live[1].kill)
            page.wait_for_selector('.pool-row[data-pool="live"][data-state="down"]')
            assert pools(page)[:2] == ["live", "p150"], "the worst come first"
            assert "b: connection refused" in page.locator('.pool-row[data-pool="live"] .why').inner_text()
            page.locator("#pager").get_by_role("button", name="Next").click()
            wait_for_found(page, "201 pools, 4,002 servers, page 2 of 5")
            assert page.url.endswith("#page=2")
            page.go_back()
            wait_for_found(page, "201 pools, 4,002 servers, page 1 of 5")
            column(page, "Pool").get_by_role("button").click()
            page.wait_for_selector('[aria-sort="ascending"] [data-sort="name"]')
            column(page, "Pool").get_by_role("button").click()
            page.wait_for_selector('[aria-sort="descending"] [data-sort="name"]')
            assert pools(page)[:2] == ["p199", "p198"]
            page.get_by_label("only what is not well").check()
            wait_for_found(page, "2 servers")
            assert sorted(page.locator(".server").evaluate_all("all => all.map(row => row.dataset.server)")) == [
                "b",
                "p150-07",
            ]
            page.locator("#find").fill("p150")
            wait_for_found(page, "1 server")
            assert page.url.endswith("#find=p150&trouble=1&sort=-name")
            assert page.locator("#listeners tbody tr").count() == 1

        await browse(lb, visit, ready=ROW)


async def test_a_pool_has_a_page_that_can_be_sent_as_a_link(tmp_path):
    async with backends("a", "b") as live, operated(tmp_path, many_pools(*live, top=ADMIN, pools=60)) as (lb, _):

        def visit(page):
            page.locator("#find").fill("live")
            page.get_by_role("link", name="live", exact=True).click()
            page.locator('#list-title:text-is("Pool live")').wait_for()
            assert page.evaluate("document.activeElement.id") == "list-title"
            assert page.locator("#events, #figures, #listeners").locator("visible=true").count() == 0
            trio.from_thread.run(live[1].kill)
            trio.from_thread.run(partial(lb.event, "backend.ejected", server="b"))
            wait_for_state(page, "b", "down")
            change = page.locator('#history .changes [data-state="down"]').first
            change.wait_for()
            assert "b down: connection refused" in change.inner_text()
            label = page.locator('[data-series="up"] svg').get_attribute("aria-label")
            assert label.startswith("Servers that are up, the last hour: ")
            page.reload()
            page.locator('#list-title:text-is("Pool live")').wait_for()
            page.get_by_role("link", name="All pools").click()
            page.locator('#list-title:text-is("Pools")').wait_for()
            page.go_back()
            page.locator('#list-title:text-is("Pool live")').wait_for()
            page.goto(page.url.replace("live", "shop"))
            page.locator('#list-title:text-is("There is no pool shop")').wait_for()
            assert page.locator(f".server, {ROW}").count() == 0

        await browse(lb, visit, ready=ROW)


async def test_everything_can_be_done_with_the_keyboard_alone(tmp_path):
    async with operated(tmp_path, many_pools(top=ADMIN, pools=60)) as (lb, _):

        def visit(page):
            press = page.keyboard.press
            press("Tab")
            assert page.evaluate(FOCUS) == "Skip to the servers"
            press("Enter")
            assert page.evaluate("document.activeElement.id") == "list-title"
            press("/")
            page.keyboard.type("p050-07")
            wait_for_found(page, "1 server")
            page.locator('#announcement:text-is("1 server")').wait_for()
            press("Escape")
            wait_for_found(page, "60 pools, 1,200 servers, page 1 of 2")
            assert page.locator("#find").input_value() == ""
            assert page.evaluate("document.activeElement.id") == "find"
            for _ in range(4):  # the check box, and the columns State, Pool and Available
                press("Tab")
            press("Enter")
            press("Shift+Tab")
            press("Enter")
            page.wait_for_selector('[aria-sort="ascending"] [data-sort="name"]')
            press("Enter")
            page.wait_for_selector('[aria-sort="descending"] [data-sort="name"]')
            for _ in range(6):
                press("Tab")
            assert page.evaluate(FOCUS) == "p059"
            press("Enter")
            page.locator('#list-title:text-is("Pool p059")').wait_for()
            page.wait_for_selector('.server[data-server="p059-00"]')
            press("Tab")
            while page.evaluate(FOCUS) != "Drain p059-00":
                press("Tab")
            press("Enter")
            wait_for_state(page, "p059-00", "draining")
            assert page.evaluate(FOCUS) == "Enable p059-00", "a refresh leaves the focus where it is"

        await browse(lb, visit, ready=ROW)


async def test_the_focus_is_not_lost_with_the_row_that_had_it(tmp_path):
    servers = [Named(name, "127.0.0.1:9") for name in ("a", "b", "c")]
    async with operated(tmp_path, config(*servers, top=ADMIN, health=None)) as (lb, operator):
        await operator.do("b", "drain")

        def visit(page):
            page.get_by_label("only what is not well").check()
            wait_for_found(page, "1 server")
            page.get_by_role("button", name="Enable b").press("Enter")
            wait_for_found(page, "0 servers")
            assert page.evaluate("document.activeElement.id") == "list-title"
            page.get_by_label("only what is not well").uncheck()
            wait_for_found(page, "3 servers")
            column = page.get_by_role("columnheader", name="Server").get_by_role("button")
            column.press("Enter")
            column.press("Enter")
            page.wait_for_selector('.pool [aria-sort="descending"] [data-sort="name"]')
            button = page.get_by_role("button", name="Drain a")
            button.focus()
            page.locator("#find").evaluate("(find) => { location.hash = '#sort=state' }")
            trio.from_thread.run(partial(operator.do, "a", "drain"))
            wait_for_state(page, "a", "draining")
            page.wait_for_selector('.pool [aria-sort="ascending"] [data-sort="state"]')
            assert page.evaluate(FOCUS) == "Enable a", "its row has moved"
            assert row(page, "a").evaluate("row => row.parentElement.firstElementChild === row")

        await browse(lb, visit)


async def test_a_page_that_nobody_sees_asks_for_nothing(tmp_path):
    async with operated(tmp_path, config(Named("a", "127.0.0.1:9"), top=ADMIN, health=None)) as (lb, _):

        def visit(page):
            hide = """hidden => {
                Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
                document.dispatchEvent(new Event('visibilitychange'));
            }"""
            page.wait_for_selector('#link[data-state="live"]')
            asked = []
            page.evaluate(hide, True)
            page.on("request", lambda request: asked.append(request.url))
            page.wait_for_timeout(2500)
            assert asked == []
            with page.expect_request("**/api/v1/events"), page.expect_request(OVERVIEW):
                page.evaluate(hide, False)

        await browse(lb, visit)
