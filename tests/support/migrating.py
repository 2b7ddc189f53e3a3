"""A configuration of another program, and what ``lb migrate`` makes of it, side by side before the same servers.

Configurations in ``tests/data/migrate`` name servers at 10.0.0.N, files below /srv and /etc, and the usual ports. In a
test the servers are in this process, the files in a directory of the test, and the ports are free ones.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import attrs
import h11
import httpx
import trio

from tests.e2e.traffic.test_real_peers import program, running, until_accepts
from tests.support.balancer import PATIENCE, balancer, read_all
from tests.support.grpc_server import grpc_server
from tests.support.paths import ROOT
from tests.support.servers import free_port, serving
from tests.support.tls_peers import server_context, tls_server, write_authority, write_certificate

__all__ = ["DATA", "Side", "files_for", "haproxy_side", "localized", "nginx_side", "our_side", "servers_of"]

DATA = ROOT / "tests" / "data" / "migrate"
READ = 1 << 16
SERVER = re.compile(r"(?:10\.[0-9]+\.[0-9]+\.[0-9]+|bank\.example\.org):[0-9]+")
TLS_PORTS = ("8443", "8444")
GRPC_PORT = "50051"
LINE_PORTS = ("5432", "6379", "25", "53")
ANY_ADDRESS = r"(?:0\.0\.0\.0|127\.0\.0\.1)?"
MODULES = Path("/usr/lib/nginx/modules")
"""Where Debian has nginx's modules."""


@attrs.define
class Side:
    """One of the two programs. ``ports`` are its own, by those of the configuration."""

    ports: dict[int, int]
    client: httpx.AsyncClient

    async def ask(self, path="/", method="GET", *, port=80, host="shop.example.com", **more):
        """Send a request. Return the response."""
        scheme = "https" if port == 443 else "http"
        headers = {"Host": host, **more.pop("headers", {})}
        url = httpx.URL(f"{scheme}://127.0.0.1:{self.ports[port]}/").copy_with(raw_path=path.encode())
        return await self.client.request(method, url, headers=headers, extensions={"sni_hostname": host}, **more)

    async def upgrade(self, path, port=80):
        """Ask for WebSocket, and send a text. Return the first line of the answer, and what came back of the text."""
        head = f"GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        async with await trio.open_tcp_stream("127.0.0.1", self.ports[port]) as stream:
            with trio.fail_after(PATIENCE):
                await stream.send_all(head.encode())
                answer = b""
                while b"\r\n\r\n" not in answer:
                    answer += await stream.receive_some(READ)
                await stream.send_all(b"hello")
                return answer.partition(b"\r\n")[0], await stream.receive_some(READ)

    async def say(self, line, port):
        """Send a line on a connection of its own. Return the answer; None if the connection was refused."""
        try:
            async with await trio.open_tcp_stream("127.0.0.1", self.ports[port]) as stream:
                with trio.fail_after(PATIENCE):
                    await stream.send_all(line)  # and no end: nginx closes both sides at once then
                    return await read_all(stream)
        except (OSError, trio.BrokenResourceError):
            return None


# The servers


async def serve_http(name, stream):
    """Answer each request with what came, as JSON; ``/check`` says who has the cookie of a member."""
    connection = h11.Connection(h11.SERVER)
    with suppress(h11.RemoteProtocolError, trio.BrokenResourceError, ConnectionError):
        while True:
            request, length = None, 0
            while type(event := connection.next_event()) is not h11.EndOfMessage:
                if event is h11.NEED_DATA:
                    connection.receive_data(await receive(stream))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    length += len(event.data)
                else:
                    return
            if connection.their_state is h11.MIGHT_SWITCH_PROTOCOL:
                await serve_upgraded(connection, stream)
                return
            await stream.send_all(answered(connection, name, request, length))
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()


async def serve_upgraded(connection, stream):
    """Go over to another protocol, which sends back what comes."""
    headers = [("Upgrade", "websocket"), ("Connection", "upgrade")]
    await stream.send_all(connection.send(h11.InformationalResponse(status_code=101, headers=headers)))
    while data := await receive(stream):
        await stream.send_all(data)


async def receive(stream):
    return await (stream.receive_some(READ) if hasattr(stream, "receive_some") else stream.receive(READ))


def answered(connection, name, request, length):
    fields = {key.decode(): value.decode() for key, value in request.headers}
    target = request.target.decode()
    told = {"server": name, "method": request.method.decode(), "target": target, "length": length, "fields": fields}
    body = b"" if request.method == b"HEAD" else json.dumps(told).encode()
    status = 200
    headers = [("Content-Type", "application/json"), ("X-Server", name), ("Content-Length", str(len(body)))]
    if target.partition("?")[0] == "/check":
        status = 200 if "member=yes" in fields.get("cookie", "") else 401
        headers.append(("X-User", "alice"))
    head = connection.send(h11.Response(status_code=status, headers=headers))
    return head + connection.send(h11.Data(data=body)) + connection.send(h11.EndOfMessage())


async def serve_lines(name, stream):
    """Answer ``name``; of a PROXY header before it, all but the ports."""
    got = b""
    async for chunk in stream:
        got += chunk
        if got.endswith(b"name\n"):
            head = b" ".join(got.split(b"\r\n")[0].split()[:4]) if got.startswith(b"PROXY") else b""
            await stream.send_all(head + name.encode() + b"\n")
            return


@asynccontextmanager
async def servers_of(text):
    """Run a server for each address in a text. Yield their addresses by those in the text."""
    async with AsyncExitStack() as stack:
        found = {}
        for name in sorted(set(SERVER.findall(text))):
            port = name.rpartition(":")[2]
            if port == GRPC_PORT:
                server = await stack.enter_async_context(grpc_server(name))
                found[name] = f"127.0.0.1:{server.port}"
                continue

            async def serve(stream, name=name, port=port):
                await (serve_lines if port in LINE_PORTS else serve_http)(name, stream)

            handler = tls_server(serve, server_context("a.example.org")) if port in TLS_PORTS else serve
            served = await stack.enter_async_context(serving(handler, name=name))
            found[name] = served.address
        yield found


# The files


def files_for(home):
    """Make the files that the configurations name, below a directory."""
    for directory in ("www/docs", "www/downloads", "www/hls", "assets", "media/img", "acme"):
        (home / "srv" / directory).mkdir(parents=True)
    for directory in ("tls", "cache/nginx"):
        (home / directory).mkdir(parents=True)
    for name in ("www/index.html", "www/page.html", "www/docs/index.html", "www/favicon.ico", "www/.hidden"):
        (home / "srv" / name).write_text(f"{name}\n")
    (home / "srv/assets/site.css").write_text("body { color: black }\n" * 100)
    (home / "srv/media/img/logo.png").write_bytes(bytes(300))
    (home / "srv/acme/.well-known/acme-challenge").mkdir(parents=True)
    (home / "srv/acme/.well-known/acme-challenge/token").write_text("proof")
    (home / "staff.htpasswd").write_text((ROOT / "tests/data/staff.htpasswd").read_text())
    for name in ("a", "b"):
        write_certificate(home / "tls", name, f"{name}.example.org")
    write_authority(home / "tls")
    (home / "mime.types").write_text("types { text/html html; text/css css; image/png png; image/x-icon ico; }\n")
    for path in (home, *home.rglob("*")):
        path.chmod(0o755)  # nginx's workers are another user


def localized(text, home, servers):
    """Return a configuration for this machine: its servers and its files are those of the test."""

    def local(match):
        return servers[match[0]].replace("127.0.0.1", "127.0.0.1" if match[0][0].isdigit() else "localhost")

    text = SERVER.sub(local, text)
    text = text.replace("/srv/", f"{home}/srv/").replace("/etc/tls/", f"{home}/tls/").replace("/etc/nginx/", f"{home}/")
    return text.replace("/var/cache/nginx", f"{home}/cache/nginx")


# The two programs


@asynccontextmanager
async def client():
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(verify=False, timeout=PATIENCE, limits=limits) as found:
        yield found


def nginx_text(text, home, ports):
    """Return a configuration that nginx can run beside others: its own ports, files and process."""
    text = re.sub(r"server \{\s*listen \d+ udp;[^}]*\}", "", text)
    text = re.sub(
        r"(?m)^\s*(user|pid|error_log|access_log /|worker_processes|ssl_dhparam|listen \[::\])[^;]*;", "", text
    )
    text = re.sub(r"listen (\d+)", lambda match: f"listen 127.0.0.1:{ports[int(match[1])]}", text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {home}/temp-{kind};" for kind in kinds)
    text = text.replace("http {", f"http {{ access_log {home}/access.log; {paths}", 1)
    stream = f"load_module {MODULES}/ngx_stream_module.so;" if "stream {" in text else ""
    user = "user root;" if not os.geteuid() else ""
    return f"{stream} daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log; {user}\n{text}"


def ports_of(text):
    return {int(port) for port in re.findall(r"listen (?:\[::\]:)?(\d+)\b(?! udp)", text)}


@asynccontextmanager
async def side_of(command, ports):
    """Run a program that listens on its own ports."""
    async with running(command, min(ports.values())), client() as found:
        for port in ports.values():
            await until_accepts(port)
        yield Side(ports, found)


def nginx_side(home, text):
    """Run nginx with a configuration that is localized."""
    ports = {port: free_port() for port in ports_of(text)}
    (home / "here.conf").write_text(nginx_text(text, home, ports))
    return side_of([program("nginx"), "-p", home, "-c", home / "here.conf", "-e", home / "error.log"], ports)


def haproxy_side(home, text):
    """Run HAProxy with a configuration that is localized."""
    ports = {int(port): free_port() for port in re.findall(r"(?m)^\s*bind \S*?:(\d+)", text)}
    text = re.sub(r"(?m)^\s*(user|group|chroot|daemon|stats socket|log) .*|^\s*daemon$", "", text)
    text = re.sub(r"(?m)^(\s*bind) \S*?:(\d+)", lambda match: f"{match[1]} 127.0.0.1:{ports[int(match[2])]}", text)
    (home / "here.cfg").write_text(text)
    return side_of([program("haproxy"), "-db", "-f", home / "here.cfg"], ports)


@asynccontextmanager
async def our_side(home, text):
    """Run the text of an lb.toml, on ports of its own."""
    binds = re.findall(rf'\[listeners\.([^\].]+)\][^\[]*?bind = "{ANY_ADDRESS}:(\d+)"', text)
    text = re.sub(rf'bind = "{ANY_ADDRESS}:\d+"', 'bind = "127.0.0.1:0"', text)
    async with balancer(home, text) as lb, client() as found:
        ports = {int(port): lb.ports[name] for name, port in binds}
        yield Side(ports, found)
