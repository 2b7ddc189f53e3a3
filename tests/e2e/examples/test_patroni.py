"""examples/patroni.toml with a stand-in for Patroni: its REST API is a server of Python's http.server, as here."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trio

from tests.support.balancer import ask, balancer, connect, read_all, request
from tests.support.examples import adapted, quick
from tests.support.servers import free_port, serving

pytestmark = pytest.mark.slow

HOSTS = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]


class Cluster:
    leader = HOSTS[0]

    def role_of(self, host):
        return "primary" if host == self.leader else "replica"


@contextmanager
def rest_api(cluster, host, port):
    """Answer as Patroni does: HTTP/1.0, the member's state as JSON, and no Content-Length."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            role = cluster.role_of(host)
            self.send_response(200 if self.path.partition("?")[0] == f"/{role}" else 503)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"state": "running", "role": "%s"}' % role.encode())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


async def test_clients_follow_the_primary(tmp_path):
    cluster, port, api = Cluster(), free_port(), free_port()
    text = adapted(
        "patroni",
        (":5432", f":{port}"),
        ("port = 8008", f"port = {api}"),
        ('":5000"', '"127.0.0.1:0"'),
        ('":5001"', '"127.0.0.1:0"'),
        quick("1s"),
    )
    async with AsyncExitStack() as stack:
        for host in HOSTS:
            stack.enter_context(rest_api(cluster, host, api))
            await stack.enter_async_context(serving(name=host, address=(host, port)))
        lb = await stack.enter_async_context(balancer(tmp_path, text))
        primary, replicas = (lb.ports[name] for name in ("primary", "replicas"))
        await lb.event("backend.restored", pool="replicas", count=2)
        assert await ask(primary) == f"{HOSTS[0]}\n".encode()
        assert {await ask(replicas) for _ in range(4)} <= {f"{host}\n".encode() for host in HOSTS[1:]}

        async with await connect(primary) as old:
            assert await request(old, b"name") == HOSTS[0].encode()
            cluster.leader = HOSTS[1]
            await lb.event("backend.ejected", pool="primary", server=f"{HOSTS[0]}:{port}")
            await lb.event("backend.restored", pool="primary", server=f"{HOSTS[1]}:{port}")
            assert await ask(primary) == f"{HOSTS[1]}\n".encode()
            with pytest.raises(trio.BrokenResourceError):
                await read_all(old)
