"""Where clients come from and where servers are: PROXY headers in and out, unix sockets, IPv6."""

from __future__ import annotations

import socket
import struct

import pytest
import trio

from tests.support.balancer import balancer, config, connect
from tests.support.http_origin import content, http_origin
from tests.support.http_sessions import HttpSession, http_session

LISTENER = 'mode = "http"'
V1 = b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 443\r\n"
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    + socket.inet_aton("192.0.2.9")
    + socket.inet_aton("198.51.100.1")
    + struct.pack("!HH", 4711, 443)
)
BIG = 300_000


@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_the_client_that_a_proxy_header_names_is_the_one_in_the_request_and_in_the_log(tmp_path, header):
    async with http_origin() as a:
        text = config(a, listener=f"{LISTENER}\naccept_proxy = true", health=None)
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            client = HttpSession(stream)
            await stream.send_all(header[:10])
            await stream.send_all(header[10:])
            for _ in range(3):
                headers = dict((await client.ask("/request", headers=[("X-Forwarded-For", "6.6.6.6")])).json["headers"])
                assert headers["x-forwarded-for"] == "192.0.2.9"
            records = [await lb.event("http.request", count=count) for count in (1, 2, 3)]
    assert {record["client"] for record in records} == {"192.0.2.9:4711"}
    assert a.served.connections == 1


def after_proxy_header(headers):
    """Make an origin that wants a PROXY header of version 1 first; appends the header."""

    def make(serve):
        async def handler(stream):
            line = b""
            while not line.endswith(b"\r\n"):
                byte = await stream.receive_some(1)
                if not byte:
                    return
                line += byte
            headers.append(line.decode().split())
            await serve(stream)

        return handler

    return make


async def test_a_connection_that_names_a_client_serves_no_other(tmp_path):
    headers = []
    async with http_origin(through=after_proxy_header(headers)) as a:
        text = config(a, listener=LISTENER, pool='send_proxy = "v1"', health=None)
        async with balancer(tmp_path, text) as lb, http_session(lb.port) as one, http_session(lb.port) as other:
            clients = [one, other, one, other, one]
            for client in clients:
                assert (await client.ask("/name")).text == "a"
            ports = [str(client.stream.socket.getsockname()[1]) for client in clients]
    assert [line[4] for line in headers] == ports
    assert {tuple(line[:3]) for line in headers} == {("PROXY", "TCP4", "127.0.0.1")}


async def test_a_client_that_a_proxy_named_is_named_to_the_server(tmp_path):
    headers = []
    async with http_origin(through=after_proxy_header(headers)) as a:
        text = config(a, listener=f"{LISTENER}\naccept_proxy = true", pool='send_proxy = "v1"', health=None)
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            await stream.send_all(V2)
            assert (await HttpSession(stream).ask("/name")).text == "a"
    assert headers == [V1.decode().split()]


@pytest.mark.usefixtures("worker_count")
async def test_unix_sockets_on_both_sides(tmp_path):
    front = tmp_path / "front.sock"
    async with (
        http_origin(address=str(tmp_path / "server.sock")) as a,
        balancer(tmp_path, config(a, bind=f"unix:{front}", listener=LISTENER, health=None)) as lb,
    ):
        async with await trio.open_unix_socket(str(front)) as stream:
            client = HttpSession(stream)
            for size in (10, BIG):
                assert (await client.ask("/echo", "POST", content(size))).body == content(size)
            seen = dict((await client.ask("/request")).json["headers"])
        record = await lb.event("http.request", count=3)
    assert seen["host"] == "web.example"
    assert record["status"] == 200
    assert a.served.connections == 1


@pytest.mark.usefixtures("worker_count")
async def test_ipv6_on_both_sides(tmp_path):
    async with http_origin(address=("::1", 0)) as a:
        text = config(
            a,
            bind="[::1]:0",
            listener=f'{LISTENER}\n[[listeners.web.routes]]\npool = "web"\nhost_header = "server"',
            health=None,
        )
        async with balancer(tmp_path, text) as lb, http_session(lb.port, host="::1") as client:
            assert (await client.ask(f"/bytes?n={BIG}")).body == content(BIG)
            seen = dict((await client.ask("/request", headers=[("Host", "[::1]:80")])).json["headers"])
            record = await lb.event("http.request")
    assert seen["x-forwarded-for"] == "::1"
    assert seen["host"] == a.address
    assert seen["x-forwarded-host"] == "[::1]:80"
    assert record["client"].startswith("[::1]:")
