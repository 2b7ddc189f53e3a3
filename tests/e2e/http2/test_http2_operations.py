"""Reloads, upgrades, drains and timeouts of connections of HTTP/2: no request is lost."""

from __future__ import annotations

import re
import signal
import subprocess
from contextlib import suppress

import pytest
import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer, config
from tests.support.http2_client import H2C, visited, visiting
from tests.support.http_origin import content, http_origin
from tests.support.operating import ADMIN, operated

pytestmark = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")

HEAD = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/name")]
NO_ERROR, ENHANCE_YOUR_CALM = 0, 11
LAST_OF_ALL = 2**31 - 1


async def ask_for_ever(port, answers):
    """Ask on a connection, several requests at a time, and on a new one once the balancer says so."""
    while True:
        async with visiting(port) as visitor:
            while not visitor.goaways:
                streams = []
                while len(streams) < 5 and not visitor.goaways:
                    streams.append(await visitor.send("/bytes?n=3000"))
                for stream_id in streams:
                    answer = await visitor.answer(stream_id)
                    answers.append((answer.status, bytes(answer.body) == content(3000)))


async def reaches(answers, count):
    with trio.fail_after(PATIENCE):
        while len(answers) < count:
            await trio.lowlevel.checkpoint()


@one_process_or_two
async def test_reloads_and_upgrades_under_load_lose_no_request(tmp_path):
    answers = []
    async with http_origin() as a, balancer(tmp_path, config(a, listener=H2C, health=None)) as lb:
        port = lb.port
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask_for_ever, port, answers)
            for number in range(3):
                await reaches(answers, len(answers) + 50)
                changed = f'{H2C}\nmax_header = "{16 + number}KiB"'
                assert (await lb.reload(config(a, listener=changed, health=None)))["event"] == "config.applied"
            for _ in range(2):
                await reaches(answers, len(answers) + 50)
                assert (await lb.upgrade())["event"] == "upgrade.done"
            await reaches(answers, len(answers) + 50)
            nursery.cancel_scope.cancel()
    assert set(answers) == {(200, True)}


async def test_h2load_loses_no_request_over_reloads(tmp_path):
    async with http_origin() as a:
        text = config(a, listener=H2C, health=None)
        async with balancer(tmp_path, text) as lb:
            url = f"http://127.0.0.1:{lb.port}/name"
            process = await trio.lowlevel.open_process(
                [program("h2load"), "-n", "2000", "-c", "8", "-m", "10", url], stdout=subprocess.PIPE
            )
            for count in range(1, 4):
                await lb.event("http.request", count=500 * count)
                await lb.reload(text)
            with trio.fail_after(PATIENCE):
                output = b"".join([chunk async for chunk in process.stdout]).decode()
                await process.wait()
    assert re.search("2000 succeeded, 0 failed, 0 errored, 0 timeout", output), output


async def test_a_drain_finishes_the_streams_that_are_open_and_those_that_come_in_time(tmp_path):
    async with http_origin() as a, balancer(tmp_path, config(a, listener=H2C, health=None)) as lb:
        async with visiting(lb.port) as visitor:
            held = await visitor.send("/wait")
            await a.has(1)
            lb.signal(signal.SIGTERM)
            await visitor.until(lambda: visitor.goaways)
            assert visitor.goaways[0][:2] == (NO_ERROR, LAST_OF_ALL), "first without a last stream"
            await visitor.until(lambda: len(visitor.goaways) == 2)
            assert visitor.goaways[1][:2] == (NO_ERROR, held)
            a.go_on.set()
            assert (await visitor.answer(held)).status == 200
            await visitor.closed()
        assert await lb.exit_code() == 0


async def test_an_idle_connection_ends_when_the_listener_is_drained(tmp_path):
    async with http_origin() as a, balancer(tmp_path, config(a, listener=H2C, health=None)) as lb:
        async with visiting(lb.port) as visitor:
            assert (await visitor.ask("/name")).status == 200
            lb.signal(signal.SIGTERM)
            await visitor.closed()
        assert await lb.exit_code() == 0


async def test_an_idle_connection_ends_after_keep_alive_and_says_so_before(tmp_path):
    listener = f'{H2C}\nkeep_alive = "300ms"'
    async with http_origin() as a, visited(tmp_path, a, listener=listener) as (_lb, visitor):
        held = await visitor.send("/wait")
        await a.has(1)
        await trio.sleep(0.5)
        assert not visitor.goaways
        a.go_on.set()
        assert (await visitor.answer(held)).status == 200
        await visitor.closed()
        assert visitor.goaways[-1][:2] == (NO_ERROR, held)


async def test_without_keep_alive_a_connection_has_one_request(tmp_path):
    listener = f'{H2C}\nkeep_alive = "0"'
    async with http_origin() as a, visited(tmp_path, a, listener=listener) as (_lb, visitor):
        assert (await visitor.ask("/name")).status == 200
        await visitor.closed()
        assert visitor.goaways[0][:2] == (NO_ERROR, 1)


async def test_a_stream_on_which_nothing_moves_ends_alone(tmp_path):
    listener = f'{H2C}\nidle_timeout = "300ms"'
    async with http_origin() as a, visited(tmp_path, a, listener=listener, reads=False, window=1000) as (_lb, visitor):
        stalled = await visitor.send("/bytes?n=100000")
        answer = await visitor.answer(stalled)
        assert (answer.status, answer.reset) == (200, 2)
        waiting = await visitor.send("/digest", method="POST", ends=False)
        assert (await visitor.answer(waiting)).status == 408
        assert (await visitor.ask("/name")).status == 200


async def test_a_head_that_does_not_come_in_time_ends_the_connection(tmp_path):
    listener = f'{H2C}\nheader_timeout = "200ms"'
    async with http_origin() as a, visited(tmp_path, a, listener=listener) as (_lb, visitor):
        assert (await visitor.ask("/name")).status == 200
        await visitor.stream.send_all(b"\0\0\x20\1\5\0\0\0\3\x82")
        await visitor.closed()
        assert visitor.goaways[-1][:2] == (NO_ERROR, 1)


async def test_a_slow_body_has_all_the_time_that_moves(tmp_path):
    listener = f'{H2C}\nheader_timeout = "200ms"'
    async with http_origin() as a, visited(tmp_path, a, listener=listener) as (_lb, visitor):
        assert (await visitor.ask("/name")).status == 200
        stream_id = await visitor.send("/echo", ("content-length", "6"), method="POST", ends=False)
        await visitor.stream.send_all(b"\0\0\6\0\1\0\0\0\3")
        for _ in range(6):
            await trio.sleep(0.1)
            await visitor.stream.send_all(b"a")
        assert bytes((await visitor.answer(stream_id)).body) == b"aaaaaa"


async def test_operators_see_the_server_of_each_stream_and_end_it(tmp_path):
    async with (
        http_origin() as a,
        operated(tmp_path, config(a, listener=H2C, health=None, top=ADMIN)) as (lb, operator),
        visiting(lb.port) as visitor,
    ):
        held = await visitor.send("/wait")
        await a.has(1)
        found = (await operator.get("/api/v1/connections"))["connections"]
        assert sorted(str(each["server"]) for each in found) == ["None", "a"]
        assert len({each["id"] for each in found}) == 1, "a stream has the id of its connection"
        (stream,) = (await operator.get("/api/v1/connections", server="a"))["connections"]
        assert stream["pool"] == "web"
        metrics = await operator.metrics()
        assert not any(value for name, value in metrics.items() if name.startswith("lb_http_requests_total{"))
        a.go_on.set()
        assert (await visitor.answer(held)).status == 200


async def test_a_flood_of_resets_is_ended_and_said_once_and_nobody_else_waits(tmp_path):
    async with (
        http_origin() as a,
        visited(tmp_path, a) as (lb, neighbour),
        trio.open_nursery() as nursery,
    ):
        for _ in range(2):
            nursery.start_soon(reset_at_once, lb)
        for _ in range(20):
            assert (await neighbour.ask("/name")).status == 200
        assert (await lb.event("http2.flood"))["listener"] == "web"
    assert len(lb.of("http2.flood")) == 1


async def reset_at_once(lb):
    """Open streams and reset them until the connection is ended, as CVE-2023-44487 does."""
    async with visiting(lb.port) as attacker:
        with suppress(trio.BrokenResourceError):
            while not attacker.ended:
                for _ in range(50):
                    stream_id = attacker.next_stream()
                    attacker.h2.send_headers(stream_id, HEAD, end_stream=True)
                    attacker.h2.reset_stream(stream_id, 8)
                await attacker.flush()
        await attacker.closed()
    assert [code for code, _, _ in attacker.goaways] == [ENHANCE_YOUR_CALM]
