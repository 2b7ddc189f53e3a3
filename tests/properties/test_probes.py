"""Whatever a server sends, a protocol probe returns a result: it passes, or it fails with a reason."""

import struct

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.probe import ProbeFailed
from healthcheck.probes.exchange import ExchangeProbe
from healthcheck.probes.mysql import MysqlProbe
from healthcheck.probes.postgres import PostgresProbe
from healthcheck.probes.redis import RedisProbe
from healthcheck.probes.smtp import SmtpProbe
from healthcheck.result import CheckResult
from tests.support.balancer import PATIENCE
from tests.support.paths import DATA

CORPUS = DATA / "corpus"
PROBES = {
    "redis": RedisProbe(password="secret"),
    "postgres": PostgresProbe(),
    "mysql": MysqlProbe(),
    "smtp": SmtpProbe(),
    "exchange": ExchangeProbe(steps=[{"expect": "^a"}, {"send": "b", "expect": "c$"}]),
}


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
    "exchange": st.lists(st.sampled_from([b"a", b"b", b"c", b"\n"]) | SOME),
}


class Scripted:
    """A target that sends these bytes in these chunks, without waiting, and closes."""

    def __init__(self, pieces):
        self.pieces = pieces

    async def connect(self):
        ours, theirs = trio.testing.memory_stream_pair()
        for piece in self.pieces:
            await theirs.send_all(piece)
        await theirs.send_eof()
        return ours


async def verdict(probe, pieces):
    """Return the detail or the reason. Any other exception is a bug."""
    with trio.fail_after(PATIENCE):
        try:
            detail = await probe.check(Scripted(pieces))
        except ProbeFailed as failed:
            detail = str(failed)
    assert detail
    return CheckResult(passed=False, detail=detail, ms=0.0).detail


def answers():
    return sorted(path for name in PROBES for path in CORPUS.glob(f"{name}/*"))


@pytest.mark.parametrize("path", answers(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_corpus(path):
    """A corpus of answers; the first letter of the name gives the result: the server passes (p) or fails (f)."""
    probe, clock = PROBES[path.parent.name], trio.testing.MockClock(autojump_threshold=0)
    try:
        passed = bool(trio.run(probe.check, Scripted([path.read_bytes()]), clock=clock))
    except ProbeFailed:
        passed = False
    assert passed is path.name.startswith("p-")


@pytest.mark.parametrize("name", PROBES)
@given(data=st.data())
def test_any_bytes_give_a_verdict(name, data):
    pieces = data.draw(st.lists(st.binary(max_size=100)) | NEARLY_RIGHT[name])
    detail = trio.run(verdict, PROBES[name], pieces, clock=trio.testing.MockClock(autojump_threshold=0))
    assert detail.isprintable()
    assert name != "redis" or "secret" not in detail


@pytest.mark.parametrize(
    "name", sorted(PROBES.keys() - {"exchange"})
)  # it searches its pattern for each received chunk
@given(data=st.data())
def test_it_does_not_matter_in_which_pieces_they_come(name, data):
    whole = b"".join(data.draw(NEARLY_RIGHT[name]))
    cut = data.draw(st.integers(0, len(whole)))
    clock = trio.testing.MockClock
    one = trio.run(verdict, PROBES[name], [whole], clock=clock(autojump_threshold=0))
    assert trio.run(verdict, PROBES[name], [whole[:cut], whole[cut:]], clock=clock(autojump_threshold=0)) == one
    single = [bytes([byte]) for byte in whole]
    assert trio.run(verdict, PROBES[name], single, clock=clock(autojump_threshold=0)) == one
