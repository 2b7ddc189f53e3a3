"""examples/redis-sentinel.toml with two Redis servers and a Sentinel beside each: a real failover."""

from __future__ import annotations

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, connect, request
from tests.support.examples import adapted, quick
from tests.support.real_databases import redis, sentinel
from tests.support.servers import free_port

pytestmark = pytest.mark.slow

FIRST, SECOND = "127.0.0.11", "127.0.0.12"


async def answer_of(place, command):
    host, port = place
    async with await connect(port, host) as stream:
        return await request(stream, command + b"\r")


async def until_answers(place, command, expected):
    with trio.fail_after(PATIENCE):
        while expected not in await answer_of(place, command):  # noqa: ASYNC110 - it has no other way to report it
            await trio.sleep(0.05)


async def test_clients_follow_the_master(tmp_path):
    port, sentinels = free_port(), free_port()
    text = adapted(
        "redis-sentinel",
        ('":6380"', '"127.0.0.1:0"'),
        (":6379", f":{port}"),
        ("port = 26379", f"port = {sentinels}"),
        quick("1s"),
    )
    async with (
        redis(host=FIRST, port=port),
        redis("--replicaof", f"{FIRST} {port}", "--replica-announce-ip", SECOND, host=SECOND, port=port),
    ):
        await until_answers((FIRST, port), b"INFO replication", b"state=online")  # the Sentinels ask once in 10 s
        async with (
            sentinel(FIRST, sentinels, FIRST, port),
            sentinel(SECOND, sentinels, FIRST, port),
            balancer(tmp_path, text) as lb,
        ):
            await lb.event("backend.restored", server=f"{FIRST}:{port}")
            front = ("127.0.0.1", lb.ports["redis"])
            assert await answer_of(front, b"SET who first") == b"+OK"
            assert not lb.of("backend.restored", server=f"{SECOND}:{port}"), "a replica gets no clients"
            await until_answers((FIRST, sentinels), b"SENTINEL FAILOVER mymaster", b"+OK")
            await lb.event("backend.ejected", server=f"{FIRST}:{port}")
            await lb.event("backend.restored", server=f"{SECOND}:{port}")
            assert await answer_of(front, b"SET who second") == b"+OK"
