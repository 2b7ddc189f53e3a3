"""Classification of the demo's sessions, and the failures that decide the exit code of ``lb demo``."""

from __future__ import annotations

import socket
from functools import partial
from itertools import cycle

import attrs
import pytest
import trio

from lb.config.load import parse
from lb.events import ConnectionClosed
from lb.tools.demo import load
from lb.tools.demo.kinds import DEMOS
from lb.tools.demo.ledger import Ledger
from lb.tools.demo.load import Load
from lb.tools.demo.process import ServerProcess


def test_a_demo_without_failures_has_no_problems():
    ledger = Ledger(ok=5, cut=1, ejected={"s1"}, restored={"s1"})
    assert ledger.problems("s1") == []
    assert str(ledger) == "sessions: 5 ok, 0 failed, 1 cut by a kill"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ok": 0}, "no session was served"),
        ({"failures": {"no_server": 2}}, "failed: 2 x no_server"),
        ({"faults": ["strategy: ZeroDivisionError()"]}, "internal error: strategy: ZeroDivisionError()"),
        ({"ejected": {"s2"}}, "s1 was not ejected"),
        ({"restored": set()}, "s1 was not restored"),
    ],
)
def test_each_problem_is_named(change, problem):
    ledger = Ledger(ok=5, ejected={"s1"}, restored={"s1"})
    for field, value in change.items():
        getattr(ledger, field).update(value) if field == "failures" else setattr(ledger, field, value)
    assert ledger.problems("s1") == [problem]


def test_a_server_that_nobody_killed_need_not_be_ejected():
    assert Ledger(ok=1).problems(None) == []


CLIENT = "127.0.0.1:5555"


def record(server, ended_by="server", reason="reset"):
    return ConnectionClosed(
        id=1,
        listener="demo",
        pool="demo",
        server=server,
        client=CLIENT,
        attempts=(),
        connect_ms=None,
        duration_ms=0,
        bytes_in=0,
        bytes_out=0,
        ended_by=ended_by,
        reason=reason,
    )


async def judge(records, *, died_at=None):
    """Return the ledger's counts for a session that starts at second 5 and breaks at second 10."""
    server = ServerProcess("s1")
    ledger = Ledger()
    judging = Load({"s1": server}, ledger)
    started = trio.current_time() + 5
    if died_at is not None:
        server.died_at = trio.current_time() + died_at
    for each in records:
        judging.closed(each)
    await trio.sleep(10)
    await judging._judge_broken(CLIENT, started)
    return ledger.cut, dict(ledger.failures)


async def test_a_session_whose_server_died_is_cut_by_the_kill(autojump_clock):
    assert await judge([record("s1")], died_at=7) == (1, {})


async def test_a_session_whose_server_lives_has_failed(autojump_clock):
    assert await judge([record("s1")]) == (0, {"reset, ended by server": 1})


async def test_a_session_that_began_after_the_death_has_failed(autojump_clock):
    assert await judge([record("s1")], died_at=4) == (0, {"reset, ended by server": 1})


async def test_a_session_that_got_no_server_has_failed(autojump_clock):
    assert await judge([record(None, "lb", "no_server")], died_at=7) == (0, {"no_server, ended by lb": 1})


async def test_a_broken_session_without_a_record_has_failed(autojump_clock):
    assert await judge([record("s1", ended_by="client")], died_at=7) == (0, {"broken without a record": 1})


RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\nThis is s1. You asked for %s.\n"


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (RIGHT.replace(b"%s", b"/request-0"), "wrong reply: "),
        (RIGHT.replace(b"s1", b"s9"), "wrong reply: "),
        (RIGHT + b"more", "wrong reply: "),
        (RIGHT.removesuffix(b"\n"), "broken without a record"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "wrong reply: status 503"),
    ],
    ids=["another question's", "another server's", "too much", "cut short", "an error"],
)
async def test_a_wrong_answer_is_a_failed_session(answer, failure, monkeypatch):
    monkeypatch.setattr(load, "RECORD_GRACE", 0)

    async def serve(stream):
        _, path, _ = (await stream.receive_some()).split(maxsplit=2)
        await stream.send_all(answer.replace(b"%s", path))
        await stream.aclose()

    ledger = Ledger()
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), serve, 0)
        port = listener.socket.getsockname()[1]
        await Load({"s1": ServerProcess("s1")}, ledger)._session(port, 1, 0)
        nursery.cancel_scope.cancel()
    [reason] = ledger.failures
    assert reason.startswith(failure)
    assert (ledger.ok, ledger.cut) == (0, 0)


@pytest.mark.parametrize(
    ("demo", "ok", "failure"), [("tcp", 0, ["wrong reply: replies of s1 and s2"]), ("http", 2, [])]
)
async def test_requests_of_a_session_may_go_to_different_servers_in_the_http_demo_only(demo, ok, failure):
    names = iter(("s1", "s2"))

    async def serve(stream):
        while request := await stream.receive_some():
            await stream.send_all(RIGHT.replace(b"s1", next(names).encode()).replace(b"%s", request.split()[1]))

    ledger = Ledger()
    kind = attrs.evolve(DEMOS[demo], asks=DEMOS["tcp"].asks)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), serve, 0)
        port = listener.socket.getsockname()[1]
        await Load({name: ServerProcess(name) for name in ("s1", "s2")}, ledger, kind)._session(port, 2, 0)
        nursery.cancel_scope.cancel()
    assert (ledger.ok, [*ledger.failures]) == (ok, failure)


async def test_a_session_that_breaks_in_the_http_demo_has_failed_though_its_server_died(autojump_clock):
    """Another server should have answered."""
    assert await judge([record(None, "lb", "reset")], died_at=7) == (0, {"reset, ended by lb": 1})


def test_requests_are_counted_in_the_http_demo():
    ledger = Ledger(ok=5, counted=DEMOS["http"].counted)
    assert str(ledger) == "requests: 5 ok, 0 failed"
    assert Ledger(counted="requests").problems(None) == ["no request was served"]


async def test_the_cache_demo_asks_for_few_films_and_counts_what_the_cache_did():
    statuses = cycle((b"MISS", b"HIT", b"HIT"))
    paths = []

    async def serve(stream):
        while request := await stream.receive_some():
            paths.append(request.split()[1])
            body = b"This is origin. You asked for %s.\n" % paths[-1]
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Cache-Status: %s\r\n\r\n"
            await stream.send_all(head % (len(body), next(statuses)) + body)

    kind = DEMOS["cache"]
    ledger = Ledger(counted=kind.counted)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), serve, 0)
        port = listener.socket.getsockname()[1]
        await Load({"origin": ServerProcess("origin")}, ledger, kind)._session(port, 6, 0)
        nursery.cancel_scope.cancel()
    assert str(ledger) == "requests: 6 ok, 0 failed, 4 HIT, 2 MISS"
    assert paths == [b"/film-1", b"/film-2", b"/film-3", b"/film-4", b"/film-0", b"/film-1"]


@pytest.mark.parametrize("name", DEMOS)
@pytest.mark.parametrize("heavy", [False, True])
def test_every_demo_has_a_configuration_that_reloads(name, heavy):
    kind = DEMOS[name]
    config = parse(kind.config(dict.fromkeys(kind.servers, "127.0.0.1:80"), heavy=heavy), "demo.toml")
    found = {server.name: server.weight for pool in config.pools.values() for server in pool.servers}
    assert found == {each: kind.weight(each, heavy=heavy) for each in kind.servers}
    assert found[kind.heavier] == (3 if heavy else 1)


async def test_a_refused_connection_is_a_failed_session():
    ledger = Ledger()
    with socket.socket() as not_listening:
        not_listening.bind(("127.0.0.1", 0))
        await Load({}, ledger)._session(not_listening.getsockname()[1], 1, 0)
    assert ledger.failed == 1


async def test_a_killed_server_has_its_port_again_though_others_look_for_one():
    server = ServerProcess("s1")
    with server.keep_port():
        port = server.port
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(b"GET /1 HTTP/1.1\r\n\r\n")
                    assert (await stream.receive_some()).endswith(b"\r\n\r\nThis is s1. You asked for /1.\n")
                server.kill()
            with socket.socket() as client, pytest.raises(ConnectionRefusedError):
                client.connect(("127.0.0.1", port))
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
