"""The dashboard of many pools in chromium: how soon it is there, and what it costs the balancer while it is open."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from configurations import LB_COMMAND, lb
from model import Bar, Case, Metric, Sample, Scale
from playwright.sync_api import Page, sync_playwright
from processes import HOST
from target import Features, Service, Target
from targets import Running

__all__ = ["DASHBOARD"]

POOLS, SERVERS = 200, 20
"""Pools, and servers of each, without health checks."""
NOTE_LIST = """
const noted = new MutationObserver(() => {
  if (document.querySelector(".pool-row") === null) return;
  window.listed = performance.now();
  noted.disconnect();
});
noted.observe(document, { childList: true, subtree: true });
"""
"""Notes in the page when its first pool is there."""
SETTLE_SECONDS, OPEN_SECONDS = 3, 20


def _lb_with_dashboard(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:
    """Return the configuration of the balancer with many pools, and with an admin endpoint at the port ``admin``."""
    web, admin = services
    text, _ = lb(target, [web], config)
    lines = [text, "[admin]", f'bind = "{HOST}:{admin.port}"']
    for pool in range(POOLS):
        servers = ", ".join(f'"127.2.{pool}.{server}:9"' for server in range(SERVERS))
        lines += [f"[pools.service-{pool}]", "health = false", f"servers = [{servers}]"]
    return "\n".join([*lines, ""]), [str(LB_COMMAND), "--config", str(config)]


def watch(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - shorter would be imprecise
    """Return milliseconds to the first paint and to the list of pools, and the balancer's CPU in percent of a core.

    The CPU is that with the page open, and without.
    """
    alone = _cpu_percent(running)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.add_init_script(NOTE_LIST)
        page.goto(f"http://{HOST}:{running.ports.admin}/")
        page.locator(".pool-row").first.wait_for()
        listed: float = page.evaluate("listed")
        painted = _first_paint(page)
        page.wait_for_timeout(1000 * SETTLE_SECONDS)
        watched = _cpu_percent(running)
        live = page.locator('#link[data-state="live"]').count() == 1
        browser.close()
    return Sample((painted, listed, watched, alone), () if live else ("the page lost the balancer",))


def _first_paint(page: Page) -> float:
    """Return milliseconds from the navigation to the first paint with content."""
    found: float = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    return found


def _cpu_percent(running: Running) -> float:
    before = running.cpu()
    time.sleep(OPEN_SECONDS)  # noqa: TID251 - what is measured is the CPU of a time
    return (running.cpu() - before) / OPEN_SECONDS * 100


DASHBOARD = Case(
    "dashboard",
    (
        Metric(f"first paint of the dashboard, {POOLS} pools of {SERVERS} servers", "ms", bar=Bar(500, against=None)),
        Metric("the list of pools is there", "ms", bar=Bar(500, against=None)),
        Metric("CPU of the balancer while the dashboard is open", "% of a core", bar=Bar(5, against=None)),
        Metric("CPU of the balancer without it", "% of a core", cost=False),
    ),
    (Target("lb", _lb_with_dashboard, features=Features(dashboard=True)),),
    watch,
    quick=False,
)
