"""Clients that send half a head and then nothing: they cost little memory, and nobody waits for them."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from chaos.outside import process_stats
from tests.support.balancer import PATIENCE, balancer
from tests.support.http_attacks import request
from tests.support.http_client import client, scripted
from tests.support.http_peers import lb_config

pytestmark = pytest.mark.slow
FEW, MANY = 500, 2_000
KIB = 2.0
"""Most memory of one such connection."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HALF = b"GET /a/path HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: slow\r\nAcce"


async def test_half_a_head_costs_little_memory_and_holds_up_nobody(tmp_path):
    listener = 'header_timeout = "5m"'
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server, listener=listener)) as lb:
        with ExitStack() as stack:

            async def hold(count):
                """Hold more such connections; return the memory of the balancer once it has read all of them."""
                for _ in range(count):
                    sock = stack.enter_context(socket.create_connection(("127.0.0.1", lb.port), PATIENCE))
                    sock.sendall(HALF)
                async with client(lb) as visitor:  # it was accepted after all of them
                    for _ in range(3):
                        assert (await visitor.ask(request())).body == b"ok"
                return process_stats(lb.process.pid).kib

            few = await hold(FEW)
            many = await hold(MANY)
            assert (many - few) / MANY <= KIB, f"{few} KiB with {FEW}, {many} KiB with {MANY} more"
        assert not lb.of("http.request", reason="timeout")
