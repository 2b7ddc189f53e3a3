"""The line of a finished connection, which is formatted by hand for speed, compared with the JSON library."""

from __future__ import annotations

import datetime as dt
import json

from hypothesis import given
from hypothesis import strategies as st

from lb.events import Attempt, ConnectionClosed
from lb.log.connection_line import RecordLines
from lb.model.address import Client
from lb.model.decision import Considered, Decision

milliseconds = st.floats(0, 1e9)
attempts = st.builds(Attempt, st.text(), st.text(), milliseconds)
clients = st.builds(Client, st.sampled_from(["10.1.2.3", "::1", ""]), st.integers(0, 65535))
verdicts = st.sampled_from(["chosen", "candidate", "down"])
figures = st.dictionaries(st.text(), st.floats(0, 1e9))
considered = st.builds(Considered, st.text(), verdicts, st.text(), st.integers(0), st.integers(0), figures)
decisions = st.builds(
    Decision,
    strategy=st.text(),
    decides=st.just("client"),
    key=st.dictionaries(st.text(), st.text() | st.integers(0)),
    chosen=st.none() | st.text(),
    otherwise=st.sampled_from(["", "reject"]),
    servers=st.lists(considered, max_size=3).map(tuple),
    counts=st.dictionaries(verdicts, st.integers(1)),
)
records = st.builds(
    ConnectionClosed,
    id=st.integers(1),
    listener=st.text(),
    pool=st.text(),
    server=st.none() | st.text(),
    client=clients,
    attempts=st.lists(attempts, max_size=3).map(tuple),
    connect_ms=st.none() | milliseconds,
    duration_ms=milliseconds,
    bytes_in=st.integers(0),
    bytes_out=st.integers(0),
    ended_by=st.sampled_from(["client", "server", "lb"]),
    reason=st.sampled_from(["eof", "reset", "idle_timeout"]),
    peer=st.none() | clients,
    decisions=st.none() | st.lists(decisions, max_size=2).map(tuple),
)


@given(record=records)
def test_the_line_says_what_the_record_says(record):
    line = json.loads(RecordLines().line(record, 0.0))
    absent = {name for name in ("peer", "decisions") if getattr(record, name) is None}
    names = [name for name in ConnectionClosed.__match_args__ if name not in absent]
    assert list(line) == ["event", "level", *names, "timestamp"]
    assert (line.pop("event"), line.pop("level")) == (record.name, record.level)
    assert line.pop("timestamp") == "1970-01-01T00:00:00.000000Z"
    assert line.pop("client") == str(record.client)
    assert line.pop("peer", None) == (None if record.peer is None else str(record.peer))
    assert line.pop("decisions", []) == [decision.fields() for decision in record.decisions or ()]
    for name in ("connect_ms", "duration_ms"):
        value, exact = line.pop(name), getattr(record, name)
        assert value == (exact if exact is None else round(exact, 3))
    for attempt, exact in zip(line.pop("attempts"), record.attempts, strict=True):
        assert attempt == {"server": exact.server, "error": exact.error, "ms": round(exact.ms, 3)}
    assert line == {name: getattr(record, name) for name in line}


@given(record=records)
def test_it_is_one_line_whatever_the_names(record):
    assert "\n" not in RecordLines().line(record, 0.0)


@given(times=st.lists(st.floats(0, 4e9), min_size=1))
def test_the_timestamp_is_the_time_to_the_microsecond_whatever_came_before(times):
    lines = RecordLines()
    record = ConnectionClosed(1, "a", "b", None, Client("", 0), (), None, 0.0, 0, 0, "lb", "no_server")
    for time in times:
        parsed = dt.datetime.fromisoformat(json.loads(lines.line(record, time))["timestamp"])
        assert abs(parsed.timestamp() - time) < 2e-6
