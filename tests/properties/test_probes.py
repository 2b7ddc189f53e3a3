"""Whatever a server sends, a protocol probe returns a result: it passes, or it fails with a reason."""

import errno
import struct

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healthcheck.conversation import TimedOut
from healthcheck.probe import ProbeFailed, Word
from healthcheck.probes.agent import AgentProbe
from healthcheck.probes.exchange import ExchangeProbe
from healthcheck.probes.http import HttpProbe
from healthcheck.probes.mysql import MysqlProbe
from healthcheck.probes.postgres import PostgresProbe
from healthcheck.probes.redis import RedisProbe
from healthcheck.probes.smtp import SmtpProbe
from healthcheck.result import CheckResult
from tests.support.paths import DATA
from tests.support.probe_server import target_at

CORPUS = DATA / "corpus"
PROBES = {
    "redis": RedisProbe(password="secret"),
    "postgres": PostgresProbe(),
    "mysql": MysqlProbe(),
    "smtp": SmtpProbe(),
    "exchange": ExchangeProbe(steps=[{"expect": "^a"}, {"send": "b", "expect": "c$"}]),
    "agent": AgentProbe(),
    "http": HttpProbe(expect_body="ok|^$"),
}
PIECE = 8192
MOST_PIECES = 1000
"""Pieces after which every probe has its verdict and has closed."""


def framed_by_postgres(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def framed_by_mysql(number, body):
    return len(body).to_bytes(3, "little") + bytes([number]) + body


SOME = st.binary(max_size=40)
ERRORS = st.lists(SOME).map(b"\0".join)
HEADS = st.sampled_from([b"\n5\0", b"\xfe", b"\1", b"\xff", b"\0"])
REPLIES = st.tuples(st.integers(0, 999), st.sampled_from([b" ", b"-", b""]), SOME)
NEARLY_RIGHT = {
    "redis": st.lists(st.sampled_from([b"+OK\r\n", b"+PONG\r\n", b"-ERR 'secret'\r\n", b"-\r\n", b"\r\n"]) | SOME),
    "postgres": st.lists(
        st.builds(framed_by_postgres, st.sampled_from([b"R", b"S", b"E", b"Z", b"N"]), SOME)
        | st.builds(framed_by_postgres, st.just(b"E"), ERRORS)
        | st.just(b"R\0\0\0\x08\0\0\0\0")
    ),
    "mysql": st.lists(st.builds(framed_by_mysql, st.integers(0, 255), st.builds(bytes.__add__, HEADS, SOME)) | SOME),
    "smtp": st.lists(REPLIES.map(b"%d%s%s\r\n".__mod__)),
    "agent": st.lists(st.sampled_from([b"up", b"down", b" ", b"50%", b"#", b"\n", b"\r"]) | SOME),
    "http": st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"HTTP/1.0 503 No\r\n",
                b"HTTP/1.1 204\r\n",
                b"HTTP/1.1 103 Hints\r\n",
                b"Content-Length: 2\r\n",
                b"content-length:0\r\n",
                b"Server: x\r\n",
                b" folded\r\n",
                b"Connection: close\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"\r\n",
                b"ok",
                b"2\r\nok\r\n0\r\n\r\n",
            ]
        )
        | SOME
    ),
    "exchange": st.lists(st.sampled_from([b"a", b"b", b"c", b"\n"]) | SOME),
}


TARGET = target_at(80)


def outcome(probe, pieces):
    """Return what the probe says about a server that sends these bytes in these pieces, and closes."""
    connection = probe.open(TARGET)
    connection.connected(0.1, b"")
    for piece in filter(None, pieces):
        if connection.finished:
            break
        connection.received(piece, 0.1)
    if not connection.finished:
        connection.closed(0.1)
    assert connection.finished
    return connection.outcome


def verdict(probe, pieces):
    """Return the detail or the reason. Any other exception is a bug."""
    found = outcome(probe, pieces)
    assert isinstance(found, str | Word | ProbeFailed), repr(found)
    detail = found.detail if isinstance(found, Word) else str(found)
    assert detail
    return CheckResult(passed=False, detail=detail, ms=0.0).detail


def kind(detail):
    """The kind of a reason: what follows it quotes the bytes that have arrived by then."""
    return detail.partition(": ")[0] if detail.startswith("not a") else detail


def answers():
    return sorted(path for name in PROBES if name != "agent" for path in CORPUS.glob(f"{name}/*"))


@pytest.mark.parametrize("path", answers(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_corpus(path):
    """A corpus of answers; the first letter of the name gives the result: the server passes (p) or fails (f)."""
    found = outcome(PROBES[path.parent.name], [path.read_bytes()])
    assert isinstance(found, str) is path.name.startswith("p-")


@pytest.mark.parametrize("name", PROBES)
@given(data=st.data())
def test_any_bytes_give_a_verdict(name, data):
    pieces = data.draw(st.lists(st.binary(max_size=100)) | NEARLY_RIGHT[name])
    detail = verdict(PROBES[name], pieces)
    assert detail.isprintable()
    assert name != "redis" or "secret" not in detail


@pytest.mark.parametrize(
    "name", sorted(PROBES.keys() - {"exchange"})
)  # it searches its pattern for each received chunk
@given(data=st.data())
def test_it_does_not_matter_in_which_pieces_they_come(name, data):
    whole = b"".join(data.draw(NEARLY_RIGHT[name]))
    cut = data.draw(st.integers(0, len(whole)))
    one = kind(verdict(PROBES[name], [whole]))
    assert kind(verdict(PROBES[name], [whole[:cut], whole[cut:]])) == one
    assert kind(verdict(PROBES[name], [bytes([byte]) for byte in whole])) == one


@pytest.mark.parametrize("name", PROBES)
@given(data=st.data())
def test_at_any_moment_the_time_may_run_out_or_the_connection_break(name, data):
    pieces = data.draw(st.lists(st.binary(max_size=100)) | NEARLY_RIGHT[name])
    happens = data.draw(st.sampled_from(["timed_out", "broke"]))
    connection = PROBES[name].open(TARGET)
    connection.connected(0.1, b"")
    for piece in filter(None, pieces):
        if connection.finished:
            break
        connection.received(piece, 0.1)
    if happens == "broke":
        connection.broke(ConnectionResetError(errno.ECONNRESET, "x"))
    else:
        connection.timed_out()
    assert connection.finished
    assert isinstance(connection.outcome, str | Word | ProbeFailed | TimedOut | OSError)


@pytest.mark.parametrize("name", PROBES)
@given(data=st.binary(min_size=1, max_size=100))
@settings(max_examples=20)
def test_a_server_that_talks_for_ever_is_hung_up_on(name, data):
    connection = PROBES[name].open(TARGET)
    connection.connected(0.1, b"")
    chunk = data * (PIECE // len(data))
    for _ in range(MOST_PIECES):
        connection.received(chunk, 0.1)
        if connection.finished:
            return
    pytest.fail("no end")


def by_h11(said):
    """Return the status and the body of an answer, as h11 reads it."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method="GET", target="/", headers=[("Host", "")]))
    http.send(h11.EndOfMessage())
    http.receive_data(said)
    http.receive_data(b"")
    status, body = 0, b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status = event.status_code
        if isinstance(event, h11.Data):
            body += event.data
    return status, body


HEADERS = st.lists(
    st.sampled_from([b"Server: x\r\n", b"A:\r\n", b"B: 1\r\n folded\r\n", b"Connection: close\r\n", b"C: \xe9 \t\r\n"])
).map(b"".join)
BODIES = st.binary(max_size=50)


def in_chunks(pieces):
    return b"".join(b"%x;x=y\r\n%b\r\n" % (len(each), each) for each in pieces if each) + b"0\r\nTrailer: x\r\n\r\n"


FRAMED = (
    BODIES.map(lambda body: b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    | BODIES.map(lambda body: b"\r\n" + body)
    | st.lists(BODIES).map(lambda pieces: b"Transfer-Encoding: chunked\r\n\r\n" + in_chunks(pieces))
)
INFORMATIONAL = st.lists(
    st.sampled_from([b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 100 \r\n\r\n"]), max_size=3
)
STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 503 No\r\n", b"HTTP/1.1 404 \r\n", b"HTTP/1.1 201\r\n"]
)


@given(informational=INFORMATIONAL.map(b"".join), line=STATUS_LINES, headers=HEADERS, framed=FRAMED)
def test_http_reads_every_valid_answer_as_h11_does(informational, line, headers, framed):
    said = informational + line + headers + framed
    status, body = by_h11(said)
    exactly = "".join(rf"\x{byte:02x}" for byte in body)
    assert verdict(HttpProbe(expect_status="100-999", expect_body=rf"\A{exactly}\z"), [said]) == f"HTTP {status}"
