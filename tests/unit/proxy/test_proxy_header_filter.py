"""The PROXY header filter: which bytes it takes, which it leaves, and how it waits."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
import trio

from lb.model.address import Client, Networks
from lb.proxy.filters import FilterFailed
from lb.proxy.proxy_header_filter import PEEK_SIZE, ProxyHeaderFilter, TrustedProxies
from lb.proxy_protocol.header import proxy_header

CLIENT, FRONT = Client("192.0.2.7", 5555), Client("198.51.100.1", 443)
HEADER = proxy_header("v2", CLIENT, FRONT)


class Connecting:
    """A client's socket, as a filter sees it, and the proxy's end of it."""

    def __init__(self):
        self.sock, self.proxy = socket.socketpair()
        self.sock.setblocking(False)
        self.client = Client("10.0.0.1", 1)
        self.said = None

    def speaks_for(self, *ends):
        self.said = ends

    def rest(self):
        return self.sock.recv(100_000)


async def pass_filter(step, connection):
    run = step.begin(connection)
    while not run.proceed():
        await trio.lowlevel.wait_readable(connection.sock)


@pytest.fixture
def connection():
    connection = Connecting()
    with connection.sock, connection.proxy:
        yield connection


async def test_the_header_is_taken_and_what_follows_stays_in_the_kernel(connection):
    connection.proxy.send(HEADER + b"payload")
    await pass_filter(ProxyHeaderFilter(), connection)
    assert connection.said == (CLIENT, FRONT, b"")
    assert connection.rest() == b"payload"


async def test_a_header_longer_than_one_look_is_taken_as_a_whole(connection):
    length = PEEK_SIZE + 1000
    header = bytearray(HEADER + b"\x04" + length.to_bytes(2, "big") + bytes(length))
    header[14:16] = (len(header) - 16).to_bytes(2, "big")
    connection.proxy.send(header + b"payload")
    await pass_filter(ProxyHeaderFilter(), connection)
    assert connection.rest() == b"payload"


@pytest.mark.parametrize("beginning", [b"", b"P", b"PROXY TCP4 ", HEADER[:1], HEADER[:14], HEADER[:-1]])
async def test_the_wait_for_the_rest_is_no_busy_loop(autojump_clock, nursery, connection, beginning):
    """The autojump clock jumps only when no task runs."""
    connection.proxy.send(beginning)
    with trio.move_on_after(1000) as scope:
        await pass_filter(ProxyHeaderFilter(), connection)
    assert scope.cancelled_caught
    assert connection.said is None


@pytest.mark.parametrize(("sent", "ended_by"), [(b"GET /", "lb"), (b"PROXY TCP4 ", "client"), (b"", "client")])
async def test_who_sends_no_header_is_refused_and_who_leaves_has_left(connection, sent, ended_by):
    connection.proxy.send(sent)
    connection.proxy.shutdown(socket.SHUT_WR)
    with pytest.raises(FilterFailed) as caught:
        await pass_filter(ProxyHeaderFilter(), connection)
    assert caught.value.ended_by == ended_by


@pytest.mark.parametrize(("host", "passes"), [("10.0.0.1", True), ("10.0.0.2", False), ("", False)])
def test_only_listed_proxies_pass(host, passes):
    connection = SimpleNamespace(client=Client(host, 1))
    step = TrustedProxies(Networks(("10.0.0.1",)))
    if passes:
        assert step.begin(connection) is None
    else:
        with pytest.raises(FilterFailed):
            step.begin(connection)
