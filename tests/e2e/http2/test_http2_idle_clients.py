"""When a connection of HTTP/2 is idle, and how it ends then."""

from __future__ import annotations

import errno
import select
import socket

import pytest
import trio

from lb.http2.frames import END_HEADERS, END_STREAM, HEADERS, PREFACE, settings_frame, window_frame
from lb.http2.hpack_writer import encode_fields
from tests.support.balancer import PATIENCE, balancer, config, with_workers
from tests.support.http2_client import visiting
from tests.support.http2_peers import frame
from tests.support.http_client import scripted
from tests.support.http_origin import http_origin

pytestmark = pytest.mark.slow

H2C = 'mode = "http"\nh2c = true\nkeep_alive = "1s"'
REQUEST = encode_fields([(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")])
INITIAL_WINDOW_SIZE = 4
SMALL = 4096


async def test_a_client_that_takes_nothing_is_reset(tmp_path):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)
    listener = f'{H2C}\nidle_timeout = "1s"'
    async with scripted(answer) as server, balancer(tmp_path, config(server, listener=listener, health=None)) as lb:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            sock.connect(("127.0.0.1", lb.port))
            sock.sendall(PREFACE + settings_frame([(INITIAL_WINDOW_SIZE, 2**31 - 1)]) + window_frame(0, 2**30))
            for stream_id in range(1, 21, 2):
                sock.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream_id, REQUEST))
            poll = select.poll()
            poll.register(sock, 0)  # errors only
            assert await trio.to_thread.run_sync(poll.poll, PATIENCE * 1000)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET
            for count in range(1, 11):
                await lb.event("http.request", count=count)


async def test_hits_keep_a_connection_open(tmp_path):
    async with http_origin() as origin:
        text = with_workers(f"""
[caches.memory]
[listeners.web]
bind = "127.0.0.1:0"
{H2C}
[[listeners.web.routes]]
pool = "web"
cache = {{ zone = "memory", valid = {{ 200 = "1h" }} }}
[pools.web]
health = false
servers = ["{origin.address}"]
""")
        async with balancer(tmp_path, text) as lb, visiting(lb.port) as visitor:
            for _ in range(8):
                assert (await visitor.ask("/name")).status == 200
                await trio.sleep(0.4)
            assert not visitor.goaways
            assert len(origin.requests) == 1
