"""The mysql probe with scripted servers, and with a real MariaDB."""

import contextlib
import re
import struct

import attrs
import pytest
import trio

from healthcheck.probe import Target
from healthcheck.probes.mysql import MysqlProbe
from healthcheck.probes.tcp import TcpProbe
from tests.support.balancer import PATIENCE
from tests.support.probe_server import failure, says, server, target_at
from tests.support.real_databases import mariadb, sql


def packet(number, payload):
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


def error(code, text, state=b""):
    return b"\xff" + struct.pack("<H", code) + state + text


GREETING = packet(0, b"\n8.0.36\0" + bytes(44) + b"mysql_native_password\0")
OK = b"\0\0\0\2\0\0\0"
DENIED = error(1045, b"Access denied for user 'lb'@'10.0.0.1' (using password: NO)", b"#28000")
LOGIN = (
    struct.pack("<IIB23x", 0x1 | 0x200 | 0x8000 | 0x80000, 65_536, 33)
    + b"lb\0"  # the user
    + b"\0"  # no password
    + b"mysql_native_password\0"
)
QUIT = packet(0, b"\1")


def script(*answers, heard):
    """Sends a greeting, then answers each packet of the client; ``heard`` collects all bytes up to the client's EOF."""

    async def handle(stream):
        await stream.send_all(GREETING)
        for answer in answers:
            heard.append(await stream.receive_some())
            await stream.send_all(answer)
        async for chunk in stream:
            heard.append(chunk)

    return handle


@pytest.mark.parametrize(
    ("answers", "replies", "detail", "goodbye"),
    [
        ([packet(2, OK)], b"", "logged in, 8.0.36", QUIT),
        ([packet(2, DENIED)], b"", "alive, Access denied for user 'lb'@'10.0.0.1' (using password: NO)", b""),
        ([packet(2, b"\xfemysql_native_password\0salt\0"), packet(4, OK)], packet(3, b""), "logged in, 8.0.36", QUIT),
        ([packet(2, b"\xfecaching_sha2_password\0salt\0"), packet(4, b"\1\3") + packet(5, OK)], packet(3, b"\0"),
         "logged in, 8.0.36", QUIT),
        ([packet(2, b"\1\4"), packet(4, error(1045, b"no", b"#28000"))], packet(3, b"\0"), "alive, no", b""),
        ([packet(2, b"\xfe"), packet(4, error(1698, b"denied"))], packet(3, b""), "alive, denied", b""),
    ],
)  # fmt: skip
async def test_a_finished_login_passes(answers, replies, detail, goodbye):
    heard = []
    async with server(script(*answers, heard=heard)) as target:
        assert await MysqlProbe(user="lb").check(target) == detail
    assert b"".join(heard) == packet(1, LOGIN) + replies + goodbye


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (packet(0, error(1040, b"Too many connections")), "Too many connections"),
        (packet(0, error(1129, b"Host '10.0.0.1' is blocked", b"#HY000")), "Host '10.0.0.1' is blocked"),
        (packet(0, error(1130, b"")), "error 1130"),
        (packet(0, b"\xff"), "error 0"),
        (packet(0, b"\x08old\0"), r'not a greeting of MySQL: "\x08old\x00"'),
        (packet(0, b"\nno end"), 'not a greeting of MySQL: "no end"'),
        (packet(0, b""), r'not an answer of MySQL: "\x00\x00\x00\x00"'),
        (b"HTTP/1.1 400 Bad Request\r\n", 'not an answer of MySQL: "HTTP/1.1 400 Bad Request"'),
        (GREETING + packet(2, error(1053, b"Server shutdown in progress", b"#08S01")), "Server shutdown in progress"),
        (GREETING + packet(2, b"?what"), 'not an answer to a login: "?what"'),
        (GREETING + packet(2, b"\1\3") * 5, r'not an answer to a login: "\x01\x03"'),
        (b"", "closed the connection, no answer"),
        (GREETING[:30], r'closed the connection, answer "8.0.36'),
    ],
)
async def test_another_answer_is_the_reason(said, reason):
    async with server(says(said)) as target:
        assert (await failure(MysqlProbe(), target)).startswith(reason)


async def test_a_server_that_closes_in_place_of_an_answer_to_the_login_fails():
    async def handle(stream):
        await stream.send_all(GREETING)
        await stream.receive_some()

    async with server(handle) as target:
        assert await failure(MysqlProbe(), target) == "closed the connection, no answer"


@pytest.mark.parametrize(
    ("user", "message"), [("a\0b", "user: must hold no NUL"), (5, "user: must be a string, not 5")]
)
def test_bad_options_are_named(user, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MysqlProbe(user=user)


@attrs.frozen
class FromElsewhere(Target):
    """A target reached from 127.0.0.2: servers count no host errors for 127.0.0.1 and never block it."""

    async def connect_socket(self):
        connecting = trio.socket.socket()
        await connecting.bind(("127.0.0.2", 0))
        await connecting.connect(self.sockaddr[1])
        return trio.SocketStream(connecting)


@pytest.fixture
def from_elsewhere():
    """Over a stream only, as only :class:`FromElsewhere` has a source address."""
    return lambda port: FromElsewhere(*attrs.astuple(target_at(port), recurse=False))


async def aborted(running):
    return int((await sql(running, "SHOW GLOBAL STATUS LIKE 'Aborted_connects'")).split()[1])


HOST_CACHE = "SELECT sum_connect_errors FROM performance_schema.host_cache WHERE ip = '127.0.0.2'"


@pytest.mark.slow
async def test_a_real_server_counts_no_aborted_connects_and_its_log_says_nothing():
    async with mariadb() as running:
        await sql(running, "CREATE USER lb@localhost")
        before = await aborted(running)
        for _ in range(5):
            assert (await MysqlProbe(user="lb").check(target_at(running.port))).startswith("logged in, ")
        assert await aborted(running) == before
    said = running.log_between("Version:", "Normal shutdown")
    ours = [
        line for line in said if "user: 'unauthenticated'" not in line
    ]  # the test's own connect, to see whether the port accepts
    assert len(said) <= len(ours) + 1
    assert not [line for line in ours if re.search(r"\[(Warning|ERROR)\]", line)]


@pytest.mark.slow
async def test_a_real_server_does_not_block_the_host_of_the_probe(from_elsewhere):
    async with mariadb("--max-connect-errors=5") as running:
        await sql(running, "CREATE USER lb@'%'")
        before = await aborted(running)
        for _ in range(6):
            assert (await MysqlProbe(user="lb").check(from_elsewhere(running.port))).startswith("logged in, ")
        assert await aborted(running) == before
        for _ in range(6):  # without a user such a login counts as aborted, but not against the host
            detail = await MysqlProbe().check(from_elsewhere(running.port))
            assert detail == "alive, Access denied for user ''@'127.0.0.2' (using password: NO)"
        assert await aborted(running) == before + 6
        assert await sql(running, HOST_CACHE) == "0"


@pytest.mark.slow
async def test_a_real_server_that_has_blocked_the_balancer_fails(from_elsewhere):
    """Five tcp checks cause this: they leave without a login."""
    async with mariadb("--max-connect-errors=5") as running:
        await sql(running, "CREATE USER lb@'%'")
        target = from_elsewhere(running.port)
        for _ in range(5):
            await TcpProbe().check(target)
        with trio.fail_after(PATIENCE):
            while await sql(running, HOST_CACHE) != "5":  # an external program has no other way to report it
                pass
        reason = await failure(MysqlProbe(user="lb"), target)
    assert reason.startswith("Host '127.0.0.2' is blocked because of many connection errors")


@pytest.mark.slow
async def test_a_real_server_without_room_fails():
    async with mariadb("--max-connections=10", "--extra-max-connections=1") as running:
        target = target_at(running.port)
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(11):  # one connection is reserved for the superuser
                stream = await stack.enter_async_context(await target.connect())
                await stream.receive_some()
            assert await failure(MysqlProbe(), target) == "Too many connections"
