import re
import socket

import attrs
import pytest
import trio
import trio.testing

from healthcheck.probe import ProbeFailed, Target
from healthcheck.probes.exchange import ExchangeProbe
from lb.model.address import Address
from tests.support.probe_server import failure, resets, says, server, stays_silent


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


# Steps


def replies(*answers):
    """Sends the first answer as a greeting, then one for each chunk that it receives, and closes."""

    async def handle(stream):
        await stream.send_all(answers[0])
        for answer in answers[1:]:
            await stream.receive_some()
            await stream.send_all(answer)

    return handle


LOGIN = [
    {"expect": "^hello\\n"},
    {"name": "login", "send": "user x\n", "expect": "^ok\\n"},
    {"send": "ping\n", "expect": "^ok\\n"},
]


async def test_each_step_looks_at_what_comes_after_the_last_one_s_match():
    async with server(replies(b"hello\n", b"ok\n", b"ok\nbye\n")) as target:
        assert await ExchangeProbe(steps=LOGIN).check(target) == 'answer "ok"'


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([b"hi\n"], 'step 1: closed the connection, answer "hi" does not match'),
        ([b"hello\n", b"denied\n"], 'step 2 (login): closed the connection, answer "denied" does not match'),
        ([b"hello\n", b"ok\n", b"no\n"], 'step 3: closed the connection, answer "no" does not match'),
        ([b"hello\n", b"ok\n", b""], "step 3: closed the connection, no answer"),
    ],
)
async def test_the_step_that_fails_is_named(answers, reason):
    async with server(replies(*answers)) as target:
        assert await failure(ExchangeProbe(steps=LOGIN), target) == reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"", "step 2 (login): no answer in time"), (b"o", 'step 2 (login): answer "o" does not match')],
)
async def test_the_step_that_takes_too_long_is_named(answer, reason):
    time_out = trio.CancelScope()

    async def handle(stream):
        await stream.send_all(b"hello\n")
        await stream.receive_some()
        await stream.send_all(answer)
        await trio.testing.wait_all_tasks_blocked(0.01)
        time_out.cancel()
        await stays_silent(stream)

    async with server(handle) as target:
        with pytest.raises(ProbeFailed) as caught, time_out:
            await ExchangeProbe(steps=LOGIN).check(target)
    assert str(caught.value) == reason


async def test_the_step_in_which_the_server_resets_is_named():
    async def handle(stream):
        await stream.send_all(b"hello\n")
        await stream.receive_some()
        await resets(stream)

    async with server(handle) as target:
        assert await failure(ExchangeProbe(steps=LOGIN), target) == "step 2 (login): connection reset"


async def test_exchange_sends_bytes_and_the_place_of_the_check():
    heard = []

    async def handle(stream):
        heard.append(await stream.receive_some())

    async with server(handle) as target:
        send = r"\x00\xff{host}|{port}|{server}|{pool}|\x7bhost}" + "\r\n"
        await ExchangeProbe(send=send).check(target)
    port = target.address.port
    assert heard == [b"\x00\xff127.0.0.1|%d|a|{pool}|{host}\r\n" % port]


async def test_what_is_filled_in_has_no_escapes_of_its_own():
    heard = []

    async def handle(stream):
        heard.append(await stream.receive_some())
        await stream.send_all(heard[-1])

    async with server(handle) as target:
        odd = attrs.evolve(target, server=r"a\x41(+")
        await ExchangeProbe(send="{server}", expect="^{server}$").check(odd)
        assert await failure(ExchangeProbe(send="other", expect="^{server}$"), odd)
    assert heard[0] == rb"a\x41(+"


async def test_exchange_expects_the_place_of_the_check():
    async with server(says(b"220 127.0.0.1 ready\r\n")) as target:
        await ExchangeProbe(expect="^220 {host} ").check(target)
    async with server(says(b"220 127x0.0.1 ready\r\n")) as target:
        assert "does not match" in await failure(ExchangeProbe(expect="^220 {host} "), target)


async def test_exchange_with_a_unix_socket_has_a_path_and_no_port(tmp_path):
    path = str(tmp_path / "socket")
    target = Target("web", "a", Address.parse(f"unix:{path}"), ((socket.AF_UNIX, path),))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        sent = await ExchangeProbe(send="{host}{port}").check(target)
    assert sent == f"sent {len(path)} bytes"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"send": r"\x1 secret"}, r"send: '\x' needs two hexadecimal digits, as in '\x0a'"),
        ({"send": "x", "steps": [{"send": "y"}]}, "steps: put 'send' and 'expect' into the steps"),
        ({"steps": "PING"}, "steps: must be a list"),
        ({"steps": ["PING"]}, "steps: step 1: must be a table"),
        ({"steps": [{"send": "x"}, {}]}, "steps: step 2: needs 'send', 'expect' or both"),
        ({"steps": [{"sent": "x"}]}, "steps: step 1: unknown key 'sent'; a step has send, expect and name"),
        ({"steps": ((("send", "x"), ("expect", "*")),)}, "steps: step 1: expect: '*' is not a regular expression: "),
        ({"steps": [{"send": 1}]}, "steps: step 1: send: must be a string"),
        ({}, "exchange needs 'send', 'expect' or both, or 'steps'"),
        ({"send": 1}, "send: must be a string"),  # the value is not shown: it may be a password
        ({"expect": "*"}, "expect: '*' is not a regular expression: "),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        ExchangeProbe(**options)
