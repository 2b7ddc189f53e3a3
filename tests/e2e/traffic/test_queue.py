"""The queue of a pool, end to end: more clients than the servers accept."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack, suppress

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, balancer, config, connect, read_all, request
from tests.support.servers import refusing, serving
from tests.support.two_workers import BOTH, TWO, worker_of

pytestmark = pytest.mark.slow
QUEUE = 'queue = 1000\nqueue_timeout = "30s"'


def limited(server, limit=1):
    return server, f"max_connections = {limit}"


async def queue_up(lb, stack, name):
    """Connect one more client and send its request."""
    stream = await stack.enter_async_context(await connect(lb.port))
    await stream.send_all(b"echo %d\n" % name)
    return stream


async def serve_all(streams):
    """Wait until each client has received its number, and close it, which frees the slot for the next."""
    left = dict(enumerate(streams))
    with trio.fail_after(PATIENCE):
        while left:
            first = []
            async with trio.open_nursery() as nursery:
                for number, stream in left.items():
                    nursery.start_soon(answered, number, stream, first, nursery.cancel_scope)
            for number in first:
                await left.pop(number).aclose()


async def answered(number, stream, first, scope):
    """Record that this client has its response, and cancel the others."""
    assert await stream.receive_some() == b"%d\n" % number
    first.append(number)
    scope.cancel()


@pytest.mark.usefixtures("balancer_kind")
async def test_more_clients_than_the_servers_take_are_all_served_and_none_is_refused(tmp_path):
    answers = []

    async def client(port):
        answers.append(await ask(port))

    async with serving(name="a") as a, serving(name="b") as b:
        text = config(limited(a, 2), limited(b, 3), health=None, pool=QUEUE)
        async with balancer(tmp_path, text) as lb:
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    for _ in range(200):
                        nursery.start_soon(client, lb.port)
            assert await lb.stop() == 0
    assert len(answers) == 200
    assert set(answers) == {b"a\n", b"b\n"}
    assert {record["reason"] for record in lb.of("connection.closed")} == {"eof"}


async def test_clients_are_served_in_the_order_in_which_they_came(tmp_path, splicer_kind):
    served = []

    async def note(stream):
        async for line in stream:
            served.append(int(line.split()[1]))
            await stream.send_all(b"done\n")

    async with (
        serving(note) as server,
        balancer(tmp_path, config(limited(server), health=None, pool=QUEUE)) as lb,
        AsyncExitStack() as stack,
    ):
        streams = [await queue_up(lb, stack, number) for number in range(20)]
        for stream in streams:
            assert await read_line(stream) == b"done\n"
            await stream.aclose()
        await lb.event("connection.closed", count=20)
    assert served == list(range(20))


async def read_line(stream):
    with trio.fail_after(PATIENCE):
        return await stream.receive_some()


@pytest.mark.usefixtures("worker_count")
async def test_who_finds_the_queue_full_is_turned_away(tmp_path):
    async with serving() as server:
        text = config(limited(server), health=None, pool='queue = 2\nqueue_timeout = "30s"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as first, AsyncExitStack() as stack:
            assert await request(first, b"name") == b"s"
            streams = [await queue_up(lb, stack, number) for number in range(6)]
            await lb.event("connection.closed", reason="no_server", count=3)  # a worker may admit one too many
            await first.aclose()
            answers = []

            async def read_answer(stream):
                with suppress(trio.BrokenResourceError):
                    answers.append(await read_line(stream))
                await stream.aclose()

            async with trio.open_nursery() as nursery:  # either of two workers may have a free slot first
                for stream in streams:
                    nursery.start_soon(read_answer, stream)
            await lb.event("connection.closed", count=7)
    answers = len(list(filter(None, answers)))
    assert answers in (2, 3)
    refused = lb.of("connection.closed", reason="no_server")
    assert len(refused) == 6 - answers
    assert {(record["ended_by"], record["server"]) for record in refused} == {("lb", None)}


@pytest.mark.usefixtures("balancer_kind")
async def test_who_waits_for_too_long_is_closed(tmp_path):
    async with serving() as server:
        text = config(limited(server), health=None, pool='queue = 10\nqueue_timeout = "200ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as first:
            assert await request(first, b"name") == b"s"
            async with await connect(lb.port) as second:
                assert await read_all(second) == b""
            record = await lb.event("connection.closed")
            assert await request(first, b"echo still there") == b"still there"
    assert (record["reason"], record["ended_by"], record["server"]) == ("hold_timeout", "lb", None)
    assert record["duration_ms"] >= 200


@pytest.mark.usefixtures("worker_count")
async def test_a_reload_that_raises_the_limit_lets_in_those_who_wait(tmp_path):
    async with (
        serving() as server,
        balancer(tmp_path, config(limited(server), health=None, pool=QUEUE)) as lb,
        AsyncExitStack() as stack,
    ):
        first = await stack.enter_async_context(await connect(lb.port))
        assert await request(first, b"name") == b"s"
        waiting = [await queue_up(lb, stack, number) for number in range(5)]
        await lb.reload(config(limited(server), health=None, pool=QUEUE + "\nretries = 1"))
        await lb.reload(config(limited(server, 6), health=None, pool=QUEUE))
        for number, stream in enumerate(waiting):
            assert await read_line(stream) == b"%d\n" % number
        assert server.most_open == 6


async def test_who_waits_is_served_by_a_server_that_comes_back(tmp_path):
    async with (
        serving(name="a") as a,
        refusing("b") as gone,
        balancer(tmp_path, config(limited(a), gone, pool=QUEUE)) as lb,
        AsyncExitStack() as stack,
    ):
        await lb.event("backend.ejected", server="b")
        first = await stack.enter_async_context(await connect(lb.port))
        assert await request(first, b"name") == b"a"
        waiting = await queue_up(lb, stack, 7)
        async with serving(name="b") as b:
            await lb.reload(config(limited(a), b, pool=QUEUE))
            assert await read_line(waiting) == b"7\n"


async def test_the_room_that_one_worker_makes_goes_to_those_who_wait_in_the_other(tmp_path):
    """Without a pause, and in order of arrival within each worker."""
    async with serving() as server:
        text = config(limited(server, 5), health=None, pool=QUEUE, top=TWO)
        async with balancer(tmp_path, text) as lb, AsyncExitStack() as stack:
            streams = [await queue_up(lb, stack, number) for number in range(60)]
            await serve_all(streams)
            assert await lb.stop() == 0
            records = lb.of("connection.closed")
    assert [record["reason"] for record in records] == ["eof"] * 60
    assert {worker_of(record) for record in records} == BOTH
    assert server.most_open <= 10  # the server may see a connection's end after the next accept


@pytest.mark.usefixtures("balancer_kind")
async def test_a_client_that_leaves_makes_room_for_another_to_wait(tmp_path):
    async with serving() as server:
        text = config(limited(server), health=None, pool='queue = 1\nqueue_timeout = "30s"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as first:
            assert await request(first, b"name") == b"s"
            for count in range(1, 6):
                await (await connect(lb.port)).aclose()
                record = await lb.event("connection.closed", count=count)
                assert (record["reason"], record["ended_by"], record["server"]) == ("eof", "client", None)
            async with await connect(lb.port) as waiting:
                await waiting.send_all(b"echo here")
                await waiting.send_all(b" still\n")
                await first.aclose()
                assert await read_line(waiting) == b"here still\n"


@pytest.mark.usefixtures("balancer_kind")
async def test_a_client_that_has_asked_and_finished_gets_its_answer(tmp_path):
    async with serving() as server:
        text = config(limited(server), health=None, pool=QUEUE)
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as first, AsyncExitStack() as stack:
            assert await request(first, b"name") == b"s"
            waiting = await queue_up(lb, stack, 7)
            await waiting.send_eof()
            assert await request(first, b"echo still here") == b"still here"
            await first.aclose()
            assert await read_all(waiting) == b"7\n"


@pytest.mark.usefixtures("balancer_kind")
async def test_a_stop_lets_those_who_wait_have_their_turn(tmp_path):
    async with serving() as server:
        text = config(limited(server), health=None, pool=QUEUE)
        async with balancer(tmp_path, text) as lb, AsyncExitStack() as stack:
            first = await stack.enter_async_context(await connect(lb.port))
            assert await request(first, b"name") == b"s"
            waiting = [await queue_up(lb, stack, number) for number in range(5)]
            lb.signal(signal.SIGTERM)
            await lb.event("server.stopping")
            await first.aclose()
            await serve_all(waiting)
            assert await lb.exit_code() == 0
    assert [record["reason"] for record in lb.of("connection.closed")] == ["eof"] * 6


@pytest.mark.usefixtures("balancer_kind")
async def test_who_still_waits_when_the_stop_times_out_is_closed(tmp_path):
    async with serving() as server:
        text = config(limited(server), health=None, pool=QUEUE, top='[process]\nstop_timeout = "300ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as first:
            assert await request(first, b"name") == b"s"
            async with await connect(lb.port) as waiting:
                await waiting.send_all(b"name\n")
                assert await request(first, b"name") == b"s"
                assert await lb.stop() == 0
    assert [record["reason"] for record in lb.of("connection.closed")] == ["stopped"] * 2


async def test_who_waits_in_a_worker_that_dies_leaves_the_queue(tmp_path):
    async with serving() as server:
        text = config(limited(server), health=None, pool='queue = 10\nqueue_timeout = "30s"', top=TWO)
        async with balancer(tmp_path, text) as lb, AsyncExitStack() as stack:
            for _ in range(12):
                await queue_up(lb, stack, 0)
            await lb.event("connection.closed", reason="no_server")
            for count in (3, 4):
                os.kill(lb.of("worker.started")[count - 3]["pid"], signal.SIGKILL)
                await lb.event("worker.started", count=count)
            refused = len(lb.of("connection.closed"))
            await serve_all([await queue_up(lb, stack, number) for number in range(11)])
            assert await lb.stop() == 0
    assert [record["reason"] for record in lb.of("connection.closed")[refused:]] == ["eof"] * 11
