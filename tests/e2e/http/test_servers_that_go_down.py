"""A server goes down, with ``on_down = "close"``: another one gets those of its requests that may be sent again."""

from __future__ import annotations

import pytest
import trio

from tests.support.balancer import balancer
from tests.support.http_attacks import HOST, request
from tests.support.http_client import client
from tests.support.servers import serving

pytestmark = pytest.mark.slow

HEALTH = """
strategy = "first"
on_down = "close"
[pools.web.health]
probe = "exchange"
send = "ping\\n"
expect = "^pong"
interval = "50ms"
timeout = "200ms"
rise = 1
fall = 1
"""
POST = request(b"POST / HTTP/1.1", HOST + b"Content-Length: 2\r\n", b"hi")


def server_that(hangs, took):
    """Return a handler of checks and requests. With ``hangs`` it answers nothing from its second request."""

    async def handle(stream):
        async for data in stream:
            checked = data == b"ping\n"
            if not checked:
                took.append(data)
            if hangs and len(took) > 1:
                await trio.sleep_forever()
            await stream.send_all(b"pong\n" if checked else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    return handle


@pytest.mark.parametrize(
    ("sent", "method", "status", "reason"), [(request(), "GET", 200, "ok"), (POST, "POST", 502, "server_down")]
)
async def test_a_request_of_a_server_that_goes_down_goes_to_another_one_if_it_may(
    tmp_path, sent, method, status, reason
):
    hung, answered = [], []
    async with (
        serving(server_that(hangs=True, took=hung), name="a") as a,
        serving(server_that(hangs=False, took=answered), name="b") as b,
    ):
        servers = f'servers = ["{a.address}", "{b.address}"]'
        text = f'[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\npool = "web"\n[pools.web]\n{servers}\n{HEALTH}'
        async with balancer(tmp_path, text) as lb, client(lb) as visitor:
            assert (await visitor.ask(request())).status == 200, "the next one goes over the kept connection"
            found = await visitor.ask(sent, method)
            record = await lb.event("http.request", count=2)
    assert (found.status, record["status"], record["reason"]) == (status, status, reason)
    assert len(answered) == (status == 200)
    assert [attempt["error"] for attempt in record["attempts"]] == ["server down"] * (status == 200)
    assert not lb.of("fault")
