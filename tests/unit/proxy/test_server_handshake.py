"""The server handshake: the PROXY header before the client's bytes, and the failure to send it."""

from __future__ import annotations

import errno
import socket

import attrs
import pytest

from lb.model import PoolSpec
from lb.model.address import Client
from lb.proxy.server_handshake import SendProxy, make_handshake
from lb.proxy_protocol.header import proxy_header
from lb.tls.store import TlsStore

CLIENT, FRONT = Client("192.0.2.7", 5555), Client("198.51.100.1", 443)


@attrs.define
class FakeConnector:
    client_socket: socket.socket = None
    client: Client = CLIENT
    destination: Client = None
    joined: list = attrs.field(factory=list)
    failures: list = attrs.field(factory=list)

    def ready(self, server, layer=None):
        self.joined.append(server)

    def handshake_failed(self, error):
        self.failures.append(error.errno)


@pytest.fixture
def server():
    """The balancer's end and the server's end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_a_pool_without_it_has_none():
    assert make_handshake(PoolSpec("web"), TlsStore()) is None
    assert make_handshake(PoolSpec("web", send_proxy="v2"), TlsStore()) == SendProxy("v2")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_header_is_sent_then_the_server_is_joined(server, version):
    ours, theirs = server
    connection = FakeConnector(destination=FRONT)
    SendProxy(version).begin(connection, ours)
    assert connection.joined == [ours]
    assert theirs.recv(1000) == proxy_header(version, CLIENT, FRONT)


def test_where_no_header_came_in_the_socket_says_where_the_client_connected_to(server):
    ours, theirs = server
    with socket.create_server(("::ffff:127.0.0.1", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), listening.accept()[0] as accepted:
            SendProxy("v1").begin(FakeConnector(accepted), ours)
    assert theirs.recv(1000) == proxy_header("v1", CLIENT, Client("127.0.0.1", port))


def test_a_server_that_is_gone_is_a_failed_connect(server):
    ours, theirs = server
    theirs.close()
    connection = FakeConnector(destination=FRONT)
    SendProxy("v2").begin(connection, ours)
    assert (connection.joined, connection.failures) == ([], [errno.EPIPE])


def test_half_a_header_is_a_failed_connect(server):
    class Short:
        def send(self, data):
            return len(data) - 1

    connection = FakeConnector(destination=FRONT)
    SendProxy("v2").begin(connection, Short())
    assert (connection.joined, connection.failures) == ([], [errno.ENOBUFS])
