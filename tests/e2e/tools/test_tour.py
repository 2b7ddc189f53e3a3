"""The tutorial's tour: the demo, its dashboard, a killed server, a drained one, a reload, a rehearsal."""

from __future__ import annotations

import os
import re
import signal
from functools import partial

import pytest
import trio

from tests.support.balancer import PATIENCE, run_lb
from tests.support.browser import NEEDS_CHROMIUM, new_page
from tests.support.terminals import on_pipe

CONFIG = """
[listeners.demo]
bind = "127.0.0.1:8080"
servers = [{ name = "s1", address = "10.0.0.1:1" }, { name = "s2", address = "10.0.0.2:1" }]
"""
SCENARIO = """
duration = "1m"
clients.all = { rate = 20, session = "200ms" }
events = [{ at = "30s", server = "demo/s1", does = "die" }]
"""
pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


class Dashboard:
    """The dashboard in a browser. Use it in a thread."""

    def __init__(self, page):
        self._page = page

    def shows(self, server, state, *texts):
        """Wait until the row of this server has this state and these texts."""
        row = self._page.locator(f'.server[data-server="{server}"][data-state="{state}"]')
        for text in ("", *texts):
            row.filter(has_text=text).wait_for()

    def click(self, server, button):
        self._page.locator(f'.server[data-server="{server}"]').get_by_role("button", name=button).click()


def browse(url, visit, *sites):
    """Open the dashboard, and a page for each site, and call ``visit(dashboard, *pages)``."""
    with new_page() as page:
        page.goto(url)
        others = [page.context.browser.new_page() for _ in sites]
        for other, site in zip(others, sites, strict=True):
            other.set_default_timeout(PATIENCE * 1000)
            other.goto(site)
        visit(Dashboard(page), *others)


async def test_the_tour(tmp_path):
    async with on_pipe("demo") as demo:
        url, admin = (await demo.until(r"Its dashboard is (http://([0-9.:]+)/)")).groups()
        victim = int((await demo.until(r"kill -9 (\d+)"))[1])

        async def lb(*arguments):
            """Return its stdout."""
            code, out, err = await run_lb(*arguments, "--admin", admin)
            assert (code, err) == (0, "")
            return out

        def visit(dashboard):
            wait_for = partial(trio.from_thread.run, demo.until)
            for server in ("s1", "s2", "s3"):
                dashboard.shows(server, "up")

            os.kill(victim, signal.SIGKILL)
            wait_for("s1 is ejected: connection refused")
            dashboard.shows("s1", "down", "connection refused")
            assert "connection refused" in trio.from_thread.run(lb, "ctl", "servers")

            explained = trio.from_thread.run(lb, "explain", "--listener", "demo", "--source", "10.1.2.3")
            assert re.search(r"^s1 +down .*connection refused", explained, re.MULTILINE), explained
            assert re.search(r"^10\.1\.2\.3 on demo gets s[23]$", explained, re.MULTILINE), explained

            dashboard.click("s2", "Drain")
            dashboard.shows("s2", "draining", "drained by an operator")
            assert trio.from_thread.run(lb, "ctl", "enable", "demo/s2") == "demo/s2: up, weight 1\n"
            dashboard.shows("s2", "up")

            assert "reweighted  demo/s3  1 -> 3" in trio.from_thread.run(lb, "ctl", "reload", "--dry-run")
            assert trio.from_thread.run(lb, "ctl", "reload") == "applied\n"
            wait_for("reloaded: s3 has weight 3 now")

            os.kill(demo.process.pid, signal.SIGUSR1)
            wait_for("s1 is restored")
            dashboard.shows("s1", "up")

        await trio.to_thread.run_sync(browse, url, visit)
        demo.process.terminate()
        text, code = await demo.rest()
    assert code == 0, text
    assert " 0 failed, " in text.splitlines()[-1]

    config, scenario = tmp_path / "lb.toml", tmp_path / "scenario.toml"
    config.write_text(CONFIG)
    scenario.write_text(SCENARIO)
    expected = ("--expect", "failed == 0", "--expect", "time_to_eject.s1 < 2s")
    code, out, err = await run_lb("rehearse", str(config), str(scenario), *expected)
    assert (code, err) == (0, ""), "the rehearsal predicts what happened"
    assert "demo/s1 ejected: connection refused" in out


async def test_the_tour_of_web_sites():
    """A server is killed before the eyes of a browser and of curl, and neither sees it."""
    async with on_pipe("demo", "http") as demo:
        url, admin = (await demo.until(r"Its dashboard is (http://([0-9.:]+)/)")).groups()
        shop = (await demo.until(r"curl (http://shop\.localhost:\d+/) "))[1]
        videos = (await demo.until(r"curl (http://shop\.localhost:\d+/videos/a) "))[1]
        victim = int((await demo.until(r"kill -9 (\d+)"))[1])

        async def lb_explain(asked):
            code, out, err = await run_lb("explain", "--admin", admin, "--listener", "demo", "--url", asked)
            assert (code, err) == (0, "")
            return out

        def visit(dashboard, page):
            dashboard.shows("s1", "up")
            os.kill(victim, signal.SIGKILL)
            for _ in range(20):
                page.reload()
                assert re.search(r"This is s[12]\. You asked for /\.", page.inner_text("body"))
            trio.from_thread.run(demo.until, "s1 is ejected: ")
            dashboard.shows("s1", "down", "connection refused")
            page.goto(videos)
            assert re.search(r"This is v[12]\. You asked for /a\.", page.inner_text("body"))

        await trio.to_thread.run_sync(browse, url, visit, shop)
        told = await lb_explain(f"{shop}?page=1")
        assert "127.0.0.1 on demo gets s2\n" in told
        assert "  the server gets GET /a, Host shop.localhost:" in await lb_explain(videos)
        demo.process.terminate()
        text, code = await demo.rest()
    assert code == 0, text
    assert text.splitlines()[-1].endswith(" 0 failed")
