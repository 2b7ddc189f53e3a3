"""The steps of ``lb demo forward`` find out a proxy that does not do what they show."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager

import pytest
import trio

from lb.tools.demo.forward_steps import StepTools, show_refusals, show_silence, show_tunnel
from lb.tools.demo.proxy_client import ProxyClient, WrongAnswerError
from tests.support.servers import read_head, serving

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nProxy-Status: trio-lb; error=destination_ip_prohibited\r\n\r\n"
TOO_LATE = b"HTTP/1.1 504 Gateway Timeout\r\nProxy-Status: trio-lb; error=dns_timeout\r\n\r\n"


class FakeProxy:
    """Answers CONNECT by name, and what is asked in tunnels. silent.test is answered once tunnels have been used."""

    def __init__(self, answers):
        self.answers = answers
        self.tunnels = 0
        self.used = trio.Event()

    async def serve(self, stream):
        head = await read_head(stream)
        target = head.split()[1].decode()
        answer = self.answers.get(target.partition(".test")[0], FORBIDDEN)
        if target.startswith("silent"):
            await self.used.wait()
        await stream.send_all(answer)
        if answer is OK:
            while await read_head(stream):
                self.tunnels += 1
                await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nThis is origin.\n")
                if self.tunnels > 2:
                    self.used.set()


RIGHT = {"origin": OK, "silent": TOO_LATE, "late": TOO_LATE}


@asynccontextmanager
async def tools(**changes):
    """Yield the tools of steps, for a proxy that answers right but for these changes; and the list of what is said."""
    said = []
    proxy = FakeProxy({**RIGHT, **changes})
    async with serving(proxy.serve) as served:
        clients = [ProxyClient(int(served.address.rpartition(":")[2]), [].append) for _ in range(2)]
        yield StepTools(*clients, 80, said.append), said


@pytest.mark.parametrize("step", [show_tunnel, show_refusals, show_silence])
async def test_a_proxy_that_does_right_passes(step):
    async with tools() as (made, said):
        await step(made)
    assert len(said) >= 3


@pytest.mark.parametrize(
    ("step", "changes", "problem"),
    [
        (show_tunnel, {"origin": b"HTTP/1.1 502 Bad Gateway\r\n\r\n"}, "'HTTP/1.1 502 Bad Gateway' in place of 200"),
        (show_tunnel, {"origin": b"nonsense\r\n\r\n"}, "'nonsense' is no answer to CONNECT"),
        (show_tunnel, {"origin": b"HTTP/1.1 200 OK"}, "the connection ended after b'HTTP/1.1 200 OK'"),
        (show_refusals, {"inside": OK}, "'HTTP/1.1 200 Connection established' in place of 403"),
        (show_silence, {"silent": b"HTTP/1.1 504"}, "the connection ended after b'HTTP/1.1 504'"),
        (show_silence, {"silent": FORBIDDEN}, "'HTTP/1.1 403 Forbidden' in place of 504"),
    ],
)
async def test_a_proxy_that_does_wrong_is_found_out(step, changes, problem):
    async with tools(**changes) as (made, _):
        with pytest.raises(WrongAnswerError, match=re.escape(problem)):
            await step(made)


async def test_others_that_fail_while_a_name_is_looked_up_are_found_out():
    async with tools() as (made, _):
        made.lab = Failing(made.lab)
        with pytest.raises(
            WrongAnswerError, match=r"a tunnel failed while a name was looked up: HTTP/1.1 502 in place"
        ):
            await show_silence(made)


class Failing:
    """A client whose tunnels fail. ``silent.test`` is answered once one has."""

    def __init__(self, client):
        self._client = client
        self._failed = trio.Event()

    @asynccontextmanager
    async def connect(self, target):
        if target.startswith("origin"):
            self._failed.set()
            raise WrongAnswerError("HTTP/1.1 502 in place of 200")
        await self._failed.wait()
        async with self._client.connect("late.test:443") as answer:
            yield answer
