"""The log: JSON and console format, writes in batches, slow and missing readers."""

from __future__ import annotations

import datetime as dt
import json
import os
import select
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import attrs
import pytest
import trio
import trio.testing

import lb.events.process
from lb.events import (
    Attempt,
    BackendEjected,
    BackendRestored,
    ConfigApplied,
    ConfigRejected,
    ConnectionClosed,
    Event,
    Fault,
    HttpConnectionClosed,
    HttpRequest,
    ListenerStarted,
    ServerStarted,
    ServerStopped,
    ServerStopping,
    UnloggedRequest,
)
from lb.log.lines import MAX_QUEUED_LINES, MAX_QUEUED_TEXT, LineQueue, LineWriter
from lb.log.log import Log
from lb.model import LogSpec
from lb.model.address import Client
from lb.model.decision import Decision
from tests.support.balancer import PATIENCE
from tests.unit.log.test_request_line import request

CLOSED = ConnectionClosed(
    id=7,
    listener="web",
    pool="web",
    server="b",
    client=Client("10.1.2.3", 5555),
    attempts=(Attempt("a", "connection refused", 0.25),),
    connect_ms=0.5,
    duration_ms=12.0,
    bytes_in=10,
    bytes_out=20,
    ended_by="client",
    reason="eof",
)


@contextmanager
def pipe():
    """Yield the read end as a file and the write end as a descriptor."""
    reading, writing = os.pipe()
    with open(reading, "rb") as reader:  # noqa: PTH123 - a descriptor
        try:
            yield reader, writing
        finally:
            os.close(writing)


def written(events, spec=None):
    """Log these events to a pipe and return the lines."""
    with pipe() as (reader, writing):
        log = Log(spec or LogSpec(format="json"), fd=writing)
        for event in events:
            log(event)
        log.flush()
        os.set_blocking(reader.fileno(), False)
        return (reader.read() or b"").decode().splitlines()


@pytest.mark.parametrize(
    ("event", "name", "keys"),
    [
        (ListenerStarted("web", "127.0.0.1:80"), "listener.started", {"listener", "bind"}),
        (
            BackendEjected("web", "a", "HTTP 503", "active"),
            "backend.ejected",
            {"pool", "server", "reason", "source"},
        ),
        (BackendRestored("web", "a"), "backend.restored", {"pool", "server"}),
        (ConfigApplied(("web/a",), (), ()), "config.applied", {"added", "removed", "changed"}),
        (ConfigRejected(("lb.toml: no",)), "config.rejected", {"errors"}),
        (
            CLOSED,
            "connection.closed",
            {
                "id", "listener", "pool", "server", "client", "attempts", "connect_ms", "duration_ms", "bytes_in",
                "bytes_out", "ended_by", "reason",
            },
        ),
        (
            request(),
            "http.request",
            {
                "id", "listener", "route", "client", "method", "host", "path", "version", "status", "bytes_in",
                "bytes_out", "duration_ms", "wait_ms", "pool", "server", "attempts", "cache", "reason", "grpc_status",
            },
        ),
    ],
)  # fmt: skip
def test_json_keys_are_those_of_the_contract(event, name, keys):
    (line,) = written([event])
    fields = json.loads(line)
    assert fields.pop("event") == name
    assert fields.pop("level") == event.level
    timestamp = dt.datetime.fromisoformat(fields.pop("timestamp"))
    assert timestamp.utcoffset() == dt.timedelta(0)
    assert set(fields) == keys


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (ServerStarted(1, "0.1", "lb.toml"), "server.started"),
        (ServerStopping("SIGTERM", 3), "server.stopping"),
        (ServerStopped(), "server.stopped"),
    ],
)
def test_the_balancers_own_events_have_their_names(event, name):
    (line,) = written([event])
    assert json.loads(line)["event"] == name


def test_json_values_are_values():
    fields = json.loads(written([CLOSED])[0])
    assert fields["attempts"] == [{"server": "a", "error": "connection refused", "ms": 0.25}]
    assert (fields["id"], fields["connect_ms"], fields["bytes_in"]) == (7, 0.5, 10)
    nothing = json.loads(written([attrs.evolve(CLOSED, server=None, connect_ms=None, attempts=())])[0])
    assert (nothing["server"], nothing["connect_ms"], nothing["attempts"]) == (None, None, [])
    assert json.loads(written([ConfigApplied(("web/a", "front"), (), ())])[0])["added"] == ["web/a", "front"]


def test_every_event_is_one_line_that_can_be_read_back():
    kinds = [kind for kind in vars(lb.events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    awkward = 'line\nbreak "quoted" \x00 \ud800 ü'
    events = [
        kind(**{field.name: awkward for field in attrs.fields(kind) if field.name != "exception"}
             | {field.name: ValueError(awkward) for field in attrs.fields(kind) if field.name == "exception"})
        for kind in kinds
        if kind is not Event and not issubclass(kind, ConnectionClosed | HttpRequest)
    ]  # fmt: skip
    tried = (Attempt(awkward, awkward, 0.5),)
    events.append(attrs.evolve(CLOSED, listener=awkward, server=awkward, attempts=tried))
    events.append(request(id=awkward, route=awkward, host=awkward, path=awkward, server=awkward, attempts=tried))
    lines = written(events, LogSpec(level="debug", format="json"))
    assert [json.loads(line)["event"] for line in lines] == [event.name for event in events]


def test_a_fault_has_its_traceback():
    def the_culprit():
        raise ZeroDivisionError("boom")

    try:
        the_culprit()
    except ZeroDivisionError as error:
        fault = Fault("pool web: strategy mine", error)
    (line,) = written([fault])
    fields = json.loads(line)
    assert fields["where"] == "pool web: strategy mine"
    assert "the_culprit" in fields["exception"]
    assert "ZeroDivisionError: boom" in fields["exception"]
    console = "\n".join(written([fault], LogSpec(format="console")))
    assert "the_culprit" in console
    assert "ZeroDivisionError: boom" in console


def test_the_console_is_for_people():
    (line,) = written([CLOSED], LogSpec(format="console"))
    for text in ("connection.closed", "info", "a: connection refused", "reason", "eof", "10.1.2.3:5555"):
        assert text in line
    assert "\x1b" not in line, "no colours in a pipe"
    (line,) = written([attrs.evolve(CLOSED, server=None, attempts=())], LogSpec(format="console"))
    assert "None" not in line
    assert "attempts" not in line


def test_a_request_on_the_console_is_for_people_too():
    (line,) = written([request(attempts=CLOSED.attempts)], LogSpec(format="console"))
    for text in ("http.request", "info", "GET", "/videos/a.mp4", "200", "10.1.2.3:5555", "a: connection refused", "ok"):
        assert text in line
    assert "cache" not in line


@pytest.mark.parametrize("forged", ["/\n2026-01-31T12:00:00Z [info] http.request", "/\x1b[2J", "/\x9b2J", "/\u202e"])
def test_what_clients_and_servers_say_cannot_steer_the_terminal_or_forge_a_line(forged):
    events = [
        request(path=forged),
        BackendEjected("web", "a", forged, "active"),
        attrs.evolve(CLOSED, attempts=(Attempt("a", forged, 0.25),)),
        ConfigRejected((forged,)),
    ]
    lines = written(events, LogSpec(format="console"))
    assert len(lines) == len(events)
    assert all(line.isprintable() for line in lines)


def test_the_console_shows_why_a_server_was_chosen():
    decision = Decision("first", "order", {}, "a", "", (), {"chosen": 1})
    (line,) = written([attrs.evolve(CLOSED, decisions=(decision,))], LogSpec(format="console"))
    assert "'chosen': 'a'" in line


def test_a_listener_without_access_log_has_no_lines_and_connections_do_not_matter_to_requests():
    unlogged = UnloggedRequest(*attrs.astuple(request(), recurse=False))
    assert written([unlogged], LogSpec(level="debug", format="json")) == []
    assert len(written([request()], LogSpec(format="json", connections=False))) == 1


def test_a_connection_of_requests_is_there_at_debug_only():
    closed = HttpConnectionClosed(*attrs.astuple(CLOSED, recurse=False))
    assert written([closed], LogSpec(format="json")) == []
    assert written([closed], LogSpec(format="json", level="debug", connections=False)) == []
    (line,) = written([closed], LogSpec(format="json", level="debug"))
    (plain,) = written([CLOSED], LogSpec(format="json", level="debug"))
    fields, others = json.loads(line), json.loads(plain)
    assert (fields.pop("level"), others.pop("level")) == ("debug", "info")
    assert {**fields, "timestamp": ""} == {**others, "timestamp": ""}


def test_long_lines_fill_the_queue_before_they_fill_the_memory():
    queue, lost = LineQueue(), []
    for _ in range(100):
        queue.put("x" * (MAX_QUEUED_TEXT // 10))
    queue.report_lost(lost.append)
    assert lost == [100 - 11]
    assert len(queue.take()) < 2 * MAX_QUEUED_TEXT
    queue.put("again")
    assert queue.take() == "again\n"


def test_auto_is_json_where_no_terminal_is():
    (line,) = written([CLOSED], LogSpec(format="auto"))
    assert json.loads(line)["id"] == 7


def test_levels_and_connections_choose_what_is_written():
    events = [CLOSED, BackendEjected("web", "a", "HTTP 503", "active"), ConfigRejected(("no",))]

    def names(spec):
        return [json.loads(line)["event"] for line in written(events, spec)]

    assert names(LogSpec(format="json")) == ["connection.closed", "backend.ejected", "config.rejected"]
    assert names(LogSpec(format="json", connections=False)) == ["backend.ejected", "config.rejected"]
    assert names(LogSpec(format="json", level="warning")) == ["backend.ejected", "config.rejected"]
    assert names(LogSpec(format="json", level="error")) == ["config.rejected"]


def test_new_settings_hold_for_the_next_event():
    with pipe() as (reader, writing):
        log = Log(LogSpec(format="json"), fd=writing)
        log(CLOSED)
        log.configure(LogSpec(format="json", connections=False))
        log(CLOSED)
        log.flush()
        assert reader.readline().startswith(b'{"event": "connection.closed"')
        assert not select.select([reader], [], [], 0)[0]


@contextmanager
def counted_writes(monkeypatch):
    writes, write = [], os.write

    def count(fd, data):
        writes.append(fd)
        return write(fd, data)

    monkeypatch.setattr(os, "write", count)
    yield writes
    monkeypatch.undo()


async def read_lines(reader, count):
    with trio.fail_after(PATIENCE):
        return await trio.to_thread.run_sync(lambda: [reader.readline() for _ in range(count)], abandon_on_cancel=True)


async def test_lines_are_written_in_batches_and_in_order(monkeypatch, nursery):
    with pipe() as (reader, writing), counted_writes(monkeypatch) as writes:
        writer = LineWriter(writing, lambda lines: None)
        nursery.start_soon(writer.run)
        for number in range(500):
            writer.write(str(number))
        assert await read_lines(reader, 500) == [f"{number}\n".encode() for number in range(500)]
        assert writes.count(writing) < 5


async def test_a_stuck_reader_stops_nobody_and_what_is_lost_is_counted(nursery):
    lost = []
    with pipe() as (reader, writing):
        writer = LineWriter(writing, lost.append)
        nursery.start_soon(writer.run)
        line = "x" * 100
        for _ in range(3):
            for _ in range(MAX_QUEUED_LINES):
                writer.write(line)
            await trio.testing.wait_all_tasks_blocked(0.05)  # the writer has taken a batch and is blocked
        assert lost == []
        expected = 3 * MAX_QUEUED_LINES
        with trio.fail_after(PATIENCE):
            received = 0
            while received + sum(lost) < expected:
                received += (await trio.to_thread.run_sync(os.read, reader.fileno(), 1 << 20)).count(b"\n")
        assert sum(lost) > 0
        assert received + sum(lost) == expected


async def test_what_is_left_is_written_when_the_task_is_cancelled():
    with pipe() as (reader, writing):
        writer = LineWriter(writing, lambda lines: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            await trio.testing.wait_all_tasks_blocked()
            writer.write("first")
            writer.write("last")
            nursery.cancel_scope.cancel()
        assert await read_lines(reader, 2) == [b"first\n", b"last\n"]


async def test_a_reader_that_takes_nothing_holds_up_the_exit_for_no_more_than_its_chance(monkeypatch):
    monkeypatch.setattr("lb.log.lines.FLUSH_TIMEOUT", 0.01)
    with pipe() as (_, writing):
        os.set_blocking(writing, False)
        with pytest.raises(BlockingIOError):  # noqa: PT012
            while True:
                os.write(writing, bytes(65536))
        os.set_blocking(writing, True)
        writer = LineWriter(writing, lambda lines: None)
        writer.write("never read")
        start = trio.current_time()
        writer.flush()
        assert trio.current_time() - start < 5


@pytest.mark.parametrize("failing", ["reader gone", "disk full"])
async def test_a_log_that_cannot_be_written_costs_nothing_but_the_log(nursery, failing):
    lost = []
    if failing == "disk full":
        fd = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, fd = os.pipe()
        os.close(reading)
    writer = LineWriter(fd, lost.append)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as running:
            running.start_soon(writer.run)
            for _ in range(3):
                writer.write("x")
                while writer._lines:
                    await trio.lowlevel.checkpoint()
            running.cancel_scope.cancel()
    assert not scope.cancelled_caught
    writer.write("y")
    writer.flush()
    assert lost == [], "a report could not have been written"
    os.close(fd)


def test_the_last_lines_are_there_when_the_process_ends():
    program = textwrap.dedent("""
        import trio
        from lb.events import ServerStopped, ListenerStarted
        from lb.log.log import Log
        from lb.model import LogSpec

        async def main():
            log = Log(LogSpec(format="json"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.run)
                for number in range(100):
                    log(ListenerStarted(str(number), "somewhere"))
                await trio.sleep(0.02)  # a batch is just on its way
                log(ServerStopped())
                nursery.cancel_scope.cancel()

        trio.run(main)
    """)
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, check=True, timeout=30)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["listener"] for line in lines[:-1]] == [str(number) for number in range(100)]
    assert lines[-1]["event"] == "server.stopped"
