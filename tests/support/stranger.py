"""What somebody does with an installed balancer on the first day: a request, a mistake, a reload, an upgrade."""

from __future__ import annotations

import subprocess
import time
from functools import partial

import trio

from tests.support.balancer import followed
from tests.support.http_sessions import fetch
from tests.support.release_figures import Figures

__all__ = ["first_day"]

CONFIG = """
[process]
workers = {workers}
[listeners.web]
mode = "http"
bind = "127.0.0.1:0"
[[listeners.web.routes]]
respond = "{text}"
"""


async def first_day(command, home, newer, figures: Figures, *, workers=1):
    """Use a balancer that this command runs, in a home of its own. ``newer()`` installs another version: return it."""
    home.mkdir(exist_ok=True)
    configured = partial(CONFIG.format, workers=workers)
    (home / "lb.toml").write_text(configured(text="one"))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
    begin = time.monotonic()
    process = await trio.lowlevel.open_process(
        [*command, "--config", home / "lb.toml"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )
    async with followed(process, home / "lb.toml") as lb:
        port = lb.port  # the same after an upgrade
        assert await answer(port) == "one"
        figures.seconds("first request", time.monotonic() - begin)
        rejected = await lb.reload(configured(text="two").replace("respond", "repsond"))
        assert "did you mean 'respond'" in str(rejected), rejected
        assert await answer(port) == "one"
        with figures.timed("reload"):
            assert (await lb.reload(configured(text="two")))["event"] == "config.applied"
        assert await answer(port) == "two"
        return await upgraded(lb, port, newer, figures)


async def upgraded(lb, port, newer, figures):
    """Install another version under load, let it take over, and return its version. No request fails meanwhile."""
    enough = trio.Event()

    async def keep_asking():
        while not enough.is_set():
            assert await answer(port) == "two"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_asking)
        with figures.timed("upgrade"):
            await trio.to_thread.run_sync(newer)
            assert (await lb.upgrade())["event"] == "upgrade.done", lb.events[-10:]
        for _ in range(10):
            assert await answer(port) == "two"
        enough.set()
    assert lb.other_lines == []
    return (await lb.event("server.started", count=2))["version"]


async def answer(port):
    """Ask with a connection of its own, as the next process has to get it."""
    return (await fetch(port, "/")).text
