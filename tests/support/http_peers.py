"""nginx, HAProxy and the balancer as reverse proxies of the same server, which records what reaches it."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress

import h11
import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, connect
from tests.support.servers import serving

__all__ = ["HttpServer", "haproxy", "http_server", "lb_config", "nginx", "verdict", "whole_answer"]

MARK = b"x-reached: yes"
"""Stands in each response of the server."""
WAIT = 3.0
"""Seconds after which a proxy that has not answered waits for more bytes."""


class HttpServer:
    """Answers each request with 200, or with bytes by its target; after those, the connection ends.

    ``requests`` are the whole ones, ``received`` is all that came.
    """

    def __init__(self, responses):
        self.requests = []
        """Pairs of an :class:`h11.Request` and its body."""
        self.received = b""
        self.address = None
        self._responses = responses

    async def serve(self, stream):
        connection = h11.Connection(h11.SERVER)
        with suppress(h11.RemoteProtocolError, trio.BrokenResourceError):
            while await self._request(connection, stream):
                connection.start_next_cycle()

    async def _request(self, connection, stream):
        """Read a request and answer it. Return False if the connection ends."""
        request, body = None, b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    interim = h11.InformationalResponse(status_code=100, headers=[])
                    await stream.send_all(connection.send(interim))
                data = await stream.receive_some()
                self.received += data
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                return False
        self.requests.append((request, body))
        if request.target in self._responses:
            await stream.send_all(self._responses[request.target])
            return False
        response = h11.Response(status_code=200, headers=[("X-Reached", "yes"), ("Content-Length", "2")])
        parts = (response, h11.Data(data=b"ok"), h11.EndOfMessage())
        await stream.send_all(b"".join(connection.send(part) for part in parts))
        return connection.our_state is not h11.MUST_CLOSE


@asynccontextmanager
async def http_server(responses=(), name="s"):
    """Run a server in this process. ``responses`` maps targets to the bytes that it sends in place of its own."""
    server = HttpServer(dict(responses))
    async with serving(server.serve, name=name) as served:
        server.address = served.address
        yield server


def nginx(home, port, address):
    """Return the command of an nginx that passes requests on."""
    home.mkdir()
    paths = "".join(f"{kind}_temp_path {home};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n"
        "events { worker_connections 2000; }\n"
        f"http {{ access_log off; {paths}\n"
        f"server {{ listen 127.0.0.1:{port}; server_name web; location / {{ proxy_pass http://{address}; "
        "proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header Connection ''; } } }\n"
    )
    return [program("nginx"), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"]


def haproxy(home, port, address):
    """Return the command of an HAProxy that does the same."""
    home.mkdir()
    timeouts = "".join(f" timeout {each} 5s\n" for each in ("connect", "client", "server"))
    (home / "haproxy.cfg").write_text(
        f"global\n maxconn 2000\ndefaults\n mode http\n{timeouts}"
        f"listen front\n bind 127.0.0.1:{port}\n server s {address}\n"
    )
    return [program("haproxy"), "-db", "-f", home / "haproxy.cfg"]


def lb_config(*servers, listener="", pool="", top=""):
    """Return a configuration with a listener ``web`` of mode http and a pool ``web`` of servers by address."""
    addresses = ", ".join(f'"{each.address}"' for each in servers)
    return (
        f'{top}\n[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\npool = "web"\n{listener}\n'
        f"[pools.web]\nhealth = false\nservers = [{addresses}]\n{pool}\n"
    )


async def verdict(port, data):
    """Send a message. Return "taken" if the server answered it, else the proxy's status, "closed" or "waits"."""
    answer = b""
    with trio.move_on_after(WAIT) as scope, suppress(trio.BrokenResourceError):
        async with await connect(port) as stream:
            await stream.send_all(data)
            async for chunk in stream:
                answer = without_interim(answer + chunk)
                if b"\r\n\r\n" in answer:
                    break
    if MARK in answer.lower().partition(b"\r\n\r\n")[0]:
        return "taken"
    return "waits" if scope.cancelled_caught else answer[9:12].decode(errors="replace") or "closed"


def without_interim(answer):
    while answer.startswith(b"HTTP/1.1 1") and b"\r\n\r\n" in answer:
        answer = answer.partition(b"\r\n\r\n")[2]
    return answer


async def whole_answer(port, data):
    """Send a message and return all that comes until the proxy ends the connection."""
    answer = b""
    with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
        async with await connect(port) as stream:
            await stream.send_all(data)
            async for chunk in stream:
                answer += chunk
    return answer
