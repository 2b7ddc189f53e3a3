"""The postgres probe with scripted servers, and with a real one."""

import re
import signal
import struct

import pytest
import trio

from healthcheck.probe import ProbeFailed
from healthcheck.probes.postgres import PostgresProbe
from tests.support.balancer import PATIENCE
from tests.support.probe_server import failure, says, server, target_at
from tests.support.real_databases import postgres, psql

ASKS = b"R\0\0\0\x08\0\0\0\x05"
LETS_IN = b"R\0\0\0\x08\0\0\0\0"
READY = b"Z\0\0\0\x05I"
TERMINATE = b"X\0\0\0\4"


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def error(code, text):
    return message(b"E", b"SFATAL\0VFATAL\0C%s\0M%s\0Fpostmaster.c\0\0" % (code, text))


def startup(**words):
    body = struct.pack("!I", 196_608) + b"".join(f"{key}\0{value}\0".encode() for key, value in words.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def answers(answer, heard):
    async def handle(stream):
        heard.append(await stream.receive_some())
        await stream.send_all(answer)
        async for chunk in stream:
            heard.append(chunk)

    return handle


@pytest.mark.parametrize(
    ("answer", "detail", "goodbye"),
    [
        (LETS_IN + message(b"S", b"server_version\x0015\0") + message(b"K", bytes(8)) + READY, "ready", TERMINATE),
        (message(b"N", b"SNOTICE\0\0") + LETS_IN + READY, "ready", TERMINATE),
        (ASKS + b"salt", "alive, asks for authentication", b""),
        (message(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"), "alive, asks for authentication", b""),
        (error(b"28000", b'role "lb" does not exist'), 'alive, role "lb" does not exist', b""),
        (error(b"28P01", b"password authentication failed"), "alive, password authentication failed", b""),
        (LETS_IN + error(b"3D000", b'database "lb" does not exist'), 'alive, database "lb" does not exist', TERMINATE),
    ],
)
async def test_a_server_that_is_alive_passes(answer, detail, goodbye):
    heard = []
    async with server(answers(answer, heard)) as target:
        assert await PostgresProbe(user="lb").check(target) == detail
    assert b"".join(heard) == startup(user="lb", application_name="trio-lb") + goodbye


async def test_the_database_is_asked_for():
    heard = []
    async with server(answers(ASKS, heard)) as target:
        await PostgresProbe(user="né", database="web").check(target)
    assert b"".join(heard) == startup(user="né", database="web", application_name="trio-lb")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(b"57P03", b"the database system is starting up"), "the database system is starting up (57P03)"),
        (error(b"53300", b"sorry, too many clients already"), "sorry, too many clients already (53300)"),
        (LETS_IN + error(b"XX000", b"two\nlines"), "two (XX000)"),
        (message(b"E", b"\0"), "an error without a message"),
        (b"Ecould not fork new process for connection\n\0",
         'not an answer of PostgreSQL: "Ecould not fork new process for connection"'),
        (b"HTTP/1.1 400 Bad Request\r\n", 'not an answer of PostgreSQL: "HTTP/1.1 400 Bad Request"'),
        (b"R\0\0\0\3", 'not an answer of PostgreSQL: "R\\x00\\x00\\x00\\x03"'),
        (message(b"N", b"") * 1000, "not ready after 1000 messages"),
    ],
)  # fmt: skip
async def test_another_answer_is_the_reason(answer, reason):
    async with server(answers(answer, [])) as target:
        assert await failure(PostgresProbe(), target) == reason


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "closed the connection, no answer"),
        (b"R\0", r'closed the connection, answer "R\x00" does not match'),
        (LETS_IN, "closed the connection, no answer"),
        (LETS_IN + error(b"28000", b"who?")[:-5], 'closed the connection, answer "SFATAL'),
    ],
)
async def test_a_server_that_does_not_finish_its_answer_fails(said, reason):
    async with server(says(said, after=8)) as target:
        assert (await failure(PostgresProbe(), target)).startswith(reason)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": ""}, "user: must not be empty, the protocol requires one"),
        ({"user": "a\0b"}, "user: must hold no NUL"),
        ({"database": 5}, "database: must be a string, not 5"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PostgresProbe(**options)


@pytest.mark.slow
async def test_a_real_server_passes_and_its_log_says_nothing():
    async with postgres("log_min_messages=debug1") as running:
        target = target_at(running.port)
        await psql(running, "CREATE ROLE trusted LOGIN")
        for _ in range(3):
            assert await PostgresProbe(user="trusted", database="postgres").check(target) == "ready"
            assert await PostgresProbe().check(target) == "alive, asks for authentication"
            assert await PostgresProbe(user="nobody").check(target) == "alive, asks for authentication"
    said = running.log_between("ready to accept connections", "received fast shutdown request")
    assert not [line for line in said if re.search("LOG|WARNING|ERROR|FATAL", line)]


@pytest.mark.slow
async def test_a_real_server_that_refuses_the_user_or_the_database_is_alive_but_logs_it():
    async with postgres() as running:
        target = target_at(running.port)
        await psql(running, "CREATE ROLE trusted LOGIN")
        missing = await PostgresProbe(user="trusted").check(target)
        refused = await PostgresProbe(user="rejected").check(target)
    assert missing == 'alive, database "trusted" does not exist'
    assert refused.startswith("alive, pg_hba.conf rejects connection for host")
    assert 'FATAL:  database "trusted" does not exist' in running.log


@pytest.mark.slow
async def test_a_real_server_that_shuts_down_fails_while_others_finish():
    async with postgres() as running:
        target = target_at(running.port)
        await psql(running, "CREATE ROLE trusted LOGIN")
        async with await target.connect() as session:
            await session.send_all(startup(user="trusted", database="postgres"))
            heard = b""
            while not heard.endswith(READY):
                heard += await session.receive_some()
            running.process.send_signal(signal.SIGTERM)  # "smart": it waits for the session
            with trio.fail_after(PATIENCE):
                said = "alive"
                while said.startswith("alive"):  # an external program has no other way to report that it got the signal
                    said = await verdict(PostgresProbe(), target)
    assert said == "the database system is shutting down (57P03)"


@pytest.mark.slow
async def test_a_real_standby_that_takes_no_sessions_fails():
    async with postgres("hot_standby=off", "primary_conninfo=host=127.0.0.1 port=1", standby=True) as running:
        assert "(57P03)" in await failure(PostgresProbe(), target_at(running.port))


@pytest.mark.slow
async def test_a_real_server_without_room_fails():
    async with postgres("max_connections=4", "superuser_reserved_connections=3") as running:
        target = target_at(running.port)
        await psql(running, "CREATE ROLE trusted LOGIN")
        async with await target.connect() as session:
            await session.send_all(startup(user="trusted", database="postgres"))
            heard = b""
            while not heard.endswith(READY):
                heard += await session.receive_some()
            reason = await failure(PostgresProbe(user="trusted", database="postgres"), target)
    assert reason.startswith("remaining connection slots are reserved")
    assert reason.endswith("(53300)")


async def verdict(probe, target):
    """Return the detail or the reason."""
    try:
        return await probe.check(target)
    except ProbeFailed as failed:
        return str(failed)
