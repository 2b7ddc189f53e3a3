"""Where checks connect to: another port or address for all servers or for one, and TLS whatever traffic does."""

from __future__ import annotations

import pytest

from tests.support.balancer import balancer, config
from tests.support.servers import read_head, serving
from tests.support.tls_peers import server_context, tls_server, write_authority

pytestmark = pytest.mark.slow

UP = 'interval = "100ms"\nfast_interval = "50ms"\nprobe = "http"'
HEALTH = f'{UP}\ninitial = "down"'


async def ready(stream):
    """Answer each request with 200, whatever it asks for."""
    if await read_head(stream) is not None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def port_of(served):
    return served.address.rpartition(":")[2]


async def test_a_server_s_own_place_comes_before_that_of_the_pool(tmp_path):
    """Nobody listens where the pool's checks go, and traffic's ports speak no HTTP."""
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        serving(ready, address=("127.0.0.2", 0)) as elsewhere,
        serving(ready) as beside,
    ):
        places = [
            (a, f'check_address = "127.0.0.2"\ncheck_port = {port_of(elsewhere)}'),
            (b, f"check_port = {port_of(beside)}"),
        ]
        async with balancer(tmp_path, config(*places, health=f"{HEALTH}\nport = 1")) as lb:
            for server in (a, b):
                await lb.event("backend.restored", server=server.name)


async def test_a_reload_moves_the_checks_of_one_server(tmp_path):
    async with serving(ready) as server, serving(ready) as beside:
        plain, moved = (config((server, lines), health=HEALTH) for lines in ("", f"check_port = {port_of(beside)}"))
        async with balancer(tmp_path, plain) as lb:
            await lb.event("backend.restored")
            assert not beside.connections
            await lb.reload(moved)
            await beside.until(lambda served: served.connections >= 2)


@pytest.mark.parametrize("verified", [True, False])
async def test_checks_use_tls_where_traffic_does_not(tmp_path, verified):
    encrypted = tls_server(ready, server_context("health.example.org"))
    tls = f'{{ ca = "{write_authority(tmp_path)}", server_name = "health.example.org" }}'
    async with serving() as server, serving(encrypted) as checked:
        health = f"{HEALTH}\nport = {port_of(checked)}\ntls = {tls if verified else '{ verify = false }'}"
        async with balancer(tmp_path, config(server, health=health)) as lb:
            await lb.event("backend.restored")


async def test_a_certificate_that_no_known_authority_signed_fails_the_check(tmp_path):
    encrypted = tls_server(ready, server_context("health.example.org"))
    async with serving() as server, serving(encrypted) as checked:
        health = f"{UP}\nport = {port_of(checked)}\ntls = true"
        async with balancer(tmp_path, config(server, health=health)) as lb:
            ejected = await lb.event("backend.ejected")
    assert "certificate" in ejected["reason"].lower()


async def test_a_check_sends_its_header_before_the_handshake(tmp_path):
    encrypted = tls_server(ready, server_context("a.example.org"))
    headers = []

    async def with_header(stream):
        line = b""
        while not line.endswith(b"\r\n"):
            byte = await stream.receive_some(1)
            if not byte:
                return
            line += byte
        headers.append(line.split())
        await encrypted(stream)

    pool = f'send_proxy = "v1"\n[pools.web.tls]\nca = "{write_authority(tmp_path)}"\nserver_name = "a.example.org"'
    async with serving(with_header) as server, balancer(tmp_path, config(server, pool=pool, health=HEALTH)) as lb:
        await lb.event("backend.restored")
    assert headers[0][:4] == [b"PROXY", b"TCP4", b"127.0.0.1", b"127.0.0.1"]
    assert headers[0][5] == port_of(server).encode()


async def test_checks_use_no_tls_where_traffic_does(tmp_path):
    """Two checks of the same server: a port without TLS, and traffic's own, which has it."""
    encrypted = tls_server(ready, server_context("a.example.org"))
    pool = f'[pools.web.tls]\nca = "{write_authority(tmp_path)}"\nserver_name = "a.example.org"'
    async with serving(encrypted) as server, serving(ready) as plain:
        checks = f'[{{ probe = "http", port = {port_of(plain)} }}, {{ probe = "http" }}]'
        health = HEALTH.replace('probe = "http"', f"checks = {checks}")
        async with balancer(tmp_path, config(server, pool=pool, health=health)) as lb:
            await lb.event("backend.restored")
