"""Servers whose answers to checks cost much: they fail their checks, and hold up nothing else."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

import pytest
import trio

from tests.support.balancer import config, connect, request
from tests.support.operating import ADMIN, operated
from tests.support.probe_server import server
from tests.support.processes import cpu_seconds
from tests.support.servers import serving

pytestmark = pytest.mark.slow
HEAD = b"HTTP/1.1 200 OK\r\n"
FLOODS = {
    "digits": HEAD + b"\r\n" + b"1" * 65_536,
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n1\r\n" * 5000,
    "headers": HEAD + b"a:\r\n" * 5000,
}
CHECKS = 'probe = "http"\nexpect_body = "\\\\d+ up"\ninterval = "100ms"\nfast_interval = "50ms"'
FAILED = 'lb_checks_total{result="fail"}'


def floods(text):
    async def handle(stream):
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()
            while True:
                await stream.send_all(text)

    return handle


async def test_no_answer_to_a_check_holds_up_the_balancer(tmp_path):
    """A regular expression took ten seconds of the interpreter for one answer, and a flood two thirds of a core."""
    async with serving(name="a") as fine, AsyncExitStack() as stack:
        targets = {name: await stack.enter_async_context(server(floods(text))) for name, text in FLOODS.items()}
        hostile = "".join(
            f'[[pools.hostile.servers]]\nname = "{name}"\naddress = "{target.address.text}"\n'
            for name, target in targets.items()
        )
        front = '[listeners.hostile]\nbind = "127.0.0.1:0"\npool = "hostile"'
        text = f"{config(fine, top=ADMIN)}{front}\n[pools.hostile.health]\n{CHECKS}\n{hostile}"
        async with operated(tmp_path, text) as (lb, operator):
            for name in FLOODS:
                await lb.event("backend.ejected", server=name)
            before, cpu = (await operator.metrics())[FAILED], cpu_seconds(lb.process.pid)
            async with await connect(lb.port) as stream:
                metrics = await operator.until(operator.metrics, lambda metrics: metrics[FAILED] >= before + 20)
                cpu = cpu_seconds(lb.process.pid) - cpu
                assert await request(stream, b"name") == b"a"
            assert cpu / (metrics[FAILED] - before) < 0.1
            assert {event["server"] for event in lb.of("backend.ejected")} == FLOODS.keys()
