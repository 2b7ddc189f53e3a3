"""A balancer with so many pools that nobody reads a list of them all, two of which have servers in each state."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from tests.support.balancer import ask
from tests.support.many_pools import POOLS, SERVERS, many_pools
from tests.support.operating import ADMIN, operated
from tests.support.servers import refusing, serving

__all__ = ["troubled_pools"]

WEB = """\
[listeners.web]
bind = "127.0.0.1:0"
pool = "web"
[pools.web]
strategy = "first"
health = false
passive = { failures = 1, eject_for = "1h" }
"""
CHECKED = """\
[pools.checked]
health = { probe = "http", initial = "down", interval = "100ms", fast_interval = "50ms", timeout = "1h" }
"""


@asynccontextmanager
async def troubled_pools(tmp_path):
    """Run a balancer with 200 pools of 20 servers, all of which can be had but some of two pools. Yield it.

    The pool ``web`` has servers that are ejected, up and draining, ``checked`` has some that are down and one that is
    being checked.
    """
    async with refusing("dead") as dead, serving(name="a") as a, serving(_says_nothing, name="mute") as mute:
        web = [_server(dead.name, dead.address), _server("a", a.address), _server("tired", "127.0.0.2:9", 0)]
        checked = [_server(dead.name, dead.address), _server(mute.name, mute.address)]
        troubled = "\n".join([WEB, _filled("web", web), CHECKED, _filled("checked", checked)])
        async with operated(tmp_path, many_pools(top=ADMIN, pools=POOLS - 2) + troubled) as (lb, _):
            await ask(lb.port)
            await lb.event("backend.ejected", pool="web", server=dead.name)
            await lb.event("backend.ejected", pool="checked", server=dead.name)
            yield lb


async def _says_nothing(_stream):
    await trio.sleep_forever()


def _server(name, address, weight=1):
    return f'{{ name = "{name}", address = "{address}", weight = {weight} }}'


def _filled(pool, servers):
    """Return the servers of a pool: these, and more that nobody listens for, up to the number that pools have."""
    more = [_server(f"{pool}-{number:02}", f"127.0.0.3:{number}") for number in range(len(servers), SERVERS)]
    return f"servers = [{', '.join([*servers, *more])}]"
