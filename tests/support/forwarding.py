"""A forward proxy and its clients: CONNECT, SOCKS and absolute-form, as bytes."""

from __future__ import annotations

import base64
import ipaddress
import json
from contextlib import asynccontextmanager

import trio

from tests.support.balancer import PATIENCE, balancer, connect, with_workers
from tests.support.http_client import Ended, HttpClient
from tests.support.name_server import name_server
from tests.support.silent_names import DNS_PORT, own_loopback_address, with_name_server

__all__ = [
    "BASIC",
    "STAFF",
    "ProxyClient",
    "connect_head",
    "forward_config",
    "get_head",
    "named_balancer",
    "proxy_client",
    "socks4_request",
    "socks_greeting",
    "socks_login",
    "socks_request",
    "write_staff",
]

OPEN = 'private = true\nconnect_ports = "any"\nprotocols = ["http", "socks5", "socks4"]'
"""Clients may go anywhere: the servers of tests are on private addresses."""


STAFF = '[users.staff]\nfile = "staff.htpasswd"\nrealm = "Staff only"'
_ANN = "ann:$2y$05$4x2acfvr64L041ofwovCNuLbDqRjXDKxeaGEG9cMWd6YQjSVgZpGe\n"
BASIC = b"Proxy-Authorization: Basic %s\r\n" % base64.b64encode(b"ann:sesame")
"""The credentials of the only user of STAFF."""


def write_staff(directory):
    """Write the file of STAFF."""
    (directory / "staff.htpasswd").write_text(_ANN)


def forward_config(listener="", *, limits=OPEN, top="", bind="127.0.0.1:0", tables=""):
    """Return a configuration whose listener ``web`` is a forward proxy. Arguments are lines of TOML.

    ``tables`` come last: pools, and tables of the listener.
    """
    front = f'[listeners.web]\nmode = "forward"\nbind = {json.dumps(bind)}\n{limits}\n{listener}'
    return with_workers(f"{top}\n{front}\n{tables}\n")


@asynccontextmanager
async def named_balancer(tmp_path, text, **options):
    """Run a balancer with a name server of its own. Yield both."""
    address = own_loopback_address()
    through = with_name_server(tmp_path, address)
    async with name_server((address, DNS_PORT)) as names, balancer(tmp_path, text, through=through, **options) as lb:
        yield lb, names


class ProxyClient(HttpClient):
    """A client's connection to the proxy, or behind that to its target."""

    async def exactly(self, count):
        """Return so many bytes."""
        with trio.fail_after(PATIENCE):
            while len(self._rest) < count:
                data = await self._receive()
                if not data:
                    raise Ended
                self._rest += data
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    async def head(self):
        """Return the bytes up to the next empty line."""
        with trio.fail_after(PATIENCE):
            while b"\r\n\r\n" not in self._rest:
                data = await self._receive()
                if not data:
                    raise Ended
                self._rest += data
        head, found, self._rest = self._rest.partition(b"\r\n\r\n")
        return head + found

    async def line(self):
        """Return a line of the target's, without its end."""
        line = b""
        while not line.endswith(b"\n"):
            line += await self.exactly(1)
        return line[:-1]

    async def all(self):
        """Return what comes until the orderly end."""
        with trio.fail_after(PATIENCE):
            while data := await self._receive():
                self._rest += data
        taken, self._rest = self._rest, b""
        return taken

    async def talk(self, line):
        """Send a line to a server of tests/support/backend.py and return the line of its answer."""
        await self.stream.send_all(line + b"\n")
        return await self.line()

    async def connect(self, target, lines=b"", early=b"", version=b"1.1"):
        """Send CONNECT, and ``early`` with it. The tunnel must be there then. Return the head of the answer."""
        await self.stream.send_all(connect_head(target, lines, version) + early)
        head = await self.head()
        assert head.startswith(b"HTTP/1.1 200 "), head
        return head

    async def refused_connect(self, target, lines=b"", version=b"1.1"):
        """Send CONNECT, and return the answer, which is a refusal."""
        answer = await self.ask(connect_head(target, lines, version), "CONNECT")
        assert answer.status >= 400
        return answer

    async def get(self, url, lines=b"", method=b"GET", body=b""):
        """Send an absolute-form request, and return the answer."""
        return await self.ask(get_head(url, lines, method) + body, method.decode())

    async def socks(self, host, port, *, login=None, early=b""):
        """Do a negotiation of SOCKS 5, step by step as clients do. Return the code of the reply."""
        await self.stream.send_all(socks_greeting(2 if login else 0))
        assert await self.exactly(2) == bytes((5, 2 if login else 0))
        if login:
            await self.stream.send_all(socks_login(*login))
            assert await self.exactly(2) == b"\1\0"
        await self.stream.send_all(socks_request(host, port) + early)
        return (await self.socks_reply())[0]

    async def socks_reply(self):
        """Return code and address of a reply of SOCKS 5."""
        version, code, reserved, kind = await self.exactly(4)
        assert (version, reserved) == (5, 0)
        address = ipaddress.ip_address(await self.exactly(4 if kind == 1 else 16))
        return code, (address, int.from_bytes(await self.exactly(2), "big"))

    async def socks4_reply(self):
        """Return the code of a reply of SOCKS 4."""
        zero, code, *_ = await self.exactly(8)
        assert zero == 0
        return code


@asynccontextmanager
async def proxy_client(lb):
    """Connect to the listener ``web``."""
    async with await connect(lb.port) as stream:
        yield ProxyClient(stream)


def connect_head(target, lines=b"", version=b"1.1"):
    target = target.encode() if isinstance(target, str) else target
    host = b"Host: %s\r\n" % target if version == b"1.1" else b""
    return b"CONNECT %s HTTP/%s\r\n%s%s\r\n" % (target, version, host, lines)


def get_head(url, lines=b"", method=b"GET"):
    url = url.encode() if isinstance(url, str) else url
    host = b"" if b"host:" in lines.lower() else b"Host: %s\r\n" % url.partition(b"//")[2].partition(b"/")[0]
    return b"%s %s HTTP/1.1\r\n%s%s\r\n" % (method, url, host, lines)


def socks_greeting(*methods):
    return bytes((5, len(methods), *methods))


def socks_login(user, password):
    return bytes((1, len(user))) + user + bytes((len(password),)) + password


def socks_request(host, port, command=1):
    """Return the request of SOCKS 5 for a name (bytes), or for an address (text)."""
    if isinstance(host, bytes):
        target = bytes((3, len(host))) + host
    else:
        address = ipaddress.ip_address(host)
        target = bytes((1 if address.version == 4 else 4,)) + address.packed
    return bytes((5, command, 0)) + target + port.to_bytes(2, "big")


def socks4_request(host, port, command=1, user=b""):
    """Return the request of SOCKS 4 for an address (text), or of SOCKS 4a for a name (bytes)."""
    name = host + b"\0" if isinstance(host, bytes) else b""
    address = b"\0\0\0\1" if isinstance(host, bytes) else ipaddress.ip_address(host).packed
    return bytes((4, command)) + port.to_bytes(2, "big") + address + user + b"\0" + name
