"""TCP urgent data: the balancer forwards every byte of it in line."""

from __future__ import annotations

import socket

import pytest
import trio

from tests.support.balancer import PATIENCE
from tests.support.splicing import running_splicer

pytestmark = pytest.mark.usefixtures("splicer_kind")


@pytest.mark.parametrize("end", [True, False])
async def test_an_urgent_byte_and_what_follows_it_arrive_in_line(end):
    async with running_splicer() as bench:
        joined = await bench.join()
        sender = joined.client.socket
        await sender.send(b"before")
        await sender.send(b"!", socket.MSG_OOB)
        await sender.send(b"after")
        if end:
            await joined.client.send_eof()
        received = b""
        with trio.fail_after(PATIENCE):
            while len(received) < 12:
                received += await joined.server.receive_some()
        assert received == b"before!after"
