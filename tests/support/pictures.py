"""The pictures of the documentation, of real runs: ``python -m tests.support.pictures`` writes them to docs/images.

A test makes them in a folder of its own; only the command replaces those of the documentation.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from functools import partial
from pathlib import Path

import trio
from rich.console import Console

from lb.console.top_picture import picture
from lb.console.top_view import TopView
from tests.support.balancer import LB, PATIENCE
from tests.support.browser import new_page
from tests.support.many_pools import POOLS
from tests.support.paths import ROOT
from tests.support.shop import shop
from tests.support.troubled_pools import troubled_pools

__all__ = ["draw_dashboard", "draw_many_pools", "draw_report"]

IMAGES = ROOT / "docs" / "images"
DAY = 130.0  # seconds: the small charts of the page are of two minutes
DASHBOARD = {"width": 1160, "height": 900}
REPORT = {"width": 1180, "height": 1098}
REHEARSAL_PATIENCE = 10 * PATIENCE  # it takes half a minute of CPU
TERMINAL = (106, 26)  # columns, lines
TERMINAL_PIXELS = 1652  # width of its picture


async def draw_dashboard(to, tmp_path, seconds=DAY):
    """Draw dashboard.png, pool.png and top.png: a balancer with two pools, after a day of so many seconds."""
    async with shop(tmp_path, seconds) as running:
        await trio.to_thread.run_sync(_photograph_dashboard, running, to)


def _photograph_dashboard(running, to):
    with new_page(viewport=DASHBOARD) as page:
        page.goto(_address(running.lb))
        page.wait_for_selector('#link[data-state="live"]')
        view = trio.from_thread.run(_day_with_top, running)
        for server, state in (("web-2", "up"), ("web-3", "down"), ("web-spare", "up"), ("api-2", "draining")):
            page.wait_for_selector(f'.server[data-server="{server}"][data-state="{state}"]')
        _photograph(page, to / "dashboard.png")
        page.goto(f"{_address(running.lb)}#pool=web")
        page.wait_for_selector('#history [data-series="active"] path.line[d]', state="attached")
        page.wait_for_selector("#history .changes b >> text=web-3")
        _photograph(page, to / "pool.png")
        _draw_terminal(page, view, to / "top.png")


def _photograph(page, path):
    """Draw the whole page, in a window of its height, and nothing that has the focus."""
    page.evaluate("document.activeElement.blur()")
    page.set_viewport_size({**DASHBOARD, "height": 1})
    page.set_viewport_size({**DASHBOARD, "height": page.evaluate("document.documentElement.scrollHeight")})
    page.screenshot(path=path)


def _photograph_window(page, path):
    """Draw what is in the window, without its scroll bar."""
    page.evaluate("document.documentElement.style.scrollbarWidth = 'none'")
    page.screenshot(path=path)


async def _day_with_top(running):
    """Let the day pass. Return what ``lb top`` has seen of it."""
    view = TopView("127.0.0.1:9900")

    async def watch():
        while True:
            view.update(await running.operator.status())
            await trio.sleep(1)

    async with trio.open_nursery() as watching:
        watching.start_soon(watch)
        await running.day()
        await running.lb.event("backend.ejected", server="web-3")
        await running.operator.until(
            partial(running.operator.server, "web-3"), lambda server: server["state"] == "down"
        )
        watching.cancel_scope.cancel()
    view.update(status := await running.operator.status())
    for event in status["events"]:
        view.add_event(event)
    while view.selected != ("web", "web-3"):
        view.press("down")
    return view


def _draw_terminal(page, view, path):
    """Draw the screen of ``lb top`` as rich does, in the browser's fonts."""
    width, height = TERMINAL
    console = Console(
        width=width, height=height, record=True, force_terminal=True, color_system="truecolor", file=io.StringIO()
    )
    console.print(picture(view, width, height), height=height)
    page.route("https://**", lambda route: route.abort())
    page.set_viewport_size({"width": TERMINAL_PIXELS, "height": TERMINAL_PIXELS})
    page.goto("about:blank")
    page.set_content(f'<body style="margin: 0">{console.export_svg(title="lb top")}')
    page.locator("svg").screenshot(path=path, omit_background=True)


async def draw_many_pools(to, tmp_path):
    """Draw many-pools.png: the dashboard of 200 pools, in the dark."""
    async with troubled_pools(tmp_path) as lb:
        await trio.to_thread.run_sync(_photograph_many_pools, lb, to)


def _photograph_many_pools(lb, to):
    with new_page(viewport=DASHBOARD, color_scheme="dark") as page:
        page.goto(_address(lb))
        page.wait_for_selector(f"#found >> text={POOLS} pools")
        page.wait_for_selector(".pool-row >> text=checked")
        page.wait_for_function("document.querySelector('[data-figure=rate] path.line').getAttribute('d')")
        _photograph_window(page, to / "many-pools.png")


async def draw_report(to, tmp_path, directory=ROOT / "examples" / "rehearsal"):
    """Draw rehearsal.png: the report of the rehearsal in a directory."""
    report = tmp_path / "report.html"
    rehearsed = directory / "lb.toml", directory / "scenario.toml"
    command = [LB, "rehearse", *rehearsed, "--expect", "failed == 0", "--report", report]
    with trio.fail_after(REHEARSAL_PATIENCE):
        await trio.run_process(command, capture_stdout=True)
    await trio.to_thread.run_sync(_photograph_report, report, to)


def _photograph_report(report, to):
    with new_page(viewport=REPORT) as page:
        page.goto(report.as_uri())
        page.wait_for_selector("text=All expectations met")
        _photograph_window(page, to / "rehearsal.png")


def _address(lb):
    return f"http://{lb.of('admin.started')[0]['bind']}/"


async def _draw_all(to):
    with tempfile.TemporaryDirectory(prefix="lb-pictures-") as name:
        with contextlib.chdir(name):  # the page shows where the configuration is
            await draw_dashboard(to, Path())
        await draw_many_pools(to, Path(name))
        await draw_report(to, Path(name))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation.")
    parser.add_argument("directory", nargs="?", type=Path, default=IMAGES)
    trio.run(_draw_all, parser.parse_args().directory.resolve())
