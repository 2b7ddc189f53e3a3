"""The smtp probe with scripted servers."""

import re

import pytest

from healthcheck.probes.smtp import SmtpProbe
from tests.support.probe_server import failure, says, server

QUIT = b"QUIT\r\n"


def script(greeting, *answers, heard):
    """Sends a greeting, then answers each line; ``heard`` collects all bytes up to the client's EOF."""

    async def handle(stream):
        await stream.send_all(greeting)
        for answer in answers:
            heard.append(await stream.receive_some())
            await stream.send_all(answer)
        async for chunk in stream:
            heard.append(chunk)

    return handle


async def test_greeting_hello_goodbye():
    heard = []
    answers = (b"250-mail.example\r\n250-SIZE\r\n250 8BITMIME\r\n",)
    async with server(script(b"220-mail.example ESMTP\r\n220 no spam\r\n", *answers, heard=heard)) as target:
        assert await SmtpProbe(hello="lb.example").check(target) == "220 mail.example ESMTP"
    assert b"".join(heard) == b"EHLO lb.example\r\n" + QUIT


@pytest.mark.parametrize("code", [b"500", b"502"])
async def test_a_server_that_does_not_know_ehlo_gets_helo(code):
    heard = []
    async with server(script(b"220\r\n", code + b" what?\r\n", b"250 hello\n", heard=heard)) as target:
        assert await SmtpProbe().check(target) == "220"
    assert b"".join(heard) == b"EHLO localhost\r\nHELO localhost\r\n" + QUIT


@pytest.mark.parametrize(
    ("greeting", "answers", "reason", "heard_after"),
    [
        (b"421 too busy\r\n", [], "421 too busy", QUIT),
        (b"554-go\r\n554 away\r\n", [], "554 go", QUIT),
        (b"220 hi\r\n", [b"550 I do not know you\r\n"], "550 I do not know you", b"EHLO localhost\r\n" + QUIT),
        (b"220 hi\r\n", [b"421 bye\r\n"], "421 bye", b"EHLO localhost\r\n" + QUIT),
    ],
)
async def test_another_code_is_the_reason_and_the_end_is_as_polite(greeting, answers, reason, heard_after):
    heard = []
    async with server(script(greeting, *answers, heard=heard)) as target:
        assert await failure(SmtpProbe(), target) == reason
    assert b"".join(heard) == heard_after


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "closed the connection, no answer"),
        (b"220 ma", 'closed the connection, answer "220 ma" does not match'),
        (b"220-first\r\n", "closed the connection, no answer"),
        (b"SSH-2.0-OpenSSH\r\n", 'not an SMTP reply to the connect: "SSH-2.0-OpenSSH"'),
        (b"220-a\r\n250 b\r\n", 'not an SMTP reply to the connect: "250 b"'),
        (b"220x\r\n", 'not an SMTP reply to the connect: "220x"'),
        (b"220-\r\n" * 101, "more than 100 lines of reply to the connect"),
        (b"220 hi\r\n\xff\r\n", r'not an SMTP reply to EHLO: "\xff"'),
    ],
)
async def test_what_is_no_reply_is_said(said, reason):
    async with server(says(said)) as target:
        assert await failure(SmtpProbe(), target) == reason


@pytest.mark.parametrize(
    ("hello", "message"),
    [
        ("", "hello: must not be empty"),
        ("a b", "hello: must hold no spaces or control characters, not 'a b'"),
        ("a\r\nRSET", "hello: must hold no spaces or control characters, not 'a\\r\\nRSET'"),
        (5, "hello: must be a string, not 5"),
    ],
)
def test_bad_options_are_named(hello, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SmtpProbe(hello=hello)
