"""Clients of HTTP/1 in front of real servers of HTTP/2: nginx and node."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import balancer
from tests.support.http_attacks import post, request
from tests.support.http_client import client
from tests.support.http_origin import content
from tests.support.http_peers import lb_config
from tests.support.real_databases import home, running
from tests.support.servers import free_port

pytestmark = pytest.mark.slow

BODY = content(2_000_000)
POOL = '[pools.web.http]\nprotocol = "h2"'
NODE = 'require("node:http2").createServer((asked, answer) => asked.pipe(answer)).listen(+process.argv[2], "127.0.0.1")'


async def test_node_echoes_bodies(tmp_path):
    directory, port = home(), free_port()
    (directory / "server.js").write_text(NODE)
    async with running([program("node"), directory / "server.js", str(port)], port=port, directory=directory):
        server = SimpleNamespace(address=f"127.0.0.1:{port}")
        async with balancer(tmp_path, lb_config(server, pool=POOL)) as lb, client(lb) as visitor:
            for size in (0, 1, 100_000, len(BODY)):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(visitor.send, post(b"Content-Length: %d\r\n" % size, BODY[:size]))
                    assert (await visitor.answer("POST")).body == BODY[:size]


async def test_nginx_ends_connections_after_some_requests_and_none_is_lost(tmp_path):
    directory, port = home(), free_port()
    paths = "".join(f"{kind}_temp_path {directory};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (directory / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {directory}/pid; error_log stderr;\nevents {{ }}\n"
        f"http {{ access_log off; {paths} keepalive_requests 7;\n"
        f"server {{ listen 127.0.0.1:{port} http2; location / {{ return 200 $request_uri; }} }} }}\n"
    )
    command = [program("nginx"), "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr"]
    async with running(command, port=port, directory=directory):
        server = SimpleNamespace(address=f"127.0.0.1:{port}")
        async with balancer(tmp_path, lb_config(server, pool=POOL)) as lb:

            async def visit(name):
                async with client(lb) as visitor:
                    for number in range(30):
                        target = b"/%s/%d" % (name, number)
                        assert (await visitor.ask(request(b"GET %s HTTP/1.1" % target))).body == target

            async with trio.open_nursery() as nursery:
                for name in (b"a", b"b", b"c", b"d"):
                    nursery.start_soon(visit, name)
