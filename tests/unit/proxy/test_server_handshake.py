"""The server handshake: the PROXY header before the client's bytes, and the failure to send it."""

from __future__ import annotations

import errno
import socket

import attrs
import pytest

from lb.model import PoolSpec
from lb.model.address import Client
from lb.proxy.server_handshake import SendProxy, make_handshake
from lb.proxy_protocol.header import HeaderReader, proxy_header
from lb.proxy_protocol.tlvs import ALPN, AUTHORITY, CRC32C, SSL, UNIQUE_ID, join_tlvs, kept_tlvs
from lb.tls.store import TlsStore

CLIENT, FRONT = Client("192.0.2.7", 5555), Client("198.51.100.1", 443)


@attrs.define
class FakeClient:
    sock: socket.socket = None
    client: Client = CLIENT
    destination: Client = None
    tlvs: bytes = b""
    server_name: str = None
    tls: object = None
    id: int = 7


@attrs.define
class FakeConnector:
    owner: FakeClient
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
    connection = FakeConnector(FakeClient(destination=FRONT))
    SendProxy(version).begin(connection, ours)
    assert connection.joined == [ours]
    assert theirs.recv(1000) == proxy_header(version, CLIENT, FRONT)


def test_where_no_header_came_in_the_socket_says_where_the_client_connected_to(server):
    ours, theirs = server
    with socket.create_server(("::ffff:127.0.0.1", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), listening.accept()[0] as accepted:
            SendProxy("v1").begin(FakeConnector(FakeClient(accepted)), ours)
    assert theirs.recv(1000) == proxy_header("v1", CLIENT, Client("127.0.0.1", port))


def test_a_server_that_is_gone_is_a_failed_connect(server):
    ours, theirs = server
    theirs.close()
    connection = FakeConnector(FakeClient(destination=FRONT))
    SendProxy("v2").begin(connection, ours)
    assert (connection.joined, connection.failures) == ([], [errno.EPIPE])


class FakeTls:
    version, cipher, protocol = "TLSv1.3", "TLS_AES_256_GCM_SHA384", "h2"

    def __init__(self, common_name=None, server_name="www.example.org"):
        self.common_name, self.client_server_name = common_name, server_name


def sent_tlvs(server, client, *names):
    """Return the TLVs that a server receives, by type."""
    ours, theirs = server
    SendProxy("v2", names).begin(FakeConnector(client), ours)
    reader = HeaderReader()
    header = theirs.recv(8192)
    assert reader.take(header) == len(header)
    assert reader.endpoints == (CLIENT, FRONT)
    return dict(kept_tlvs(reader.tlvs))


ALL = ("authority", "alpn", "unique-id", "ssl", "crc32c")


def test_what_is_not_known_is_not_told(server):
    told = sent_tlvs(server, FakeClient(destination=FRONT), *ALL)
    assert [*told] == [UNIQUE_ID]
    assert told[UNIQUE_ID].endswith(b"-7")


@pytest.mark.parametrize(("length", "told"), [(255, True), (256, False)])
def test_what_is_too_long_for_a_name_is_not_told(server, length, told):
    client = FakeClient(destination=FRONT, server_name="x" * length, tls=None)
    assert bool(sent_tlvs(server, client, "authority")) == told
    client.tls = FakeTls(common_name="x" * length)
    assert SSL not in sent_tlvs(server, client, "ssl")


def test_a_name_is_told_with_and_without_termination(server):
    client = FakeClient(destination=FRONT, server_name="sni.example.org")
    assert sent_tlvs(server, client, "authority") == {AUTHORITY: b"sni.example.org"}
    client.tls = FakeTls()
    assert sent_tlvs(server, client, "authority", "alpn") == {AUTHORITY: b"www.example.org", ALPN: b"h2"}


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        (None, b"\x01\0\0\0\x01", b""),
        ("alice", b"\x07\0\0\0\0", b"\x22\0\x05alice"),
        ("", b"\x07\0\0\0\0", b""),
    ],
)
def test_tls_is_described_as_in_the_specification(server, name, start, end):
    told = sent_tlvs(server, FakeClient(destination=FRONT, tls=FakeTls(name)), "ssl")
    assert told == {SSL: start + b"\x21\0\x07TLSv1.3" + b"\x23\0\x16TLS_AES_256_GCM_SHA384" + end}


def test_what_came_is_kept_and_wins(server):
    kept = [(AUTHORITY, b"front.example.org"), (0xE0, b"own"), (0xE0, b"2")]
    came = join_tlvs([kept[0], (4, b"padding"), kept[1], (CRC32C, b"1234"), kept[2]])
    client = FakeClient(destination=FRONT, tlvs=came, server_name="sni.example.org")
    ours, theirs = server
    SendProxy("v2", ("authority", "crc32c")).begin(FakeConnector(client), ours)
    assert theirs.recv(1000) == proxy_header("v2", CLIENT, FRONT, kept, checksum=True)


def test_what_came_is_no_part_of_version_1(server):
    ours, theirs = server
    client = FakeClient(destination=FRONT, tlvs=join_tlvs([(AUTHORITY, b"x")]))
    SendProxy("v1").begin(FakeConnector(client), ours)
    assert theirs.recv(1000) == proxy_header("v1", CLIENT, FRONT)


def test_half_a_header_is_a_failed_connect(server):
    class Short:
        def send(self, data):
            return len(data) - 1

    connection = FakeConnector(FakeClient(destination=FRONT))
    SendProxy("v2").begin(connection, Short())
    assert (connection.joined, connection.failures) == ([], [errno.ENOBUFS])
