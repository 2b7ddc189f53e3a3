"""Faults of servers, clients and the network: each is logged with its reason, and no other connection is affected."""

from __future__ import annotations

import socket

import pytest
import trio

from tests.support.balancer import ask, balancer, config, connect, expect_reset, read_all, request
from tests.support.servers import Named, backends, filled_backlog, refusing, reset_at_close, serving

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("splicer_kind")]
NOWHERE = Named("nowhere", "255.255.255.255:80")  # TCP to the broadcast address is always unreachable, connect(2)


async def reset_at_once(stream):
    reset_at_close(stream)


async def close_at_once(stream):
    """Return at once: the caller closes the stream."""


async def say_nothing(stream):
    async for _ in stream:
        pass


# Servers that cannot be connected to


@pytest.mark.parametrize(
    ("kind", "error"), [("refuses", "connection refused"), ("away", "network unreachable"), ("full", "timed out")]
)
async def test_the_next_server_is_tried_and_the_record_says_why(tmp_path, kind, error):
    async with serving(name="good") as good, refusing("refuses") as refuses, filled_backlog("full") as full:
        bad = {"refuses": refuses, "full": full, "away": NOWHERE}[kind]
        text = config(bad, good, health=None, pool='connect_timeout = "200ms"')
        async with balancer(tmp_path, text) as lb:
            assert await ask(lb.port) == b"good\n"
            record = await lb.only_record()
    (attempt,) = record["attempts"]
    assert (attempt["server"], attempt["error"]) == (bad.name, error)
    assert (attempt["ms"] >= 190) is (kind == "full")
    assert (record["server"], record["reason"], record["ended_by"]) == ("good", "eof", "client")
    assert (record["bytes_in"], record["bytes_out"]) == (5, 5)
    assert record["duration_ms"] >= record["connect_ms"] > 0


async def test_failed_connects_in_a_row_eject_with_the_reason_of_each(tmp_path):
    async with refusing("refuses") as refuses, filled_backlog("full") as full, serving(name="good") as good:
        text = config(refuses, NOWHERE, full, good, health=None, pool='connect_timeout = "100ms"\nretries = 3')
        async with balancer(tmp_path, text) as lb:
            for _ in range(12):
                assert await ask(lb.port) == b"good\n"
            await lb.event("backend.ejected", count=3)
    reasons = {event["server"]: (event["reason"], event["source"]) for event in lb.of("backend.ejected")}
    assert reasons == {
        "refuses": ("connection refused", "passive"),
        "nowhere": ("network unreachable", "passive"),
        "full": ("timed out", "passive"),
    }


async def test_when_every_attempt_fails_the_client_is_closed_and_told_apart_from_no_server(tmp_path):
    async with refusing("a") as a, refusing("b") as b, refusing("c") as c:
        text = config(a, b, c, health=None, pool="retries = 1")
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            assert await read_all(stream) == b""
            record = await lb.only_record()
    assert [attempt["server"] for attempt in record["attempts"]] == ["a", "b"]
    assert (record["reason"], record["ended_by"], record["server"]) == ("connect_failed", "lb", None)
    assert (record["connect_ms"], record["bytes_in"], record["bytes_out"]) == (None, 0, 0)


# Servers that fail after the connect


async def test_a_server_that_resets_at_accept_harms_its_own_client_at_most(tmp_path):
    """The balancer sees the reset either as a failed connect, and retries, or as the end of an open connection.

    That is a race in the kernel. No other outcome is allowed.
    """
    async with (
        serving(reset_at_once, name="bad") as bad,
        serving(name="good") as good,
        balancer(tmp_path, config(bad, good, health=None)) as lb,
    ):
        for _ in range(10):
            try:
                assert await ask(lb.port) == b"good\n"
            except trio.BrokenResourceError:
                await lb.event("connection.closed", server="bad")
        assert await lb.stop() == 0
    records = lb.of("connection.closed")
    assert len(records) == 10
    for record in records:
        if record["server"] == "bad":
            assert (record["reason"], record["ended_by"], record["attempts"]) == ("reset", "server", [])
        else:
            assert (record["server"], record["reason"]) == ("good", "eof")
            assert {(each["server"], each["error"]) for each in record["attempts"]} <= {("bad", "connection reset")}


async def test_a_server_that_closes_at_once_ends_its_client_cleanly(tmp_path):
    async with serving(close_at_once, name="s") as server, balancer(tmp_path, config(server, health=None)) as lb:
        async with await connect(lb.port) as stream:
            assert await read_all(stream) == b""
        record = await lb.only_record()
    assert (record["reason"], record["ended_by"]) == ("eof", "server")


async def test_an_answer_that_is_cut_short_looks_cut_short(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        async with await connect(lb.port) as stream:
            await stream.send_all(b"half 1000\n")
            await expect_reset(stream)
        record = await lb.only_record()
    assert (record["reason"], record["ended_by"], record["bytes_in"]) == ("reset", "server", 10)
    assert record["bytes_out"] <= 1000


async def test_a_server_that_says_nothing_runs_into_the_idle_timeout(tmp_path):
    async with serving(say_nothing) as server:
        text = config(server, listener='idle_timeout = "200ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            await stream.send_all(b"hello?")
            assert await read_all(stream) == b""
            record = await lb.only_record()
    assert (record["reason"], record["ended_by"]) == ("idle_timeout", "lb")
    assert (record["server"], record["bytes_in"], record["bytes_out"]) == ("s", 6, 0)
    assert record["duration_ms"] >= 200


async def test_a_server_that_does_not_answer_a_finished_client_runs_into_the_half_close_timeout(tmp_path):
    async def never_end(stream):
        await trio.sleep_forever()

    async with serving(never_end) as server:
        text = config(server, health=None, listener='half_close_timeout = "200ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            await stream.send_all(b"bye")
            await stream.send_eof()
            assert await read_all(stream) == b""
            record = await lb.only_record()
    assert (record["reason"], record["ended_by"], record["bytes_in"]) == ("half_close_timeout", "lb", 3)


@pytest.mark.parametrize("on_down", ["keep", "close"])
async def test_connections_to_a_server_that_goes_down(tmp_path, on_down):
    """Its health checks go to another port, so it can be down and still respond."""
    async with serving(name="a") as server, serving() as checked:
        port = checked.address.rpartition(":")[2]
        checks = f'port = {port}\ninterval = "50ms"\nfast_interval = "50ms"'
        async with balancer(tmp_path, config(server, health=checks, pool=f'on_down = "{on_down}"')) as lb:
            async with await connect(lb.port) as stream:
                assert await request(stream, b"name") == b"a"
                checked.stop_listening()
                ejected = await lb.event("backend.ejected")
                assert (ejected["reason"], ejected["source"]) == ("connection refused", "active")
                if on_down == "keep":
                    assert await request(stream, b"echo still here") == b"still here"
                else:
                    await expect_reset(stream)
            record = await lb.only_record()
    assert record["reason"] == ("eof" if on_down == "keep" else "server_down")
    assert record["ended_by"] == ("client" if on_down == "keep" else "lb")


# Clients that misbehave


async def test_a_client_that_says_nothing_runs_into_the_idle_timeout(tmp_path):
    async with serving() as server:
        text = config(server, listener='idle_timeout = "200ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            host, port = stream.socket.getsockname()
            assert await read_all(stream) == b""
            record = await lb.only_record()
    assert (record["reason"], record["ended_by"]) == ("idle_timeout", "lb")
    assert record["client"] == f"{host}:{port}"
    assert (record["listener"], record["pool"], record["server"]) == ("web", "web", "s")


async def test_a_client_that_closes_at_once_leaves_one_record(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        await (await connect(lb.port)).aclose()
        record = await lb.only_record()
    assert (record["reason"], record["ended_by"]) == ("eof", "client")
    assert (record["bytes_in"], record["bytes_out"]) == (0, 0)


async def test_a_client_that_resets_resets_its_server(tmp_path):
    outcomes = []

    async def note_outcome(stream):
        try:
            async for _ in stream:
                await stream.send_all(b"ready")
        except trio.BrokenResourceError:
            outcomes.append("reset")
        else:
            outcomes.append("clean end")

    async with serving(note_outcome) as server, balancer(tmp_path, config(server, health=None)) as lb:
        stream = await connect(lb.port)
        await stream.send_all(b"x")
        assert await stream.receive_some() == b"ready"
        reset_at_close(stream)
        await stream.aclose()
        await server.until(lambda server: server.open == 0)
        record = await lb.only_record()
    assert outcomes == ["reset"]
    assert (record["reason"], record["ended_by"]) == ("reset", "client")


async def test_a_hundred_clients_that_reset_before_they_are_accepted_harm_nobody(tmp_path):
    async with backends("a") as servers, balancer(tmp_path, config(*servers)) as lb:
        for _ in range(100):
            client = socket.create_connection(("127.0.0.1", lb.port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        assert await ask(lb.port) == b"a\n"
        assert await lb.stop() == 0
    assert len(lb.of("connection.closed")) == 101
