"""The ketama table compared with a real nginx: the same choice for the same servers and clients."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lb.model import Server, ServerSpec
from lb.model.address import Address, Client
from strategies.consistent_hash import ConsistentHash
from tests.support.strategy_driver import start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="binds to addresses all over 127.0.0.0/8")

WEIGHTS = (1, 2, 3, 1)
SOURCES = [f"127.{number % 7}.{number // 250}.{number % 250 + 1}" for number in range(400)]
MODULE_DIRECTORIES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules")

CONFIG = """
{load_module}
{user}
daemon off;
error_log stderr;
pid {prefix}/nginx.pid;
events {{ worker_connections 256; }}
stream {{
    upstream pool {{
        hash $remote_addr consistent;
        {members}
    }}
    server {{ listen 127.0.0.1:{port}; proxy_pass pool; }}
    {backends}
}}
"""


def find_nginx():
    """Return the nginx binary and the directive that loads the stream module. Without them, skip, or fail in CI."""
    binary = shutil.which("nginx")
    if binary:
        built = subprocess.run([binary, "-V"], capture_output=True, text=True, check=True).stderr.split()
        if "--with-stream" in built:
            return binary, ""
        for directory in MODULE_DIRECTORIES:
            module = Path(directory, "ngx_stream_module.so")
            if module.exists():
                return binary, f"load_module {module};"
    reason = "there is no nginx with the stream module"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def bind():
    """A socket bound to its own port, which refuses connections until it listens."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


def ask(source, port):
    """Return the name of the server that nginx chooses for a client with this address."""
    with socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0)) as client:
        return client.makefile("rb").read().decode()


@pytest.fixture(params=[None, 2], ids=["all up", "one refuses"])
def balancer(request, tmp_path):
    """A running nginx: its port, the servers behind it, and the server that refuses connections.

    The servers are in nginx as well, and answer with their names. nginx inherits its listening sockets, as in an
    upgrade of its binary, so that no other program can take the ports, and clients need not wait until it is ready.
    (Without a master process nginx 1.22 crashes on inherited sockets.)
    """
    binary, load_module = find_nginx()
    front, *backends = sockets = [bind() for _ in range(1 + len(WEIGHTS))]
    servers = [
        Server(ServerSpec(f"s{index}", Address.parse(f"127.0.0.1:{backend.getsockname()[1]}"), WEIGHTS[index]))
        for index, backend in enumerate(backends)
    ]
    refusing = request.param
    listeners = [bound for bound in sockets if refusing is None or bound is not backends[refusing]]
    for listener in listeners:
        listener.listen()
    port = front.getsockname()[1]
    config = CONFIG.format(
        load_module=load_module,
        user="user root;" if os.geteuid() == 0 else "",
        prefix=tmp_path,
        members="\n".join(f"server {server.spec.address} weight={server.weight};" for server in servers),
        port=port,
        backends="\n".join(
            f"server {{ listen {server.spec.address}; return {server.name}; }}"
            for index, server in enumerate(servers)
            if index != refusing
        ),
    )
    (tmp_path / "nginx.conf").write_text(config)
    descriptors = [listener.fileno() for listener in listeners]
    process = subprocess.Popen(
        [binary, "-p", tmp_path, "-c", "nginx.conf", "-e", "stderr"],
        env={**os.environ, "NGINX": "".join(f"{descriptor};" for descriptor in descriptors)},
        pass_fds=descriptors,
    )
    for listener in listeners:
        listener.close()  # from here on, clients notice at once if nginx has died
    try:
        yield port, servers, None if refusing is None else servers[refusing]
    finally:
        process.terminate()
        process.wait(timeout=5)
        for bound in sockets:
            bound.close()


def test_every_client_gets_the_server_that_nginx_chooses(balancer):
    port, servers, refusing = balancer
    strategy = start(ConsistentHash(table="ketama"), servers)
    if refusing is not None:
        strategy.disable(refusing)
    expected = {source: strategy.pick(Client(source, 1), ()).name for source in SOURCES}
    assert {source: ask(source, port) for source in SOURCES} == expected
