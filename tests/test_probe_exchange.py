import re

import pytest
import trio
import trio.testing

from healthcheck.exchange import ExchangeProbe
from healthcheck.probe import ProbeFailed
from tests.probe_server import failure, says, server, stays_silent


async def test_exchange_passes_when_the_answer_matches():
    async with server(says(b"+PONG\r\n", after=6)) as target:
        assert await ExchangeProbe(send="PING\r\n", expect=r"^\+PONG").check(target) == 'answer "+PONG"'


async def test_exchange_without_send_reads_the_greeting():
    async with server(says(b"220 mail.example ESMTP\r\n")) as target:
        assert await ExchangeProbe(expect="^220 ").check(target) == 'answer "220 mail.example ESMTP"'


async def test_exchange_without_expect_is_content_with_sending():
    async with server(stays_silent) as target:
        assert await ExchangeProbe(send="né\r\n").check(target) == "sent 5 bytes"


async def test_exchange_matches_an_answer_that_comes_in_pieces():
    gate = trio.Event()

    async def handle(stream):
        await stream.send_all(b"220-first\r\n22")
        await gate.wait()
        await stream.send_all(b"0 last\r\n\xff")

    async with server(handle) as target, trio.open_nursery() as nursery:
        nursery.start_soon(ExchangeProbe(expect=r"(?m)^220 .*\n\xff$").check, target)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()


@pytest.mark.parametrize(
    ("handle", "reason"),
    [
        (says(b"-ERR\r\nmore", after=4), 'closed the connection, answer "-ERR" does not match'),
        (says(b"\x00\xff\x1b\n", after=4), r'closed the connection, answer "\x00\xff\x1b" does not match'),
        (says(b"x" * 61, after=4), f'closed the connection, answer "{"x" * 60}…" does not match'),
        (says(after=4), "closed the connection, no answer"),
        (says(bytes(65_536), after=4), "the first 65536 bytes of the answer do not match"),
    ],
)
async def test_exchange_says_what_came_instead(handle, reason):
    async with server(handle) as target:
        assert await failure(ExchangeProbe(send="PING", expect="PONG"), target) == reason


async def test_exchange_says_what_came_instead_when_time_runs_out():
    time_out = trio.CancelScope()

    async def handle(stream):
        await stream.send_all(b"-LOADING\r\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        time_out.cancel()

    async with server(handle) as target:
        with pytest.raises(ProbeFailed, match=r'^answer "-LOADING" does not match$'), time_out:
            await ExchangeProbe(expect="PONG").check(target)


async def test_exchange_with_a_silent_server_is_cancelled_by_its_timeout():
    async with server(stays_silent) as target:
        with trio.move_on_after(0.05) as time_out:
            await ExchangeProbe(send="PING", expect="PONG").check(target)
    assert time_out.cancelled_caught


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exchange needs 'send', 'expect' or both"),
        ({"send": 1}, "send: must be a string, not 1"),
        ({"expect": "*"}, "expect: '*' is not a regular expression: "),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        ExchangeProbe(**options)
