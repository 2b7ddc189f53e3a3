"""Stalls of the traffic by garbage collection and other threads, and the conditions that keep them short."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest
import trio

from lb.config.load import parse
from lb.control.balancer import Balancer
from tests.support.balancer import PATIENCE
from tests.support.servers import serving


def configuration(address, name):
    return parse(
        f"""
        [listeners.web]
        bind = "127.0.0.1:0"
        pool = "web"
        [pools.web]
        servers = [{{ name = "{name}", address = "{address}" }}]
        [pools.web.health]
        interval = "10ms"
        """,
        "lb.toml",
    )


@pytest.mark.parametrize("checked", [False, True], ids=["never checked", "checked"])
async def test_a_server_that_a_reload_replaces_is_freed_without_a_garbage_collection(checked):
    balancer = Balancer(lambda _event: None)
    gc.disable()
    try:
        async with serving() as served, trio.open_nursery() as nursery:
            await nursery.start(balancer.run, configuration(served.address, "first"))
            await balancer.reload(configuration(served.address, "old"))
            if checked:
                before = served.connections
                await served.until(lambda s: s.connections > before + 1)
            old = weakref.ref(balancer.pools["web"].backends["old"])
            config = weakref.ref(balancer.config)
            await balancer.reload(configuration(served.address, "new"))
            with trio.fail_after(PATIENCE):
                while old() is not None or config() is not None:  # its tasks still have to be cancelled
                    await trio.lowlevel.checkpoint()
            balancer.stop_now()
    finally:
        gc.enable()


def test_threads_beside_the_traffic_give_way_soon():
    code = "from lb.net.cooperate import keep_threads_short as f; import sys; f(); print(sys.getswitchinterval())"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert float(said) == pytest.approx(0.0005)
