"""The history of pools, of the real command."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx
import pytest

from tests.support.balancer import ask, config
from tests.support.operating import ADMIN, operated
from tests.support.servers import Named, backends, free_port, serving

pytestmark = pytest.mark.slow
HISTORY = "/api/v1/pools/web/history"


@asynccontextmanager
async def over_socket(path):
    """Yield a function that asks an endpoint on a Unix socket for the history."""
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://localhost"
    ) as client:

        async def history():
            return (await client.get(HISTORY)).json()

        yield history


def said(history):
    return [(each["server"], each["state"], each["reason"]) for each in history["changes"]]


def newest(history):
    """Return the servers of the last point: up, down, draining."""
    return [history["points"][name][-1] for name in ("up", "down", "draining")]


@pytest.mark.usefixtures("worker_count")
async def test_a_killed_server_is_in_the_history_with_its_reason(tmp_path):
    async with backends("a", "b") as servers, operated(tmp_path, config(*servers, top=ADMIN)) as (lb, operator):
        first = await operator.until(lambda: operator.get(HISTORY), lambda history: newest(history)[0] is not None)
        assert newest(first) == [2, 0, 0]
        assert said(first) == []
        await servers[1].kill()
        ejected = await lb.event("backend.ejected", server="b")
        assert said(await operator.get(HISTORY)) == [("b", "down", ejected["reason"])]
        await operator.do("a", "drain")
        await operator.do("a", "enable")
        *_, drained, enabled = said(await operator.get(HISTORY))
        assert drained == ("a", "draining", "drained by an operator")
        assert enabled == ("a", "up", "enabled by an operator, weight 1")


async def test_it_stays_when_the_endpoint_moves_and_begins_anew_when_it_comes_back(tmp_path):
    down = Named("b", f"127.0.0.1:{free_port()}")
    async with serving(name="a") as a, operated(tmp_path, config(a, down, top=ADMIN)) as (lb, operator):
        await lb.event("backend.ejected", server="b")
        before = await operator.until(lambda: operator.get(HISTORY), lambda history: newest(history)[0] is not None)
        path = tmp_path / "admin.sock"
        elsewhere = config(a, down, top=f'[admin]\nbind = "unix:{path}"')
        assert (await lb.reload(elsewhere))["event"] == "config.applied"
        async with over_socket(path) as history:
            moved = await history()
            assert moved["changes"] == before["changes"]
            assert any(point is not None for point in moved["points"]["up"])
        await lb.reload(config(a, down))
        await lb.reload(elsewhere)
        async with over_socket(path) as history:
            again = await operator.until(history, lambda history: newest(history)[0] is not None)
        assert newest(again) == [1, 1, 0]
        assert said(again) == []


async def test_rates_follow_the_traffic_of_workers(tmp_path, monkeypatch):
    """Takes up to a step of the history."""
    monkeypatch.setenv("LB_TEST_WORKERS", "2")
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        await operator.until(lambda: operator.get(HISTORY), lambda history: newest(history)[0] is not None)
        assert await ask(lb.port) == b"a\n"
        found = await operator.until(
            lambda: operator.get(HISTORY), lambda history: any(history["points"]["per_second"])
        )
        assert not any(found["points"]["failed_per_second"])


async def test_a_pool_that_is_not_there_has_no_history(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (_, operator):
        answer = await operator.client.get("/api/v1/pools/more/history")
        assert (answer.status_code, answer.json()) == (404, {"error": "there is no pool 'more'"})
