"""Clients of the port of RTMP that mean no good: garbage, slowness, silence. Others see nothing of them."""

from __future__ import annotations

import itertools
import os
import random

import pytest
import trio

from lb.media.rtmp.client_session import RtmpClientSession
from lb.media.rtmp.handshake import NOISE_BYTES
from lb.model.rtmp_address import read_rtmp_address
from tests.support.balancer import balancer, connect
from tests.support.effort import DEEP
from tests.support.publishing import film_frames, live_config, publishing, stream_url
from tests.support.viewing import viewer

pytestmark = pytest.mark.slow
LONGEST = 15
"""Seconds that garbage may stay connected, in the contract."""
HELLO = b"\x03" + bytes(8) + os.urandom(NOISE_BYTES)
GARBAGE = {
    "nothing": b"",
    "a byte": b"\x03",
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "another version": b"\x09" + bytes(1536),
    "zeros": bytes(100_000),
    "noise": random.Random(1).randbytes(100_000),
    "half a handshake": HELLO[:700],
    "a handshake, then nothing": HELLO + bytes(1536),
    "a handshake, then zeros": HELLO + bytes(1536) + bytes(50_000),
    "a handshake, then noise": HELLO + bytes(1536) + random.Random(2).randbytes(50_000),
    "a message of 16 MiB": HELLO + bytes(1536) + b"\x03\0\0\0\xff\xff\xff\x14\0\0\0\0" + bytes(1000),
    "many chunk streams": HELLO
    + bytes(1536)
    + b"".join(b"%c\0\0\0\0\x01\0\x14\0\0\0\0" % each for each in range(3, 63)),
    "deep AMF": HELLO + bytes(1536) + b"\x03\0\0\0\0\x80\0\x14\0\0\0\0" + b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0"
    + b"\x03\0\x01a" * 30,
}  # fmt: skip


async def left_alone(lb, data):
    """Send garbage and then nothing. Return after how many seconds the connection is closed."""
    began = trio.current_time()
    try:
        async with await connect(lb.ports["rtmp"]) as stream:
            if data:
                await stream.send_all(data)
            async for _ in stream:
                pass
    except trio.BrokenResourceError:
        pass
    return trio.current_time() - began


async def test_garbage_is_closed_soon_and_harms_nobody(tmp_path):
    async with balancer(tmp_path, live_config()) as lb, viewer(lb) as show, publishing(lb) as publisher:
        times = {}

        async def send(name, data):
            times[name] = await left_alone(lb, data)

        async with trio.open_nursery() as following:
            following.start_soon(publisher.follow)
            async with trio.open_nursery() as nursery:
                for name, data in GARBAGE.items():
                    nursery.start_soon(send, name, data)
                nursery.start_soon(slow_loris, lb, times)
            assert {name: seconds for name, seconds in times.items() if seconds > LONGEST} == {}
            await show.until(lambda found: found.segments[-1].duration > 0)
            following.cancel_scope.cancel()
        assert not lb.of("media.process_restarted", "stream.unpublished", "stream.jumped")
        assert {event["reason"] for event in lb.of("stream.refused")} <= {"handshake", "protocol", "limit"}


async def slow_loris(lb, times):
    """Send the handshake byte by byte, until the connection is closed."""
    began = trio.current_time()
    try:
        async with await connect(lb.ports["rtmp"]) as stream:
            for byte in HELLO + bytes(1536):
                await stream.send_all(bytes([byte]))
                with trio.move_on_after(0.1):
                    if not await stream.receive_some():
                        break
    except trio.BrokenResourceError:
        pass
    times["byte by byte"] = trio.current_time() - began


async def mutated_publisher(lb, choice):
    """Publish with a real session whose bytes are changed here and there."""
    session = RtmpClientSession(read_rtmp_address(stream_url(lb, "fuzz")), "publish", os.urandom(NOISE_BYTES), 0.0)
    frames = itertools.cycle(film_frames().frames[:40])
    try:
        async with await connect(lb.ports["rtmp"]) as stream:
            with trio.move_on_after(2):
                started = False
                for _ in range(60):
                    if started:
                        for _ in range(5):
                            session.send_frame(next(frames))
                    data = bytearray(session.outgoing())
                    late = started or choice.random() < 0.3
                    for _ in range(choice.choice((0, 1, 1, 3)) if late and data else 0):
                        data[choice.randrange(len(data))] = choice.choice((0, 1, 127, 128, 255, choice.randrange(256)))
                    if data and choice.random() < 0.05:
                        del data[choice.randrange(len(data)) :]
                    await stream.send_all(data)
                    if started:
                        await trio.lowlevel.checkpoint()
                        continue
                    session.receive(await stream.receive_some(), 0.0)
                    if session.deadline == float("inf"):
                        started = True
                        for config in film_frames().configs:
                            session.send_config(config)
    except trio.BrokenResourceError:
        pass


async def test_mutated_publishers_harm_nobody(tmp_path):
    choice = random.Random(20)
    text = live_config('second_publisher = "replace"')
    async with balancer(tmp_path, text) as lb, viewer(lb) as show, publishing(lb) as publisher:
        for _ in range(200 if DEEP else 1):
            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(mutated_publisher, lb, choice)
            await publisher.send(0.1)
        await publisher.send(2)
        await show.until(lambda found: len(found.segments) >= 3)
        assert not lb.of("media.process_restarted")
        assert not lb.of("stream.unpublished", stream="live/show")
