"""examples/kubernetes.toml with a stand-in for API servers: TLS for clients and for /readyz, on the same port."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.support.balancer import balancer
from tests.support.examples import adapted, quick
from tests.support.servers import free_port, read_head, serving
from tests.support.tls_peers import connect_tls, server_context, tls_server, write_authority

pytestmark = pytest.mark.slow

HOSTS = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]


def apiserver(host, ready):
    """Answer /readyz as an API server does, and everything else with the host's name."""

    async def answer(stream):
        received = await read_head(stream)
        if received is None:
            return
        body = host.encode()
        status = b"200 OK"
        if received.startswith(b"GET /readyz "):
            body = b"ok" if host in ready else b"[-]informer-sync failed: reason withheld\nreadyz check failed\n"
            status = b"200 OK" if host in ready else b"500 Internal Server Error"
        await stream.send_all(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        await stream.finish()

    return tls_server(answer, server_context("kubernetes.example.org", *HOSTS))


async def who_answers(port):
    client = await connect_tls(port, "kubernetes.example.org")
    await client.send_all(b"GET /version HTTP/1.1\r\n\r\n")
    answer = await client.receive_all()
    await client.aclose()
    return answer.rpartition(b"\r\n")[2].decode()


@pytest.mark.parametrize("verified", [False, True])
async def test_clients_get_servers_that_are_ready(tmp_path, verified):
    port, ready = free_port(), {HOSTS[1]}
    tls = f'{{ ca = "{write_authority(tmp_path)}" }}' if verified else "{ verify = false }"
    text = adapted(
        "kubernetes",
        ('":6443"', '"127.0.0.1:0"'),
        (":6443", f":{port}"),
        ("tls = { verify = false }", f"tls = {tls}"),
        quick("3s"),
    )
    async with AsyncExitStack() as stack:
        for host in HOSTS:
            await stack.enter_async_context(serving(apiserver(host, ready), address=(host, port)))
        lb = await stack.enter_async_context(balancer(tmp_path, text))
        for host in (HOSTS[0], HOSTS[2]):
            ejected = await lb.event("backend.ejected", server=f"{host}:{port}")
            assert ejected["reason"] == "HTTP 500"
        front = lb.ports["apiserver"]
        assert {await who_answers(front) for _ in range(3)} == {HOSTS[1]}
        ready.add(HOSTS[0])
        await lb.event("backend.restored", server=f"{HOSTS[0]}:{port}")
        assert not lb.of("backend.ejected", server=f"{HOSTS[1]}:{port}")
