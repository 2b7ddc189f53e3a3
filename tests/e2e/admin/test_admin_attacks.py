"""The admin endpoint of the real command under clients without rights, and under those that speak no HTTP."""

from __future__ import annotations

import os
import resource
import socket
import time
from contextlib import ExitStack, suppress

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, config, connect, read_all
from tests.support.operating import ADMIN, client_of, operated
from tests.support.processes import cpu_seconds
from tests.support.servers import serving

pytestmark = pytest.mark.slow

TOKEN = "s3cret-token"
WITH_TOKEN = f'[admin]\nbind = "127.0.0.1:0"\ntoken = "{TOKEN}"'
DEBUG = '[log]\nlevel = "debug"\n'
SOON = 8.0  # seconds in which something happens that takes no time; short of the deadlines of the endpoint
STATUS = b"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def admin_port(lb):
    return int(lb.of("admin.started")[-1]["bind"].rpartition(":")[2])


async def exchange(port, data):
    """Send bytes and return all that comes until the end."""
    async with await connect(port) as stream:
        await stream.send_all(data)
        return await read_all(stream)


# Stops and upgrades wait for nobody


@pytest.mark.parametrize(
    "sent", [STATUS * 900, STATUS[:-2], STATUS + STATUS[:9], b"", b"GET /api/v1/events HTTP/1.1\r\nHost: a\r\n\r\n"]
)
async def test_no_client_keeps_the_process_from_stopping(tmp_path, sent):
    async with (
        serving(name="a") as a,
        operated(tmp_path, config(a, top=ADMIN)) as (lb, operator),
        await connect(admin_port(lb)) as stream,
    ):
        with trio.move_on_after(1):
            await stream.send_all(sent)
        await operator.status()
        with trio.fail_after(SOON):
            assert await lb.stop() == 0


async def test_an_upgrade_waits_for_no_client(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        async with await connect(admin_port(lb)) as stuck, await connect(admin_port(lb)) as half:
            with trio.move_on_after(1):
                await stuck.send_all(STATUS * 900)
            await half.send_all(STATUS[:-2])
            assert (await lb.upgrade())["event"] == "upgrade.done"
            with trio.fail_after(SOON):
                assert await read_all(half) == b""
                await lb.process.wait()
        await operator.status()


# What is no HTTP


HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CHUNKED = b"POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
GARBAGE = {
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(189),
    "HTTP/2": HTTP2 + bytes(9),
    "HTTP/2, malformed frames": HTTP2 + b"\xff\xff\xff\x01\xff\xff\xff\xff\xff" + b"\xff" * 200,
    "noise": bytes(range(255, 0, -1)) + b"\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    "two lengths": b"POST /api/v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "negative length": b"POST /api/v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "huge header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000,
    "no line end": b"x" * 100_000,
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "bad chunk": CHUNKED + b"ZZ\r\nx",
    "long chunk size": CHUNKED + b"f" * 50 + b"\r\n",
    "no chunk end": CHUNKED + b"1\r\nxx\r\n0\r\n\r\n",
    "garbage after a request": STATUS + b"\x00\x01\r\n\r\n",
}  # fmt: skip


async def test_what_is_no_http_is_said_at_debug_in_one_line_and_ends_its_connection_only(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=DEBUG + ADMIN)) as (lb, operator):
        for count, (kind, sent) in enumerate(GARBAGE.items(), 1):
            await operator.status()
            answer = await exchange(admin_port(lb), sent)
            assert answer.rpartition(b"HTTP/1.1 ")[2][:2] in (b"40", b"43"), kind
            said = await lb.event("admin.bad_request", count=count)
            assert said["level"] == "debug"
            assert said["client"].startswith("127.0.0.1:")
            assert said["reason"]
        assert "admin.bad_request" not in {each["event"] for each in (await operator.status())["events"]}
        assert await lb.stop() == 0
    assert len(lb.of("admin.bad_request")) == len(GARBAGE)


async def test_http2_over_and_over_leaves_no_gap_for_others(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        for _ in range(10):
            await exchange(admin_port(lb), GARBAGE["HTTP/2, malformed frames"])
            with trio.fail_after(SOON):
                await operator.status()
            async with client_of(lb) as newcomer:
                assert (await newcomer.get("/readyz")).status_code == 200


async def test_a_port_scan_leaves_no_line(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=DEBUG + ADMIN)) as (lb, operator):
        assert await exchange_nothing(admin_port(lb)) == b""
        await operator.status()
        assert await lb.stop() == 0
    assert not lb.of("admin.bad_request")


async def exchange_nothing(port):
    async with await connect(port) as stream:
        await stream.send_eof()
        return await read_all(stream)


# What HTTP/1.1 asks for


async def test_head_has_the_head_of_get_and_the_connection_goes_on(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, _):
        page, last = b"HEAD / HTTP/1.1\r\nHost: [::1]\r\n\r\n", b"HEAD /readyz HTTP/1.0\r\n\r\n"
        first, second, rest = (await exchange(admin_port(lb), page + last)).split(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Length: " in first
        assert b"Content-Security-Policy" in first
        assert second.startswith(b"HTTP/1.1 200 ")
        assert rest == b""


async def test_a_client_that_waits_before_it_sends_its_body_is_told_to_go_on(tmp_path):
    head = (
        "POST /api/v1/pools/web/servers/a/weight HTTP/1.1\r\n"
        "Host: {host}\r\nContent-Length: 13\r\nExpect: 100-continue\r\n\r\n"
    )
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        async with await connect(admin_port(lb)) as stream:
            await stream.send_all(head.format(host="127.0.0.1").encode())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
            await stream.send_all(b'{"weight": 5}')
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        assert (await operator.server("a"))["weight"] == 5
        assert (await exchange(admin_port(lb), head.format(host="evil.example").encode())).startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
async def test_no_other_protocol_is_spoken(tmp_path, upgrade):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (_, operator):
        headers = {"Connection": "Upgrade", "Upgrade": upgrade, "Sec-WebSocket-Key": "x" * 24, "HTTP2-Settings": ""}
        assert (await operator.client.get("/readyz", headers=headers)).status_code == 200


async def test_an_event_stream_ends_with_its_client(tmp_path):
    """Else 64 clients that came and went would fill the endpoint until the next heartbeat."""
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        for _ in range(100):
            async with await connect(admin_port(lb)) as stream:
                await stream.send_all(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        await operator.status()


async def test_event_streams_leave_room_for_operators(tmp_path):
    """They never end by themselves, so 64 of them would keep everybody else out."""
    events = b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        streams = [await connect(admin_port(lb)) for _ in range(40)]
        answers = []
        for stream in streams:
            await stream.send_all(events)
            answers.append((await stream.receive_some())[9:12])
        assert answers == [b"200"] * 32 + [b"503"] * 8
        await operator.status()
        for stream in streams:
            await stream.aclose()

        async def again():
            async with operator.client.stream("GET", "/api/v1/events") as answer:
                return answer.status_code

        await operator.until(again, lambda status: status == 200)


# Clients without rights


@pytest.fixture
def many_descriptors():
    """Raise the limit of this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, limits[1]), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("many_descriptors")
async def test_silent_connections_stop_neither_traffic_nor_operators(tmp_path):
    def few_descriptors():
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))

    async with (
        serving(name="a") as a,
        operated(tmp_path, config(a, top=WITH_TOKEN), token=TOKEN, preexec=few_descriptors) as (lb, operator),
    ):
        with ExitStack() as silent:
            for _ in range(1100):
                sock = silent.enter_context(socket.socket())
                sock.setblocking(False)
                with suppress(BlockingIOError):
                    sock.connect(("127.0.0.1", admin_port(lb)))
            assert await ask(lb.port) == b"a\n"
            with trio.fail_after(PATIENCE):
                await operator.status()
            async with client_of(lb, token=TOKEN) as another:
                with trio.fail_after(PATIENCE):
                    assert (await another.get("/metrics")).status_code == 200
            assert len(os.listdir(f"/proc/{lb.process.pid}/fd")) < 200  # noqa: PTH208 - not slow in /proc
            assert not lb.of("accept.paused")


@pytest.mark.parametrize(
    "trickle",
    [b"GET /api/v1/status HTTP/1.1\r\n", b"POST /api/v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"],
    ids=["head", "body"],
)
async def test_slow_clients_hold_no_place_of_those_with_the_token(tmp_path, trickle):
    async with (
        serving(name="a") as a,
        operated(tmp_path, config(a, top=WITH_TOKEN), token=TOKEN) as (lb, _),
        trio.open_nursery() as nursery,
    ):

        async def slow():
            with suppress(OSError, trio.BrokenResourceError):
                async with await connect(admin_port(lb)) as stream:
                    await stream.send_all(trickle)
                    while True:
                        await trio.sleep(0.2)
                        await stream.send_all(b"x")

        for _ in range(150):
            nursery.start_soon(slow)
        for _ in range(5):
            await trio.sleep(0.1)
            async with client_of(lb, token=TOKEN) as newcomer:
                with trio.fail_after(SOON):
                    assert (await newcomer.get("/readyz")).status_code == 200
        nursery.cancel_scope.cancel()


async def test_refused_requests_take_a_tenth_of_a_core(tmp_path):
    """They come from 30 clients as fast as they are answered; 800 a second took 98 % of the traffic's core."""
    answers = []
    async with (
        serving(name="a") as a,
        operated(tmp_path, config(a, top=WITH_TOKEN, health=None), token=TOKEN) as (lb, operator),
        trio.open_nursery() as nursery,
    ):

        async def refused():
            while True:
                with suppress(OSError, trio.BrokenResourceError):
                    answers.append(int((await exchange(admin_port(lb), STATUS))[9:12] or 0))

        await operator.status()
        for _ in range(30):
            nursery.start_soon(refused)
        await trio.sleep(0.5)
        started, used = time.monotonic(), cpu_seconds(lb.process.pid)
        await trio.sleep(2)
        share = (cpu_seconds(lb.process.pid) - used) / (time.monotonic() - started)
        with trio.fail_after(SOON):
            await operator.status()
        nursery.cancel_scope.cancel()
    assert share < 0.15
    assert answers
    assert set(answers) <= {401, 429}
