"""Bandwidth limits with the real command, on a machine that has other things to do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from tests.support.balancer import balancer, config, connect
from tests.support.servers import serving
from tests.support.tls_peers import TlsEnd, client_context, write_certificate

pytestmark = pytest.mark.slow
KIB = 1024
SECONDS = 2
TRIES = 5


async def pour(stream):
    """Send without end."""
    while True:
        await stream.send_all(bytes(64 * KIB))


class Sink:
    """A server that counts what comes."""

    def __init__(self):
        self.total = 0

    async def take(self, stream):
        async for chunk in stream:
            self.total += len(chunk)


@asynccontextmanager
async def limited(tmp_path, handler, bandwidth, more=""):
    async with serving(handler) as server:
        text = config(server, listener=f"bandwidth = {bandwidth}", health=None, top=more)
        async with balancer(tmp_path, text) as lb:
            yield lb


async def received(*streams):
    """Return the bytes a second that each stream gets, measured in SECONDS."""
    totals, begun = [0] * len(streams), trio.current_time()

    async def take(number, stream):
        while True:
            totals[number] += len(await stream.receive_some())

    with trio.move_on_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for number, stream in enumerate(streams):
                nursery.start_soon(take, number, stream)
    return [total / (trio.current_time() - begun) for total in totals]


async def until_near(rate, measure):
    """Repeat a measurement until its rates are near this one: on a busy machine they may be less, but never more."""
    for _ in range(TRIES):
        rates = await measure()
        assert max(rates) < 1.15 * rate
        if min(rates) > 0.8 * rate:
            return
    raise AssertionError(f"{rates}, not {rate}")


@pytest.mark.usefixtures("balancer_kind")
@pytest.mark.parametrize("rate", [100 * KIB, 8 * KIB * KIB])
async def test_a_connection_gets_its_rate_and_no_more(tmp_path, rate):
    async with limited(tmp_path, pour, f'"{rate // KIB}KiB"') as lb, await connect(lb.port) as stream:
        await until_near(rate, partial(received, stream))


async def test_what_comes_from_the_client_is_limited_too(tmp_path):
    sink = Sink()
    async with limited(tmp_path, sink.take, '"1MiB"') as lb, await connect(lb.port) as stream:

        async def taken():
            before, begun = sink.total, trio.current_time()
            with trio.move_on_after(SECONDS):
                await pour(stream)
            return [(sink.total - before) / (trio.current_time() - begun)]

        await until_near(KIB * KIB, taken)


@pytest.mark.usefixtures("splicer_kind")
async def test_streams_over_tls_are_limited_too(tmp_path):
    certificate = write_certificate(tmp_path, "a", "a.example.org")
    async with serving(pour) as server:
        text = config(server, listener=f'bandwidth = "1MiB"\n[listeners.web.tls]\n{certificate}', health=None)
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            end = await TlsEnd(stream, client_context(), server_name="a.example.org").shake_hands()
            await until_near(KIB * KIB, partial(received, end))


@pytest.mark.usefixtures("splicer_kind")
@pytest.mark.parametrize("scope", ["source", "listener"])
async def test_several_connections_share_evenly(tmp_path, scope):
    async with limited(tmp_path, pour, f'{{ {scope} = "2MiB" }}') as lb:
        streams = [await connect(lb.port) for _ in range(4)]
        rates = []

        async def together():
            rates[:] = await received(*streams)
            return [sum(rates)]

        await until_near(2 * KIB * KIB, together)
        for stream in streams:
            await trio.aclose_forcefully(stream)
    assert max(rates) < 1.5 * min(rates)


async def test_sources_do_not_share(tmp_path):
    async with (
        limited(tmp_path, pour, '{ source = "1MiB" }') as lb,
        await trio.open_tcp_stream("127.0.0.1", lb.port, local_address="127.0.0.2") as one,
        await trio.open_tcp_stream("127.0.0.1", lb.port, local_address="127.0.0.3") as other,
    ):
        await until_near(KIB * KIB, partial(received, one, other))


async def test_each_of_two_workers_has_half_of_the_listeners_bandwidth(tmp_path):
    async with (
        limited(tmp_path, pour, '{ listener = "2MiB" }', "[process]\nworkers = 2") as lb,
        await connect(lb.port) as stream,
    ):
        await until_near(KIB * KIB, partial(received, stream))


async def test_a_reload_changes_the_rate_of_open_connections(tmp_path):
    async with serving(pour) as server:
        before, after, without = (
            config(server, listener=f'bandwidth = "{rate}"', health=None) for rate in ("256KiB", "2MiB", "0")
        )
        async with balancer(tmp_path, before) as lb, await connect(lb.port) as stream:
            await until_near(256 * KIB, partial(received, stream))
            await lb.reload(after)
            await until_near(2 * KIB * KIB, partial(received, stream))
            await lb.reload(without)
            (rate,) = await received(stream)
            assert rate > 10 * KIB * KIB
