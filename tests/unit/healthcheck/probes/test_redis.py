"""The redis probe with scripted servers, and with a real one."""

import pytest
import trio

from healthcheck.probes.redis import RedisProbe
from tests.support.probe_server import failure, says, server, stays_silent, target_at
from tests.support.real_databases import redis
from tests.support.servers import free_port

PING = b"*1\r\n$4\r\nPING\r\n"
QUIT = b"*1\r\n$4\r\nQUIT\r\n"
AUTH = b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"


def script(*answers, heard):
    """Sends the answers in turn, one per command; ``heard`` collects all bytes up to the client's EOF."""

    async def handle(stream):
        for answer in answers:
            heard.append(await stream.receive_some())
            await stream.send_all(answer)
        async for chunk in stream:
            heard.append(chunk)

    return handle


async def test_ping_then_quit():
    heard = []
    async with server(script(b"+PONG\r\n", b"+OK\r\n", heard=heard)) as target:
        assert await RedisProbe().check(target) == "PONG"
    assert b"".join(heard) == PING + QUIT


@pytest.mark.parametrize(
    ("options", "auth"),
    [
        ({"password": "secret"}, AUTH),
        ({"password": "sé cret", "username": "lb"}, b"*3\r\n$4\r\nAUTH\r\n$2\r\nlb\r\n$8\r\ns\xc3\xa9 cret\r\n"),
    ],
)
async def test_a_password_goes_first(options, auth):
    heard = []
    async with server(script(b"+OK\r\n", b"+PONG\r\n", b"+OK\r\n", heard=heard)) as target:
        assert await RedisProbe(**options).check(target) == "PONG"
    assert b"".join(heard) == auth + PING + QUIT


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "LOADING Redis is loading the dataset in memory"),
        (b"-NOAUTH Authentication required.\r\n", "NOAUTH Authentication required."),
        (b"-BUSY a script\x1b[2J\n", "BUSY a script?[2J"),
        (b"-\r\n", "an error without a message"),
        (b":1\r\n", 'answer ":1" to PING'),
        (b"+PONGO\r\n", 'answer "+PONGO" to PING'),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 'answer "HTTP/1.1 400 Bad Request" to PING'),
    ],
)
async def test_another_answer_is_the_reason_and_the_end_is_as_polite(answer, reason):
    heard = []
    async with server(script(answer, heard=heard)) as target:
        assert await failure(RedisProbe(), target) == reason
    assert b"".join(heard) == PING + QUIT


@pytest.mark.parametrize(
    ("handle", "reason"),
    [
        (says(after=4), "closed the connection, no answer"),
        (says(b"+PO", after=4), 'closed the connection, answer "+PO" does not match'),
        (says(b"x" * 70_000, after=4), f'a line of more than 65536 bytes: "{"x" * 60}…"'),
    ],
)
async def test_a_server_that_does_not_finish_its_answer_fails(handle, reason):
    async with server(handle) as target:
        assert await failure(RedisProbe(), target) == reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
         "AUTH: WRONGPASS invalid username-password pair or user is disabled."),
        (b"-ERR unknown command 'AUTH', with args beginning with: 'secret' \r\n", "AUTH: ERR unknown command"),
        (b"-ERR secret is wrong\r\n", "AUTH: ERR … is wrong"),
        (b"+secret\r\n", "AUTH: not an answer of Redis"),
    ],
)  # fmt: skip
async def test_a_refused_login_says_why_and_not_the_password(answer, reason):
    async with server(script(answer, heard=[])) as target:
        assert await failure(RedisProbe(password="secret"), target) == reason


def test_bad_options_are_named_and_a_password_is_not_repeated():
    with pytest.raises(ValueError, match=r"^username: needs 'password' as well$"):
        RedisProbe(username="lb")
    with pytest.raises(ValueError, match=r"^password: must be a string$"):
        RedisProbe(password=1234)


async def test_a_silent_server_is_the_business_of_the_timeout():
    async with server(stays_silent) as target:
        with trio.move_on_after(0.05) as time_out:
            await RedisProbe().check(target)
    assert time_out.cancelled_caught


@pytest.mark.slow
async def test_a_real_redis_passes_and_its_log_says_nothing():
    async with redis("--loglevel", "verbose") as running:
        target = target_at(running.port)
        for _ in range(3):
            assert await RedisProbe().check(target) == "PONG"
    said = running.log_between("Ready to accept connections", "SIGTERM")
    assert sum("Accepted" in line for line in said) >= 3  # it is verbose
    assert not [line for line in said if " # " in line]  # Redis marks a warning with it


@pytest.mark.slow
async def test_a_real_redis_with_a_password_wants_it():
    async with redis("--requirepass", "secret") as running:
        target = target_at(running.port)
        assert await failure(RedisProbe(), target) == "NOAUTH Authentication required."
        assert (await failure(RedisProbe(password="wrong"), target)).startswith("AUTH: WRONGPASS invalid")
        assert await RedisProbe(password="secret").check(target) == "PONG"
        assert await RedisProbe(password="secret", username="default").check(target) == "PONG"


@pytest.mark.slow
async def test_a_real_redis_that_does_not_know_auth_does_not_make_the_probe_tell_the_password():
    async with redis("--rename-command", "AUTH", "", "--requirepass", "secret") as running:
        assert await failure(RedisProbe(password="secret"), target_at(running.port)) == "AUTH: ERR unknown command"


@pytest.mark.slow
async def test_a_real_replica_without_its_primary_fails():
    options = ["--replicaof", f"127.0.0.1 {free_port()}", "--replica-serve-stale-data", "no"]
    async with redis(*options) as running:
        assert (await failure(RedisProbe(), target_at(running.port))).startswith("MASTERDOWN Link with MASTER is down")
