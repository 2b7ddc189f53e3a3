"""The connection of a check has one budget, whatever the probe: so many bytes, in so many pieces and TLS records."""

import contextlib
import itertools
import ssl
import time

import attrs
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.connection import MOST_PIECES, MOST_RECEIVED, MOST_TLS_RECORDS
from healthcheck.probe import Secure
from healthcheck.probes.agent import AgentProbe
from healthcheck.probes.exchange import ExchangeProbe
from healthcheck.probes.http import HttpProbe
from healthcheck.probes.mysql import MysqlProbe
from healthcheck.probes.postgres import PostgresProbe
from healthcheck.probes.redis import RedisProbe
from healthcheck.probes.smtp import SmtpProbe
from healthcheck.tls_layer import TlsLayer
from tests.support.probe_server import target_at

TARGET = target_at(80)
PROBES = [
    HttpProbe(),
    HttpProbe(expect_body="end"),
    HttpProbe(reuse=True),
    ExchangeProbe(expect=r"\d+ up"),
    RedisProbe(),
    PostgresProbe(),
    MysqlProbe(),
    SmtpProbe(),
    AgentProbe(),
]
BEGINNINGS = [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
FLOODS = [
    b"1",
    b"\r\n",
    b"a:b\r\n",
    b"1\r\nx\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"content-length: \t ",
    b"250-x\r\n",
    b"N\0\0\0\4",
    b"E\0\0\xff\xffC",
    b"\1\0\0\2\1",
    b"up ",
    b"#\xff",
]


def opened(probe):
    connection = probe.open(TARGET)
    connection.connected(0.1, b"")
    return connection


@pytest.mark.parametrize("size", [1, 8192])
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: type(probe).__name__)
def test_a_flood_of_anything_ends_soon_and_is_cheap(probe, size):
    for beginning, flood in itertools.product(BEGINNINGS, FLOODS):
        connection = opened(probe)
        text = beginning + flood * (2 * MOST_RECEIVED // len(flood))
        sent, began = 0, time.process_time()
        while not connection.finished and sent < len(text):
            connection.received(text[sent : sent + size], 0.1)
            sent += size
        assert connection.finished, (beginning, flood)
        assert sent <= min(MOST_RECEIVED, MOST_PIECES * size) + size
        assert time.process_time() - began < 0.25, (beginning, flood)


def test_the_budget_is_that_of_one_check_not_of_a_kept_connection():
    probe = HttpProbe(reuse=True)
    connection = opened(probe)
    for _ in range(2 * MOST_PIECES):
        connection.received(b"HTTP/1.1 204 No Content\r\n\r\n", 0.1)
        assert connection.outcome == "HTTP 204"
        probe.talk_again(TARGET, connection)


# TLS


@pytest.fixture(scope="module")
def contexts():
    """The context of a client and of a server."""
    authority = trustme.CA()
    client, server = (ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER))
    authority.configure_trust(client)
    authority.issue_cert("localhost").configure_cert(server)
    return client, server


class TlsServer:
    """A server in memory, with its session established."""

    def __init__(self, connection, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        connection.connected(0.1, b"")
        for step in (self.session.do_handshake, self.session.do_handshake):
            self.incoming.write(connection.outgoing)
            connection.outgoing = b""
            with contextlib.suppress(ssl.SSLWantReadError):
                step()
            connection.received(self.outgoing.read(), 0.1)

    def says(self, *texts):
        """Return the bytes of these texts, each in a record of its own."""
        for text in texts:
            self.session.write(text)
        return self.outgoing.read()


def tls_opened(probe, context):
    return probe.open(attrs.evolve(TARGET, tls=Secure(context, "localhost")))


def test_the_records_of_tls_are_bounded_as_small_ones_may_be_dear(contexts):
    client, context = contexts
    connection = tls_opened(ExchangeProbe(expect="end"), client)
    server = TlsServer(connection, context)
    connection.received(server.says(*[b"x"] * (MOST_TLS_RECORDS // 2)), 0.1)
    assert not connection.finished
    connection.received(server.says(*[b"x"] * MOST_TLS_RECORDS), 0.1)
    assert connection.finished
    assert str(connection.outcome) == f"sends more than {MOST_TLS_RECORDS} TLS records"


def test_an_answer_of_64_kib_fits_into_the_budget_with_tls(contexts):
    client, context = contexts
    connection = tls_opened(HttpProbe(expect_body="end$"), client)
    server = TlsServer(connection, context)
    said = server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n", *[bytes(1024)] * 63, bytes(1021) + b"end")
    for start in range(0, len(said), 1400):
        connection.received(said[start : start + 1400], 0.1)
    assert connection.outcome == "HTTP 200"


def test_an_answer_with_its_closing_message_at_once_ends_the_check_and_not_the_process(contexts):
    """The read of the layer never ended, and held the event loop for ever."""
    client, context = contexts
    connection = tls_opened(HttpProbe(), client)
    server = TlsServer(connection, context)
    server.incoming.write(connection.outgoing)
    assert server.session.read(1024).startswith(b"GET / ")
    said = server.says(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    with contextlib.suppress(ssl.SSLWantReadError):
        server.session.unwrap()
    connection.received(said + server.outgoing.read(), 0.1)
    assert str(connection.outcome) == "HTTP 500"
    assert connection.ends_sending


@given(sizes=st.lists(st.integers(0, 300)), data=st.data())
def test_records_are_counted_in_whatever_pieces_they_come(sizes, data):
    layer = TlsLayer(Secure(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "localhost"))
    text = b"".join(b"\x17\3\3" + size.to_bytes(2, "big") + bytes(size) for size in sizes)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    for start, end in itertools.pairwise([0, *cuts, len(text)]):
        if start < end:
            layer.received(text[start:end])
    assert layer.records == len(sizes)
