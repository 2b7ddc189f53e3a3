"""Exchanges that end in the middle of a turn: nothing stays open, and nobody else is touched."""

from __future__ import annotations

import select
import socket

import attrs
import pytest
import trio

from lb.config.load import parse
from lb.events import HttpRequest
from lb.http.mode import HttpMode
from lb.http.server_connection import ServerConnection
from lb.http.upstream_request import PoolTarget
from lb.model.address import Client
from lb.net.deadlines import Deadlines
from lb.net.descriptors import Descriptors
from lb.net.disconnects import Disconnects
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.relay.epoll_loop import TURN_BYTES
from lb.relay.factory import make_splicer
from tests.support.strategy_driver import finish

READY = select.EPOLLIN | select.EPOLLOUT
CONFIG = """
[listeners.www]
mode = "http"
bind = "127.0.0.1:0"
pool = "web"
[pools.web]
servers = ["127.0.0.1:1"]
health = false
"""
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


@attrs.define
class Turns:
    """A client, and a kept connection to the only server. Tests make the edges: the loop does not run."""

    loop: object
    descriptors: Descriptors
    client: object
    client_end: socket.socket
    server: ServerConnection
    server_end: socket.socket
    events: list
    faults: list

    @property
    def records(self):
        return [event for event in self.events if isinstance(event, HttpRequest)]

    def received(self):
        """What the server has received."""
        try:
            return self.server_end.recv(100_000)
        except BlockingIOError:
            return b""

    def take(self):
        """Return what the client has been sent so far, the unsent rest too."""
        taken = b""
        while self.client.unsent:
            taken += self.client_end.recv(1_000_000)
            self.client.edge(select.EPOLLOUT)
        return taken + self.client_end.recv(1_000_000)


@pytest.fixture
async def turns():
    events, faults, descriptors = [], [], Descriptors(100)
    config = parse(CONFIG, "lb.toml")
    splicer = make_splicer(descriptors, lambda where, exception: faults.append((where, exception)), dedicated=True)
    context = ConnectionContext(
        splicer=splicer,
        descriptors=descriptors,
        deadlines=Deadlines(fault=lambda _where, exception: faults.append(exception)),
        disconnects=Disconnects(lambda _where, exception: faults.append(exception)),
        sink=events.append,
    )
    pool = Pool("web", events.append, lambda *_: None)
    pool.apply(finish(pool.prepare(config.pools["web"])), {}, trio.current_time())
    mode, spec = HttpMode(context, lambda: None), config.listeners["www"]
    mode.configure(spec, {"web": pool})
    loop = splicer.loop
    loop.turn.budget = TURN_BYTES
    (client_sock, client_end), (server_sock, server_end) = pair(), pair()
    client = mode.accepted(client_sock, Client("127.0.0.1", 1000))
    client.start()
    target = client.frontend.find(client.frontend.heads.read(UPGRADE)).target
    (backend,) = pool.backends.values()
    server = ServerConnection(loop, server_sock, None, 0, backend, target.connections)
    loop.watch(server_sock.fileno(), server)
    target.kept.keep(server)
    assert descriptors.used == 1
    yield Turns(loop, descriptors, client, client_end, server, server_end, events, faults)
    for sock in (client_sock, client_end, server_sock, server_end):
        sock.close()


async def test_a_client_that_is_gone_when_the_server_switches_leaves_no_connection_open(turns):
    turns.client_end.send(UPGRADE)
    turns.client.edge(READY)
    turns.server_end.send(SWITCH)
    turns.client_end.close()
    turns.server.edge(READY)
    assert [record.reason for record in turns.records] == ["client_left"]
    assert turns.server.sock.fileno() == -1
    assert turns.descriptors.used == 0


async def test_a_kept_connection_that_is_relayed_no_longer_counts_as_kept(turns):
    turns.client_end.send(UPGRADE)
    turns.client.edge(READY)
    turns.server_end.send(SWITCH)
    turns.server.edge(READY)
    assert turns.descriptors.used == 0
    turns.client.close("stopped")
    assert turns.descriptors.used == 0
    assert [record.reason for record in turns.records] == ["stopped"]


async def test_a_turn_that_was_requested_before_the_switch_does_not_read_what_is_for_the_relay(turns):
    turns.client_end.send(UPGRADE)
    turns.client.edge(READY)
    turns.server_end.send(SWITCH)
    turns.server.edge(READY)
    for end, stream in ((turns.server_end, turns.server), (turns.client_end, turns.client)):
        end.send(b"x")
        stream.readable = stream.until_eagain = True
        stream.again()
        assert stream.sock.recv(10) == b"x"


async def test_a_client_that_has_left_before_100_continue_costs_the_server_no_request(turns):
    turns.client_end.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    turns.client_end.close()
    turns.client.edge(READY)
    assert turns.received() == b""
    assert [record.reason for record in turns.records] == ["client_left"]


async def test_what_a_refused_client_still_sends_has_no_more_of_a_turn_than_other_bulk(turns):
    turns.client_end.send(b"\0" * 100_000)
    turns.client.edge(READY)
    assert turns.loop.turn.budget <= TURN_BYTES - 90_000


async def test_a_bug_in_a_pipelined_request_does_not_reach_the_connection_of_the_request_before(turns, monkeypatch):
    begin = PoolTarget.begin

    def failing(target, exchange):
        if exchange.head.target == b"/2":
            raise ZeroDivisionError
        begin(target, exchange)

    monkeypatch.setattr(PoolTarget, "begin", failing)
    turns.client_end.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    turns.client.edge(READY)
    turns.server_end.send(OK)
    turns.server.edge(READY)
    assert [type(exception) for _, exception in turns.faults] == [ZeroDivisionError]
    assert [record.reason for record in turns.records] == ["ok", "stopped"]
    assert turns.client.sock.fileno() == -1
    assert turns.server.sock.fileno() != -1


def know(turns, data):
    """Let a head be known, with its route, as if it had come before."""
    heads, frontend = turns.client.frontend.heads, turns.client.frontend
    for _ in range(2):
        head = heads.read(data)
    head.route = frontend.find(head)
    assert heads.known[data] is head


async def test_the_end_that_comes_with_an_interim_response_is_noticed(turns):
    asked = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    know(turns, asked)
    turns.client_end.send(asked)
    turns.client.edge(READY)
    turns.server_end.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    turns.server_end.close()
    turns.server.edge(READY | select.EPOLLRDHUP)
    assert turns.server.queued
    turns.server.again()
    assert [record.status for record in turns.records] == [502]


async def test_interim_responses_have_a_bound_also_for_requests_on_the_fast_path(turns):
    asked = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    know(turns, asked)
    turns.client_end.send(asked)
    turns.client.edge(READY)
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    turns.server_end.send(hints * 2000)
    turns.server.edge(READY)
    assert turns.take().count(b" 103 ") < 1500
    assert [(record.status, record.reason) for record in turns.records] == [(502, "bad_response")]


async def test_an_answer_that_was_there_before_the_request_is_read_while_its_body_still_comes(turns):
    turns.server_end.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    turns.server.readable = True  # as the edge of its connect has told
    turns.client_end.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
    turns.client.edge(READY)
    assert turns.server.queued
    turns.server.again()
    assert [record.status for record in turns.records] == [413]


IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ASKED = b"GET / HTTP/1.%d\r\nHost: a\r\n%s\r\n"


@pytest.mark.parametrize(
    ("asked", "body", "sent"),
    [
        (ASKED % (1, b""), b"2\r\nok\r\n0\r\n\r\n", b"2\r\nok\r\n0\r\n\r\n"),
        (ASKED % (1, b""), b"2\r\nok\r\n0\r\nX: 0\r\n\r\n", b"2\r\nok\r\n0\r\nX: 0\r\n\r\n"),
        (ASKED % (1, b"Upgrade: a\r\nConnection: upgrade\r\n"), b"2\r\nok\r\n0\r\n\r\n", b"2\r\nok\r\n0\r\n\r\n"),
        (ASKED % (0, b""), b"2\r\nok\r\n0\r\n\r\n", b"ok"),
    ],
    ids=["fast", "trailer", "exchange", "HTTP/1.0"],
)
async def test_a_chunked_body_that_comes_at_once_arrives_as_the_client_can_read_it(turns, asked, body, sent):
    turns.client_end.send(asked)
    turns.client.edge(READY)
    turns.server_end.send(IN_CHUNKS + body)
    turns.server.edge(READY)
    head, _, rest = turns.take().partition(b"\r\n\r\n")
    assert rest == sent
    assert head.count(b"Transfer-Encoding: chunked") == (rest == body)
    assert [(record.status, record.reason) for record in turns.records] == [(200, "ok")]


@pytest.mark.parametrize("body", [b"x\r\nok\r\n0\r\n\r\n", b"3\r\nok\r\n0\r\n\r\n"])
async def test_a_malformed_chunked_body_that_comes_at_once_is_no_response(turns, body):
    asked = ASKED % (1, b"")
    turns.client_end.send(asked)
    turns.client.edge(READY)
    turns.server_end.send(IN_CHUNKS + body)
    turns.server.edge(READY)
    assert [(record.status, record.reason) for record in turns.records] == [(502, "bad_response")]
