"""The same requests to Squid, and to what ``lb migrate`` makes of its configuration: the same is let through."""

from __future__ import annotations

from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from tests.e2e.traffic.test_real_peers import program, running
from tests.support.balancer import PATIENCE, balancer, connect, run_lb
from tests.support.caching import response
from tests.support.forwarding import BASIC, write_staff
from tests.support.http_client import scripted
from tests.support.servers import free_port

pytestmark = pytest.mark.slow

OF_SQUID = (
    "pid_filename none\naccess_log none\ncache_log /dev/null\ncache_store_log none\nshutdown_lifetime 0 seconds\n"
    "coredump_dir none\npinger_enable off\n"
)
RULES = (
    "acl clients src 127.0.0.0/8\nacl bad dstdomain .ads.invalid tracker.invalid\n"
    "acl bad_networks dst 198.51.100.0/24\n"
    "acl tunnels port {open}\nacl CONNECT method CONNECT\n"
    "http_access deny bad\nhttp_access deny bad_networks\nhttp_access deny CONNECT !tunnels\n"
)
WITH_USERS = (
    "auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}\nauth_param basic realm Proxy\n"
    "acl known proxy_auth REQUIRED\n"
)


async def status_of(port, method, target, lines=b""):
    """Send a request to a proxy, and read the whole answer: one that is left half read is not stored."""
    host = target.removeprefix("http://").partition("/")[0]
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n".encode() + lines + b"\r\n"
    with trio.fail_after(PATIENCE):
        async with await connect(port) as stream:
            await stream.send_all(head)
            answer = b""
            async for chunk in stream:
                answer += chunk
                if method == "CONNECT" and b"\r\n" in answer:
                    break
    return int(answer.split()[1])


@asynccontextmanager
async def both(tmp_path, rules):
    """Run Squid, and ours with what the command has made of its configuration. Yield the ports of the two."""
    squid, port = program("squid"), free_port()
    path = tmp_path / "squid.conf"
    path.write_text(f"{rules}http_port 127.0.0.1:{port}\n{OF_SQUID}")
    code, text, said = await run_lb("migrate", path)
    assert code == 0, said
    text = text.replace(f"127.0.0.1:{port}", "127.0.0.1:0")
    async with running([squid, "-N", "-f", path], port), balancer(tmp_path, text) as lb:
        yield port, lb.ports["proxy"]


async def test_both_let_the_same_through(tmp_path):
    async with scripted(response(b"hello")) as server, scripted(response(b"other")) as other:
        tunnels = RULES.format(open=server.address.rpartition(":")[2])
        async with both(tmp_path, f"{tunnels}http_access allow clients\nhttp_access deny all\n") as ports:
            asked = [
                ("GET", f"http://{server.address}/", 200),
                ("GET", f"http://{other.address}/", 200),
                ("CONNECT", server.address, 200),
                ("CONNECT", other.address, 403),
                ("GET", "http://a.ads.invalid/", 403),
                ("GET", "http://ads.invalid/", 403),
                ("GET", "http://tracker.invalid/x", 403),
                ("CONNECT", f"198.51.100.7:{server.address.rpartition(':')[2]}", 403),
            ]
            for method, target, expected in asked:
                found = [await status_of(port, method, target) for port in ports]
                assert found == [expected] * 2, (method, target)


async def test_both_let_nobody_in_who_is_not_allowed(tmp_path):
    rules = "acl office src 192.0.2.0/24\nhttp_access allow office\nhttp_access deny all\n"
    async with scripted(response(b"hello")) as server, both(tmp_path, rules) as (theirs, ours):
        assert await status_of(theirs, "GET", f"http://{server.address}/") == 403
        with trio.fail_after(PATIENCE):
            async with await connect(ours) as stream:
                assert await ended(stream)
    assert server.requests == []


async def ended(stream):
    """Whether a peer ends a connection without an answer."""
    try:
        return await stream.receive_some() == b""
    except trio.BrokenResourceError:
        return True


@pytest.fixture
def users():
    """A file of users that Squid's own user may read, too."""
    with TemporaryDirectory() as directory:
        home = Path(directory)
        write_staff(home)
        home.chmod(0o755)
        yield home / "staff.htpasswd"


async def test_both_ask_for_the_password(tmp_path, users):
    rules = WITH_USERS.format(users=users) + RULES.format(open=443)
    async with (
        scripted(response(b"hello")) as server,
        both(tmp_path, f"{rules}http_access allow clients known\nhttp_access deny all\n") as ports,
    ):
        for lines, expected in ((b"", 407), (BASIC.replace(b"Basic ", b"Basic x"), 407), (BASIC, 200)):
            found = [await status_of(port, "GET", f"http://{server.address}/", lines) for port in ports]
            assert found == [expected] * 2, lines


async def test_both_store_what_servers_let_them(tmp_path):
    rules = "acl clients src 127.0.0.0/8\nhttp_access allow clients\nhttp_access deny all\n"
    date = formatdate(usegmt=True).encode()  # Squid stores nothing without it
    stored = response(b"hello", b"Cache-Control: max-age=600\r\nDate: " + date + b"\r\n")
    async with scripted(stored) as server, both(tmp_path, rules) as ports:
        for number, port in enumerate(ports):
            for _ in range(3):
                assert await status_of(port, "GET", f"http://{server.address}/{number}") == 200
    assert [request.target for request in server.requests] == [b"/0", b"/1"]
