"""Two pools with traffic, faults and an operator, for pictures: a run of any length that always goes the same way."""

from __future__ import annotations

import math
import random
import sys
from contextlib import asynccontextmanager, suppress

import attrs
import trio

from tests.support.balancer import RunningBalancer, config, connect
from tests.support.operating import ADMIN, Operator, operated
from tests.support.servers import Backend, backends

__all__ = ["Shop", "shop"]

CLIENTS = 24
POINTS = 360  # of a history
SHORTEST_STEP = 0.1  # seconds between two points
CHECKS_SHOWN = 60
TIME_LAPSE = """\
import sys, lb.admin.pool_history
lb.admin.pool_history.STEP = {step}
from lb.__main__ import main
del sys.argv[0]
sys.exit(main())
"""
"""Runs the command with shorter steps of the histories: the run fills their hour."""


@attrs.frozen
class Shop:
    """A running balancer with its operator, and the servers of its pool ``web``."""

    lb: RunningBalancer
    operator: Operator
    web: list[Backend]
    seconds: float

    async def day(self):
        """Let what happens happen: ``web-2`` dies and comes back, ``api-2`` is drained, ``web-3`` dies."""
        began = trio.current_time()
        await trio.sleep_until(began + 0.3 * self.seconds)
        await self.web[1].kill()
        await trio.sleep_until(began + 0.4 * self.seconds)
        await self.web[1].start()
        await trio.sleep_until(began + 0.7 * self.seconds)
        await self.operator.do("api-2", "drain", pool="api")
        await trio.sleep_until(began + 0.85 * self.seconds)
        await self.web[2].kill()
        await trio.sleep_until(began + self.seconds)


@asynccontextmanager
async def shop(tmp_path, seconds):
    """Run a balancer for a day of so many seconds, with clients."""
    async with backends("web-1", "web-2", "web-3", "web-spare", "api-1", "api-2") as servers:
        *web, api_1, api_2 = servers
        checks = f'interval = "{max(100, round(1000 * seconds / CHECKS_SHOWN))}ms"\nfast_interval = "100ms"'
        text = config(*web[:3], (web[3], "backup = true"), top=ADMIN, health=checks)
        text += _api(api_1, api_2, checks)
        lapse = TIME_LAPSE.format(step=max(SHORTEST_STEP, seconds / POINTS))
        async with (
            operated(tmp_path, text, through=[sys.executable, "-c", lapse]) as (lb, operator),
            trio.open_nursery() as clients,
        ):
            for number in range(CLIENTS):
                port = lb.ports["api" if number % 3 == 0 else "web"]
                clients.start_soon(_client, port, random.Random(number), seconds)
            yield Shop(lb, operator, web, seconds)
            clients.cancel_scope.cancel()


def _api(first, second, checks):
    servers = "".join(f'[[pools.api.servers]]\nname = "{s.name}"\naddress = "{s.address}"\n' for s in (first, second))
    front = '[listeners.api]\nbind = "127.0.0.1:0"\npool = "api"\n[pools.api]\nstrategy = "least-conn"\n'
    return f"{front}[pools.api.health]\n{checks}\n{servers}"


async def _client(port, chance, seconds):
    """Come again and again, more often in the middle of the day."""
    began = trio.current_time()
    await trio.sleep(chance.uniform(0, seconds / 50))
    while True:
        with suppress(OSError, trio.BrokenResourceError):
            async with await connect(port) as stream:
                await stream.send_all(b"name\n")
                await stream.receive_some()
                await trio.sleep(chance.uniform(0.05, 0.4))
        part_of_day = (trio.current_time() - began) / seconds
        await trio.sleep(chance.expovariate(1) * (0.7 + 0.5 * math.cos(2 * math.pi * part_of_day)))
