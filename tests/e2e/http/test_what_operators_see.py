"""What operators see of requests: the access log, metrics and the status, of real traffic."""

from __future__ import annotations

import pytest

from tests.support.balancer import balancer, config, connect
from tests.support.operating import ADMIN, operated
from tests.support.servers import read_head, refusing, serving

one_process_or_two = pytest.mark.usefixtures("worker_count")
LISTENER = 'mode = "http"'
KEPT = 'lb_http_kept_connections{pool="web"}'
POOL = 'strategy = "first"\npassive = { failures = 0 }\nretries = 3'
DEBUG = f'{ADMIN}\n[log]\nlevel = "debug"\nformat = "json"'


async def answer(stream):
    """A server that answers 500 to ``/500``, resets on ``/reset``, and says 200 to all else."""
    while (head := await read_head(stream)) is not None:
        path = head.split(b" ")[1]
        if path.startswith(b"/reset"):
            return
        status = b"500 Oh" if path == b"/500" else b"200 OK"
        await stream.send_all(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nok" % status)


async def ask_for(stream, *paths):
    """Send requests over one connection; return the statuses."""
    statuses = []
    for path in paths:
        await stream.send_all(b"GET %b HTTP/1.1\r\nHost: Example.com\r\n\r\n" % path.encode())
        head = await read_head(Until(stream))
        statuses.append(int(head.split(b" ")[1]))
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        while length:
            length -= len(await stream.receive_some(length))
    return statuses


class Until:
    """Reads a stream byte by byte, so that nothing after a head is lost."""

    def __init__(self, stream):
        self._stream = stream

    async def receive_some(self):
        return await self._stream.receive_some(1)


@one_process_or_two
async def test_each_request_is_in_the_log_the_metrics_and_the_status(tmp_path):
    async with serving(answer, name="a") as a, refusing("b") as b:
        text = config(b, a, listener=LISTENER, pool=POOL, health=None, top=DEBUG)
        async with operated(tmp_path, text) as (lb, operator):
            async with await connect(lb.port) as stream:
                client = "{}:{}".format(*stream.socket.getsockname())
                assert await ask_for(stream, "/x?secret", "/y", "/500", "/reset") == [200, 200, 500, 502]
                metrics = await operator.metrics()
                status = await operator.status()
            closed = await lb.event("connection.closed")
            records = lb.of("http.request")
    assert [each["path"] for each in records] == ["/x", "/y", "/500", "/reset"]
    assert [(each["status"], each["server"], each["reason"]) for each in records] == [
        (200, "a", "ok"), (200, "a", "ok"), (500, "a", "ok"), (502, None, "server_reset")
    ]  # fmt: skip
    assert {each["client"] for each in records} == {client}
    assert [attempt["server"] for attempt in records[0]["attempts"]] == ["b"]
    assert [attempt["server"] for attempt in records[3]["attempts"]] == ["b", "a"]
    assert (closed["level"], closed["pool"], closed["server"], closed["client"]) == ("debug", "", None, client)
    route = f'listener="web",route="{records[0]["route"]}"'
    counted = {name: metrics[f'lb_http_requests_total{{{route},status="{name}"}}'] for name in ("2xx", "5xx", "none")}
    assert counted == {"2xx": 2, "5xx": 2, "none": 0}
    assert metrics[f"lb_http_request_seconds_count{{{route}}}"] == 4
    assert metrics[f"lb_http_first_byte_seconds_count{{{route}}}"] == 4
    assert metrics['lb_http_retries_total{pool="web"}'] == 4
    assert metrics['lb_failed_connects_total{pool="web",server="b"}'] == 4
    assert metrics['lb_failed_connects_total{pool="web",server="a"}'] == 0
    requests = status["listeners"]["web"]["requests"]
    assert (requests["total"], requests["statuses"]["2xx"]) == (4, 2)
    assert requests["last_minute"]["per_second"] > 0
    assert requests["last_minute"]["p99_ms"] > 0
    assert status["pools"]["web"]["retries"] == 4


@one_process_or_two
async def test_kept_connections_are_counted(tmp_path):
    async with (
        serving(answer, name="a") as a,
        operated(tmp_path, config(a, listener=LISTENER, health=None, top=ADMIN)) as (lb, operator),
    ):
        async with await connect(lb.port) as stream:
            assert await ask_for(stream, "/", "/", "/") == [200, 200, 200]
        metrics = await operator.until(operator.metrics, lambda found: found.get(KEPT))
        assert (metrics[KEPT], metrics['lb_connect_seconds_count{pool="web"}'], a.connections) == (1, 1, 1)
        assert (await operator.status())["pools"]["web"]["kept_connections"] == 1


async def test_without_an_access_log_requests_count_and_have_no_line(tmp_path):
    async with serving(answer, name="a") as a:
        text = config(a, listener=f"{LISTENER}\naccess_log = false", health=None, top=DEBUG)
        async with operated(tmp_path, text) as (lb, operator):
            async with await connect(lb.port) as stream:
                assert await ask_for(stream, "/") == [200]
            await lb.event("connection.closed")
            assert lb.of("http.request") == []
            assert (await operator.status())["listeners"]["web"]["requests"]["total"] == 1


async def test_connections_have_no_line_at_info(tmp_path):
    async with serving(answer, name="a") as a:
        async with balancer(tmp_path, config(a, listener=LISTENER, health=None)) as lb:
            async with await connect(lb.port) as stream:
                assert await ask_for(stream, "/") == [200]
            await lb.event("http.request")
            assert await lb.stop() == 0
        assert lb.of("connection.closed") == []


async def test_a_request_that_is_none_is_in_the_log_as_text(tmp_path):
    async with serving(answer, name="a") as a:
        async with balancer(tmp_path, config(a, listener=LISTENER, health=None)) as lb:
            async with await connect(lb.port) as stream:
                await stream.send_all(b'GET /"}\n{"event": "http.request"} HTTP/1.1\r\nHost: \x1b[2J\r\n\r\n')
                assert b" 400 " in await stream.receive_some()
            record = await lb.event("http.request")
            assert (record["status"], record["reason"], record["server"]) == (400, "bad_request", None)
            assert await lb.stop() == 0
        assert len(lb.of("http.request")) == 1
