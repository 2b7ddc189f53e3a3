"""The PROXY protocol with real peers: HAProxy in front, nginx behind, and both at once."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.tls.test_tls import echo
from tests.e2e.traffic.test_real_peers import program, running
from tests.support.balancer import balancer, config, connect, read_all
from tests.support.servers import Named, free_port, serving
from tests.support.tls_peers import (
    TlsEnd,
    client_context,
    server_context,
    tls_server,
    write_authority,
    write_certificate,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("balancer_kind")]

HAPROXY_SAYS = {
    "v1": "send-proxy",
    "v2": "send-proxy-v2",
    "v2 with checksum": "send-proxy-v2 proxy-v2-options crc32c,authority,unique-id",
}
QUICK = 'probe = "{probe}"\ninterval = "100ms"\nfast_interval = "50ms"\ninitial = "down"'


def nginx(home, port):
    """Return the command of an nginx that expects a header and responds with its addresses."""
    home.mkdir()
    paths = "".join(f"{kind}_temp_path {home};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    fields = " ".join(f"$proxy_protocol_{each}" for each in ("addr", "port", "server_addr", "server_port"))
    (home / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log warn;\n"
        "events { worker_connections 200; }\n"
        f"http {{ access_log off; {paths}\n"
        f'server {{ listen 127.0.0.1:{port} proxy_protocol; location / {{ return 200 "{fields}\\n"; }} }} }}\n'
    )
    return [program("nginx"), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"]


def haproxy(home, port, lb_port, says):
    home.mkdir()
    (home / "haproxy.cfg").write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n"
        f"frontend front\n bind 127.0.0.1:{port}\n default_backend lb\n"
        f"backend lb\n server lb 127.0.0.1:{lb_port} {says}\n"
    )
    return [program("haproxy"), "-db", "-f", home / "haproxy.cfg"]


async def told_by_nginx(stream):
    """Return the addresses that nginx reports for an open connection."""
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
    head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK"), head
    return body.decode().split()


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("probe", ["tcp", "http"])
async def test_nginx_hears_of_the_client_and_checks_leave_its_log_clean(tmp_path, version, probe):
    server = Named("nginx", f"127.0.0.1:{(port := free_port())}")
    text = config(server, pool=f'send_proxy = "{version}"', health=QUICK.format(probe=probe))
    async with running(nginx(tmp_path / "nginx", port), port), balancer(tmp_path, text) as lb:
        await lb.known("backend.restored")
        async with await connect(lb.port) as stream:
            host, own_port = stream.socket.getsockname()
            assert await told_by_nginx(stream) == [host, str(own_port), "127.0.0.1", str(lb.port)]
        assert not lb.of("backend.ejected")
    assert (tmp_path / "nginx" / "error.log").read_text() == ""


@pytest.mark.parametrize("says", HAPROXY_SAYS)
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_what_haproxy_says_of_the_client_reaches_nginx(tmp_path, version, says):
    server = Named("nginx", f"127.0.0.1:{(port := free_port())}")
    text = config(
        server,
        listener='accept_proxy = ["127.0.0.1"]\nallow = ["127.0.0.9"]',
        pool=f'send_proxy = "{version}"',
        health=None,
    )
    async with running(nginx(tmp_path / "nginx", port), port), balancer(tmp_path, text) as lb:
        front = free_port()
        async with running(haproxy(tmp_path / "haproxy", front, lb.port, HAPROXY_SAYS[says]), front):
            async with await trio.open_tcp_stream("127.0.0.1", front, local_address="127.0.0.9") as stream:
                own_port = stream.socket.getsockname()[1]
                assert await told_by_nginx(stream) == ["127.0.0.9", str(own_port), "127.0.0.1", str(front)]
            record = await lb.event("connection.closed", client=f"127.0.0.9:{own_port}")
            async with await connect(front) as stream:  # from an address that is denied
                assert await read_all(stream) == b""
                await lb.event(
                    "connection.closed", reason="denied", client=f"127.0.0.1:{stream.socket.getsockname()[1]}"
                )
    assert record["reason"] == "eof"
    assert record["peer"].startswith("127.0.0.1:")


@pytest.mark.parametrize("says", HAPROXY_SAYS)
async def test_checks_of_haproxy_are_clients_of_their_own(tmp_path, says):
    server = Named("nginx", f"127.0.0.1:{(port := free_port())}")
    text = config(server, listener="accept_proxy = true", pool='send_proxy = "v2"', health=None)
    async with running(nginx(tmp_path / "nginx", port), port), balancer(tmp_path, text) as lb:
        front = free_port()
        check = f"{HAPROXY_SAYS[says]} check inter 50ms"
        async with running(haproxy(tmp_path / "haproxy", front, lb.port, check), front):
            await lb.event("connection.closed", count=3)
            async with await connect(front) as stream:
                assert (await told_by_nginx(stream))[:1] == ["127.0.0.1"]
    assert not lb.of("connection.closed", reason="denied")


class HeaderFirst(TlsEnd):
    """A client whose first TLS bytes leave together with a header."""

    header = b""

    async def _flush(self):
        if data := self._outgoing.read():
            data, self.header = self.header + data, b""
            await self.stream.send_all(data)


@pytest.mark.usefixtures("balancer_kind")
@pytest.mark.parametrize("together", [False, True])
async def test_a_header_goes_before_the_handshake_on_both_sides(tmp_path, together):
    heard = []

    async def server_side(stream):
        line = b""
        while not line.endswith(b"\r\n"):
            line += await stream.receive_some(1)
        heard.append(line)
        await tls_server(echo, server_context("inner.example.org"))(stream)

    front = write_certificate(tmp_path, "front", "a.example.org")
    listener = f'accept_proxy = ["127.0.0.1"]\nallow = ["192.0.2.0/24"]\n[listeners.web.tls]\n{front}'
    pool = f'send_proxy = "v1"\n[pools.web.tls]\nca = "{write_authority(tmp_path)}"\nserver_name = "inner.example.org"'
    header = b"PROXY TCP4 192.0.2.7 198.51.100.9 5555 443\r\n"
    async with (
        serving(server_side) as server,
        balancer(tmp_path, config(server, listener=listener, pool=pool, health=None)) as lb,
    ):
        stream = await connect(lb.port)
        client = HeaderFirst(stream, client_context(), server_name="a.example.org")
        if together:
            client.header = header
        else:
            await stream.send_all(header)
        await client.shake_hands()
        await client.send_all(b"hello")
        assert await client.receive_some() == b"hello"
        await client.aclose()
        record = await lb.event("connection.closed")
    assert heard == [header]
    assert (record["client"], record["peer"].partition(":")[0]) == ("192.0.2.7:5555", "127.0.0.1")
