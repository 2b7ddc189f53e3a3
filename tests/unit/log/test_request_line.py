"""The line of a request, which is formatted by hand for speed, compared with the JSON library."""

from __future__ import annotations

import json
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from lb.events import Attempt, FailedResponse, HttpRequest, RequestReason
from lb.events.fields import event_fields
from lb.log.request_line import request_line
from lb.model.address import Client

NOW = "1970-01-01T00:00:00.000000Z"
milliseconds = st.floats(0, 1e9)
attempts = st.builds(Attempt, st.text(), st.text(), milliseconds) | st.builds(
    FailedResponse, st.text(), st.text(), milliseconds
)
clients = st.builds(Client, st.sampled_from(["10.1.2.3", "::1", ""]) | st.text(), st.integers(0, 65535))
requests = st.builds(
    HttpRequest,
    id=st.text(),
    listener=st.text(),
    route=st.text(),
    client=clients,
    method=st.text(),
    host=st.text(),
    path=st.text(),
    version=st.sampled_from(["1.0", "1.1", "2", ""]),
    status=st.none() | st.integers(100, 599),
    bytes_in=st.integers(0),
    bytes_out=st.integers(0),
    duration_ms=milliseconds,
    wait_ms=st.none() | milliseconds,
    pool=st.text(),
    server=st.none() | st.text(),
    attempts=st.lists(attempts, max_size=3).map(tuple),
    cache=st.none() | st.text(),
    reason=st.sampled_from(get_args(RequestReason)),
)


def request(**fields):
    values = {
        "id": "0f3a9c1b", "listener": "www", "route": "videos", "client": Client("10.1.2.3", 5555), "method": "GET",
        "host": "example.com", "path": "/videos/a.mp4", "version": "1.1", "status": 200, "bytes_in": 0,
        "bytes_out": 65536, "duration_ms": 12.3456, "wait_ms": 3.2, "pool": "backend", "server": "a", "attempts": (),
        "cache": None, "reason": "ok",
    }  # fmt: skip
    return HttpRequest(**{**values, **fields})


@given(record=requests)
def test_the_line_is_that_of_the_json_library(record):
    library = json.dumps({"event": record.name, "level": record.level, **event_fields(record), "timestamp": NOW})
    line = request_line(record, NOW)
    assert json.loads(line) == json.loads(library)
    assert [*json.loads(line)] == [*json.loads(library)], "the order of the keys"


@given(
    record=st.builds(
        request, id=st.text(), client=clients, method=st.text(), host=st.text(), path=st.text(), attempts=st.just(())
    )
)
def test_nothing_that_a_client_chooses_is_more_than_text_in_its_place(record):
    line = request_line(record, NOW)
    assert line.isascii()
    assert line.isprintable()


def test_a_line_cannot_be_forged():
    forged = '/"}\n{"event": "http.request", "status": 200, "client": "10.9.9.9:1'
    line = request_line(request(path=forged, host=forged, client=Client(f"fe80::1%{forged}", 1)), NOW)
    assert "\n" not in line
    assert json.loads(line)["path"] == forged


def test_times_are_rounded_to_microseconds():
    line = request_line(request(duration_ms=1.23456), NOW)
    assert '"duration_ms": 1.235, ' in line
