"""Real servers behind the balancer: nginx, redis, and a server that sends first."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager

import pytest
import trio

from tests.support.balancer import PATIENCE, QUICK_CHECKS, balancer, config, connect, read_all
from tests.support.load import Load
from tests.support.servers import Named, free_port, serving

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("splicer_kind")]


def program(name):
    """Return the path of a program. If it is missing, skip the test; in CI, fail."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if path is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


async def until_accepts(port, host="127.0.0.1"):
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await (await connect(port, host)).aclose()
            except OSError:
                await trio.sleep(0.01)  # the program has no other way to report that it is ready
            else:
                return


@asynccontextmanager
async def running(command, port, host="127.0.0.1", **options):
    """Run a program. The block starts when its port accepts; its end kills the program and its children (SIGKILL).

    The options are those of :class:`subprocess.Popen`.
    """
    nowhere = subprocess.DEVNULL
    process = await trio.lowlevel.open_process(
        command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True, **options
    )
    try:
        await until_accepts(port, host)
        yield process
    finally:
        with trio.CancelScope(shield=True):
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def nginx(tmp_path, name, port, answer=None):
    """Write the configuration of an nginx that responds with its name, or ``answer``. Return its command."""
    program_path = program("nginx")
    home = tmp_path / name
    home.mkdir(exist_ok=True)
    paths = "".join(f"{kind}_temp_path {home};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(
        f"daemon off; master_process on; worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n"
        "events { worker_connections 200; }\n"
        f"http {{ access_log off; {paths}\n"
        f'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{answer or name}\\n"; }} }} }}\n'
    )
    return [program_path, "-p", home, "-c", home / "nginx.conf"]


async def get(port):
    """Send one HTTP request on a new connection. Return the body on success, else the head."""
    async with await connect(port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
        return body if head.startswith(b"HTTP/1.1 200 OK") else head


HTTP_CHECKS = f'probe = "http"\n{QUICK_CHECKS}'
UNTIL_SEEN = f'initial = "down"\n{QUICK_CHECKS}'


async def test_nginx_killed_restarted_and_reloaded_under_load(tmp_path):
    a, b = Named("a", f"127.0.0.1:{free_port()}"), Named("b", f"127.0.0.1:{free_port()}")
    ports = {server.name: int(server.address.rpartition(":")[2]) for server in (a, b)}
    async with (
        running(nginx(tmp_path, "b", ports["b"]), ports["b"]) as of_b,
        balancer(tmp_path, config(a, b, health=HTTP_CHECKS)) as lb,
        trio.open_nursery() as nursery,
    ):
        await lb.event("backend.ejected", server="a")
        sessions = Load(lb.port, {b"a\n", b"b\n", b"b, reloaded\n"}, session=get)
        for _ in range(5):
            nursery.start_soon(sessions.client)
        async with running(nginx(tmp_path, "a", ports["a"]), ports["a"]):
            await lb.event("backend.restored", server="a")
            await sessions.until_seen(b"a\n")
            nginx(tmp_path, "b", ports["b"], answer="b, reloaded")
            of_b.send_signal(signal.SIGHUP)  # like `nginx -s reload`
            await sessions.until_seen(b"b, reloaded\n")
            await sessions.sessions(100)
            assert not sessions.failures
        killed = trio.current_time()
        await lb.event("backend.ejected", server="a", count=2)
        await sessions.sessions(100)
        assert not sessions.failed_since(killed)
        nursery.cancel_scope.cancel()


async def test_redis_behind_a_probe_that_speaks_its_protocol(tmp_path):
    port = free_port()
    redis = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path]
    ping = 'probe = "exchange"\nsend = "PING\\r\\n"\nexpect = "^\\\\+PONG"\ntimeout = "500ms"\nfall = 2\n'
    async with running(redis, port) as process:
        server = Named("redis", f"127.0.0.1:{port}")
        async with balancer(tmp_path, config(server, health=ping + UNTIL_SEEN, pool='on_down = "close"')) as lb:
            await lb.event("backend.restored")
            async with await connect(lb.port) as stream:
                value = b"x" * 1_000_000
                await stream.send_all(resp(b"SET", b"key", value))
                assert await receive(stream, 5) == b"+OK\r\n"
                await stream.send_all(resp(b"GET", b"key"))
                assert await receive(stream, len(value) + 12) == b"$1000000\r\n" + value + b"\r\n"
                process.send_signal(signal.SIGSTOP)
                try:
                    ejected = await lb.event("backend.ejected")
                finally:
                    process.send_signal(signal.SIGCONT)
                assert ejected["reason"] == "no answer in 0.5 s"
                assert (await lb.event("connection.closed"))["reason"] == "server_down"
            await lb.event("backend.restored", count=2)
            async with await connect(lb.port) as stream:
                await stream.send_all(resp(b"STRLEN", b"key"))
                assert await receive(stream, 10) == b":1000000\r\n"


def resp(*arguments):
    """Return a command in the redis protocol."""
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in arguments)


async def receive(stream, count):
    received = b""
    with trio.fail_after(PATIENCE):
        while len(received) < count:
            chunk = await stream.receive_some()
            assert chunk, f"end of file after {received[:100]!r}"
            received += chunk
    return received


async def test_a_server_that_speaks_first_greets_a_client_that_waits(tmp_path):
    async def smtp(stream):
        await stream.send_all(b"220 mail ready\r\n")
        async for line in stream:
            if line == b"QUIT\r\n":
                await stream.send_all(b"221 bye\r\n")
                return
            await stream.send_all(b"250 ok\r\n")

    greeting = f'probe = "exchange"\nexpect = "^220 "\n{UNTIL_SEEN}'
    async with serving(smtp) as server, balancer(tmp_path, config(server, health=greeting)) as lb:
        await lb.event("backend.restored")
        async with await connect(lb.port) as stream:
            assert await receive(stream, 16) == b"220 mail ready\r\n"
            await stream.send_all(b"HELO test\r\n")
            assert await receive(stream, 8) == b"250 ok\r\n"
            await stream.send_all(b"QUIT\r\n")
            assert await read_all(stream) == b"221 bye\r\n"
        record = await lb.only_record()
    assert (record["reason"], record["ended_by"], record["bytes_in"], record["bytes_out"]) == ("eof", "server", 17, 33)
