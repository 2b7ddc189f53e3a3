"""Mutated beginnings of SOCKS, CONNECT and requests at a live listener: nothing breaks, and nobody gets further."""

from __future__ import annotations

import errno
import re
import socket

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.balancer import PATIENCE
from tests.support.effort import DEEP
from tests.support.forwarding import (
    connect_head,
    forward_config,
    get_head,
    named_balancer,
    proxy_client,
    socks4_request,
    socks_greeting,
    socks_login,
    socks_request,
    write_staff,
)
from tests.support.operating import ADMIN, Operator, client_of
from tests.support.servers import serving

pytestmark = pytest.mark.slow
EXAMPLES = 2000 if DEEP else 150
ANSWER = re.compile(
    rb"""(HTTP/1\.[01]\ \d{3}\ .*)?               # of the proxy, or 200 and the tunnel
       | (\x05(\xff | \x00 | \x02(\x01[\x00\x01])?))?(\x05[\x00-\x08]\x00[\x01\x04].*)?
       | \x00[\x5a\x5b].*""",
    re.DOTALL | re.VERBOSE,
)


def limits(server):
    """Only this server can be reached, whatever the mutations are."""
    port = server.address.rpartition(":")[2]
    return (
        f'private = true\nconnect_ports = [{port}]\nallow_to = ["127.0.0.1:{port}", "*.example"]\n'
        'protocols = ["http", "socks5", "socks4"]'
    )


def messages(server):
    """Return beginnings as clients send them."""
    port = int(server.address.rpartition(":")[2])
    url = f"http://{server.address}/"
    return [
        connect_head(server.address) + b"name\n",
        connect_head(b"nowhere.example:443"),
        connect_head(server.address, b"Proxy-Authorization: Basic YW5uOnNlc2FtZQ==\r\nVia: 1.0 x\r\n", b"1.0"),
        get_head(url, b"Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"),
        get_head(url, b"Transfer-Encoding: chunked\r\nMax-Forwards: 1\r\n", b"TRACE") + b"3\r\nabc\r\n0\r\n\r\n",
        get_head(url) + connect_head(server.address),
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        socks_greeting(0, 2) + socks_request("127.0.0.1", port) + b"name\n",
        socks_greeting(0) + socks_request(b"nowhere.example", port),
        socks_greeting(0) + socks_request("::ffff:127.0.0.1", port),
        socks_greeting(2) + socks_login(b"ann", b"sesame") + socks_request("127.0.0.1", port, 3),
        socks4_request("127.0.0.1", port, user=b"ann") + b"name\n",
        socks4_request(b"nowhere.example", port),
    ]


@st.composite
def mutated(draw, originals):
    """Return the pieces of a message with a few changes."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["set", "insert", "delete", "cut", "repeat"])):
            case "set":
                data[place : place + 1] = bytes((draw(st.integers(0, 255)),))
            case "insert":
                data[place:place] = draw(
                    st.binary(max_size=300) | st.sampled_from([b"\r\n", b"\0", b" ", b":", b"%00"])
                )
            case "delete":
                del data[place : place + draw(st.integers(1, 20))]
            case "cut":
                del data[place:]
            case "repeat":
                data[place:place] = data[:place][-600:]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    return [bytes(data[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


def exchange(port, pieces):
    """Send pieces and the end. Return what comes until the connection ends."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
            while data := client.recv(65536):
                received += data
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):  # it was refused before the end
                raise
    return received


@pytest.mark.parametrize("login", [False, True])
async def test_mutated_beginnings_change_nothing_for_others(tmp_path, login):
    write_staff(tmp_path)
    async with serving(echo) as server:
        users = f'{ADMIN}\n[users.staff]\nfile = "staff.htpasswd"'
        auth = 'auth = "staff"\n' if login else ""
        text = forward_config(f'{auth}header_timeout = "5s"', limits=limits(server), top=users)
        async with named_balancer(tmp_path, text) as (lb, _names), client_of(lb) as client:

            @settings(max_examples=EXAMPLES, deadline=None, database=None)
            @given(mutated(messages(server)))
            def fuzz(pieces):
                answer = exchange(lb.port, pieces)
                assert ANSWER.fullmatch(answer), answer[:200]
                if login and answer[:1] != b"H":
                    assert answer[:4] != b"\5\0\5\0"

            await trio.to_thread.run_sync(fuzz)
            operator = Operator(lb, client)
            await operator.until(operator.metrics, lambda metrics: not metrics['lb_connections_active{listener="web"}'])
            async with proxy_client(lb) as good:
                basic = b"Proxy-Authorization: Basic YW5uOnNlc2FtZQ==\r\n"
                await good.connect(server.address, basic)
                assert await good.talk(b"name") == b"name"
            assert await lb.stop() == 0
