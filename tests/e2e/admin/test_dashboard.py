"""The dashboard in a real browser."""

from __future__ import annotations

import re
import signal
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, config, connect, request
from tests.support.browser import NEEDS_CHROMIUM, new_page
from tests.support.operating import ADMIN, operated
from tests.support.servers import Named, backends

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
SOON = 2.0  # seconds until the page shows a change


async def browse(lb, visit, host="127.0.0.1", ready=".server", **options):
    """Open the dashboard and call ``visit(page)`` in a thread, as playwright requires, once ``ready`` is on it.

    Names in .example are ours.
    """
    port = lb.of("admin.started")[0]["bind"].rpartition(":")[2]
    await trio.to_thread.run_sync(partial(_visit, f"http://{host}:{port}/", visit, ready, options))


def _visit(url, visit, ready, options):
    complaints = []
    with new_page(**options) as page:
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        page.wait_for_selector(ready)
        visit(page)
    assert not complaints
    assert not [each for each in asked if not each.startswith((url, "data:"))], (
        "the page sends requests to another host"
    )


def row(page, server):
    return page.locator(f'.server[data-server="{server}"]')


def state(page, server):
    return row(page, server).locator(".state").inner_text()


def wait_for_state(page, server, wanted, seconds=PATIENCE):
    page.wait_for_selector(f'.server[data-server="{server}"][data-state="{wanted}"]', timeout=seconds * 1000)


async def test_a_killed_server_is_on_the_page_within_two_seconds_of_its_verdict_and_says_why(tmp_path):
    async with backends("a", "b") as servers, operated(tmp_path, config(*servers, top=ADMIN)) as (lb, _):

        def visit(page):
            assert state(page, "b") == "up"
            assert page.locator("#verdict").inner_text() == "All pools available"
            trio.from_thread.run(servers[1].kill)
            trio.from_thread.run(partial(lb.event, "backend.ejected", server="b"))
            changed_at = time.monotonic()
            wait_for_state(page, "b", "down")
            assert time.monotonic() - changed_at < SOON
            assert "connection refused" in row(page, "b").locator(".why").inner_text()
            assert page.locator("#verdict").inner_text() == "All pools available, 1 server not up"
            assert page.locator("#verdict").get_attribute("data-ok") == "partly", "amber"
            assert "failed" in row(page, "b").locator("svg").get_attribute("aria-label")
            assert "backend.ejected" in page.locator("#events li").first.inner_text()

        await browse(lb, visit)


async def test_a_click_drains_a_server_and_another_one_enables_it(tmp_path):
    async with backends("a", "b") as servers, operated(tmp_path, config(*servers, top=ADMIN)) as (lb, _):

        def visit(page):
            row(page, "a").get_by_role("button", name="Drain a").click()
            wait_for_state(page, "a", "draining")
            assert "drained by an operator" in row(page, "a").locator(".why").inner_text()
            assert {trio.from_thread.run(ask, lb.port) for _ in range(4)} == {b"b\n"}
            page.keyboard.press("/")
            page.keyboard.type("a")
            button = row(page, "a").get_by_role("button", name="Enable a")
            button.focus()
            page.keyboard.press("Enter")
            wait_for_state(page, "a", "up")
            assert {trio.from_thread.run(ask, lb.port) for _ in range(4)} == {b"a\n", b"b\n"}

        await browse(lb, visit)


async def test_the_page_says_what_a_reload_would_change_and_does_it(tmp_path):
    async with backends("a", "b") as (a, b), operated(tmp_path, config(a, top=ADMIN)) as (lb, _):
        lb.config_file.write_text(config(a, b, top=ADMIN))

        def visit(page):
            page.get_by_role("button", name="Show changes").click()
            page.wait_for_selector("#changes:not([hidden])")
            assert "web/b" in page.locator("#changes").inner_text()
            page.get_by_role("button", name="Reload", exact=True).click()
            wait_for_state(page, "b", "up")

        await browse(lb, visit)


async def test_names_are_text_and_never_markup(tmp_path):
    bold = Named("<b>a<img src=x onerror=alert(1)>", "127.0.0.1:9")
    async with operated(tmp_path, config(bold, top=ADMIN, health=None)) as (lb, _):

        def visit(page):
            assert page.locator(".server strong").inner_text() == bold.name
            assert page.locator(".server b, .server img").count() == 0

        await browse(lb, visit)


UNDER_A_NAME = {"host": "lb.example", "http_credentials": {"username": "", "password": "s3cret"}}
WITH_TOKEN = f'{ADMIN}\ntoken = "s3cret"'


async def test_under_a_plain_http_name_the_page_works(tmp_path):
    async with (
        backends("a") as (a,),
        operated(tmp_path, config(a, top=WITH_TOKEN), token="s3cret") as (lb, _),
    ):

        def visit(page):
            row(page, "a").get_by_role("button", name="Drain a").click()
            wait_for_state(page, "a", "draining")
            page.wait_for_selector("#events li >> text=backend.overridden")

        await browse(lb, visit, **UNDER_A_NAME)


@pytest.fixture
def elsewhere():
    """The address of a page of another site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://evil.example:{server.server_port}/"
        server.shutdown()


async def test_under_a_plain_http_name_pages_of_other_sites_are_refused(tmp_path, elsewhere):
    """The browser sends no Sec-Fetch-Site there, and it may know the token."""
    async with (
        backends("a") as (a,),
        operated(tmp_path, config(a, top=WITH_TOKEN), token="s3cret") as (lb, _),
    ):

        def visit(page):
            own, statuses = page.url, {}
            page.on("response", lambda response: statuses.update({response.url: response.status}))
            page.goto(elsewhere)
            for path in ("metrics", "readyz", "api/v1/explain"):
                page.evaluate("url => fetch(url, {mode: 'no-cors', credentials: 'include'})", f"{own}{path}")
                assert statuses[f"{own}{path}"] == 403
            page.evaluate("url => fetch(url, {mode: 'no-cors', method: 'POST'})", f"{own}api/v1/reload")
            assert statuses[f"{own}api/v1/reload"] == 403
            assert page.goto(own).status == 200

        with pytest.raises(AssertionError, match="403"):
            await browse(lb, visit, **UNDER_A_NAME)


@pytest.mark.parametrize(("width", "color_scheme"), [(360, "light"), (1280, "dark")])
async def test_two_hundred_servers_fit_on_any_screen(tmp_path, width, color_scheme):
    servers = [Named(f"server-{number:03}.internal.example", f"127.0.1.{number + 1}:9") for number in range(200)]
    async with operated(tmp_path, config(*servers, top=ADMIN, health=None)) as (lb, _):

        def visit(page):
            assert page.locator("#found").inner_text() == "200 servers, page 1 of 4"
            assert page.locator(".server").count() == 50
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.locator("#find").fill("server-123")
            page.locator("#found >> text=/^1 server$/").wait_for()
            assert page.locator(".server:visible").count() == 1
            page.locator("#find").fill("")
            page.locator("#trouble").check()
            page.locator("#found >> text=/^0 servers$/").wait_for()
            assert page.locator(".server:visible").count() == 0

        await browse(lb, visit, viewport={"width": width, "height": 800}, color_scheme=color_scheme)


async def test_open_connections_are_listed_and_one_is_closed_after_a_second_thought(tmp_path):
    async with backends("a") as (a,), operated(tmp_path, config(a, top=ADMIN)) as (lb, _):
        stream = await connect(lb.port)
        assert await request(stream, b"name") == b"a"
        client = "{}:{}".format(*stream.socket.getsockname())

        def visit(page):
            page.get_by_role("button", name="Show", exact=True).click()
            button = page.get_by_role("button", name=f"Close the connection of {client}")
            button.click()
            assert button.inner_text() == "Confirm?"
            button.click()
            page.wait_for_selector("#connections", state="hidden")

        await browse(lb, visit)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await stream.aclose()


async def test_a_pool_that_comes_back_shows_its_servers(tmp_path):
    async with backends("a", "b") as (a, b), operated(tmp_path, config(a, top=ADMIN)) as (lb, _):
        without = config(a, top=ADMIN)
        pool_too = f'{without}\n[listeners.more]\nbind = "127.0.0.1:0"\nservers = ["{b.address}"]\n'

        def visit(page):
            section = page.locator('.pool[data-pool="more"]')
            for text, count in ((pool_too, 1), (without, 0), (pool_too, 1)):
                trio.from_thread.run(lb.reload, text)
                section.wait_for(state="attached" if count else "detached")
                assert section.locator(".server").count() == count

        await browse(lb, visit)


def times(ms):
    return {"p50_ms": ms, "p90_ms": ms and 2 * ms, "p99_ms": ms and 4 * ms}


def with_requests(overview):
    """Add a listener of mode http, 100 requests later at each call, and kept connections to an overview."""
    with_requests.total += 100
    rates = {"none": 0.0, "1xx": 0.0, "2xx": 97.5, "3xx": 0.0, "4xx": 0.0, "5xx": 2.5}
    slowest = [
        {"route": "<b>videos", "per_second": 7.0, **times(800.0)},
        {"route": "", "per_second": 1.0, **times(None)},
    ]
    latest = {"seconds": 60.0, "per_second": 100.0, "statuses": rates, **times(12.0), "slowest_routes": slowest}
    overview["requests"] = {"count": 3, "shown": {"www": {"total": 100, "statuses": rates, "last_minute": latest}}}
    overview["totals"]["requests"] = with_requests.total
    overview["list"]["rows"][0]["kept_connections"] = 12
    return overview


with_requests.total = 0
OVERVIEW = "**/api/v1/overview*"


def change_overview(page, changed):
    """Let the page get changed overviews from now on."""

    def answer(route):
        headers = {name: value for name, value in route.request.headers.items() if name != "if-none-match"}
        found = changed(route.fetch(headers=headers).json())
        route.fulfill(json=found)

    page.route(OVERVIEW, answer)


async def test_requests_are_on_the_page_only_where_there_is_a_listener_of_them(tmp_path):
    async with backends("a") as (a,), operated(tmp_path, config(a, top=ADMIN)) as (lb, _):

        def visit(page):
            page.wait_for_selector('#link[data-state="live"]')
            assert (
                page.locator("#requests, [data-figure=requests], [data-figure=slow]").locator("visible=true").count()
                == 0
            )
            assert page.locator(".kept").inner_text() == ""
            change_overview(page, with_requests)
            rows = page.locator("#requests tbody tr")
            rows.first.wait_for()
            assert [" ".join(row.split()) for row in rows.all_inner_texts()] == [
                "www 100 98 2.5 12 ms 24 ms 48 ms",
                "<b>videos 7 800 ms 1.6 s 3.2 s",
                "(no route) 1 \u2013 \u2013 \u2013",
            ]
            assert page.locator("#requests .more").inner_text().startswith("and 2 more")
            assert page.locator(".kept").inner_text() == "12 kept connections"
            page.wait_for_function("document.querySelector('[data-figure=requests] output').textContent > '1'")
            assert page.locator("[data-figure=slow] output").inner_text() == "48 ms"
            page.unroute(OVERVIEW)
            page.locator("#requests").wait_for(state="hidden")

        await browse(lb, visit)


async def test_a_pool_may_have_any_name_and_go(tmp_path):
    async with backends("a", "b") as (a, b), operated(tmp_path, config(a, top=ADMIN)) as (lb, _):
        before = config(a, top=ADMIN)

        def visit(page):
            for name in ("constructor", "__proto__", "toString"):
                section = page.locator(f'.pool[data-pool="{name}"]')
                server = f'{{ name = "{name}", address = "{b.address}" }}'
                named = f'{before}\n[listeners.{name}]\nbind = "127.0.0.1:0"\nservers = [{server}]\n'
                trio.from_thread.run(lb.reload, named)
                section.locator(".server strong").get_by_text(name).wait_for()
                assert page.locator(".pool").count() == 2
                trio.from_thread.run(lb.reload, before)
                section.wait_for(state="detached")
                assert page.locator(".pool").count() == 1

        await browse(lb, visit)


async def test_a_balancer_that_hangs_is_said_and_one_that_goes_on_too(tmp_path):
    async with backends("a") as (a,), operated(tmp_path, config(a, top=ADMIN)) as (lb, _):

        def visit(page):
            verdict = page.locator("#verdict")
            page.wait_for_selector('#link[data-state="live"]')
            lb.process.send_signal(signal.SIGSTOP)
            page.wait_for_selector('#verdict[data-ok="unknown"]')
            assert re.fullmatch(r"No answer for \d+ s", verdict.inner_text())
            assert page.locator("body").get_attribute("class") == "stale"
            page.wait_for_selector('#link[data-state="lost"]')
            assert page.locator("#link").inner_text() == "no answer in 5 s"
            lb.process.send_signal(signal.SIGCONT)
            page.wait_for_selector('#verdict[data-ok="yes"]')
            assert verdict.inner_text() == "All pools available"
            assert page.locator("body").get_attribute("class") == ""

        await browse(lb, visit)


async def test_a_balancer_that_is_gone_is_said(tmp_path):
    async with backends("a") as (a,), operated(tmp_path, config(a, top=ADMIN)) as (lb, _):

        def visit(page):
            page.wait_for_selector('#link[data-state="live"]')
            lb.process.kill()
            page.wait_for_selector('#link[data-state="lost"]')
            page.wait_for_selector('#verdict[data-ok="unknown"]')
            assert page.locator("#verdict").inner_text().startswith("No answer for ")

        with pytest.raises(AssertionError, match="ERR_"):
            await browse(lb, visit)


def rows_that_appear(page, section, changed):
    """Check that a section is not shown, then show a changed status. Return the texts of its rows."""
    page.wait_for_selector('#link[data-state="live"]')
    assert not page.locator(section).is_visible()
    change_overview(page, changed)
    rows = page.locator(f"{section} tbody tr")
    rows.first.wait_for()
    return [" ".join(row.split()) for row in rows.all_inner_texts()]


def with_cache(overview):
    """Add a cache with a name and keys that look like markup to an overview."""
    tier = {"objects": 12, "bytes": 1_200_000, "max_bytes": 64_000_000}
    films = {
        "memory": tier,
        "disk": None,
        "hit_ratio": {"last_minute": 0.975, "since_start": None},
        "requests": {"HIT": 900, "MISS": 100},
        "fills_under_way": 3,
        "top": [{"key": f"http a.example /<i>{number}", "requests": 9 - number} for number in range(5)],
    }
    overview["caches"] = {"count": 1, "shown": {"<b>films": films}}
    return overview


async def test_caches_are_on_the_page_only_where_there_are_some(tmp_path):
    async with backends("a") as (a,), operated(tmp_path, config(a, top=ADMIN)) as (lb, _):

        def visit(page):
            first, *objects = rows_that_appear(page, "#caches", with_cache)
            assert first == "<b>films 98 % \u2013 1.2 MB of 64 MB, 12 objects \u2013 3 1,000"
            assert objects == [f"http a.example /<i>{number} {9 - number}" for number in range(5)]

        await browse(lb, visit)


def with_proxy(overview):
    """Add a forward proxy, and targets that look like markup, to an overview."""
    targets = [{"target": f"<i>{number}.example:443", "count": 9 - number} for number in range(5)]
    results = {
        "connect": {"ok": 90, "denied_target": 4, "resolve_failed": 3, "timeout": 2},
        "http": {"ok": 8, "auth": 1},
    }
    proxy = {"results": results, "top": targets, "failed": targets[:1]}
    overview["forward"] = {"count": 1, "shown": {"proxy": proxy}}
    return overview


async def test_forward_proxies_are_on_the_page_only_where_there_are_some(tmp_path):
    async with backends("a") as (a,), operated(tmp_path, config(a, top=ADMIN)) as (lb, _):

        def visit(page):
            first, *targets = rows_that_appear(page, "#forward", with_proxy)
            assert first == "proxy 108 98 5 3 2"
            assert targets == [
                *(f"<i>{number}.example:443 {9 - number}" for number in range(5)),
                "<i>0.example:443, failed 9",
            ]

        await browse(lb, visit)
