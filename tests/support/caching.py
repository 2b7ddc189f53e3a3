"""A balancer with a cache in front of a server that follows a script."""

from __future__ import annotations

import json
import os

import trio

from tests.support.balancer import PATIENCE, with_workers
from tests.support.http_client import client

__all__ = ["Gate", "ask", "cache_config", "response", "results"]


def cache_config(*servers, route="", zone="", pool="", top="", listener=""):
    """Return a configuration: the listener and pool ``web``, the cache ``zone``. Arguments are lines of TOML."""
    path = os.environ.get("LB_TEST_CACHE")
    if path is not None and "path" not in zone:
        zone += f"\npath = {json.dumps(path)}"
    addresses = ", ".join(f'"{each.address}"' for each in servers)
    return with_workers(
        f'{top}\n[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\n{listener}\n'
        '[[listeners.web.routes]]\nname = "all"\npool = "web"\n'
        f'[listeners.web.routes.cache]\nzone = "zone"\nstatus_header = "X-Cache-Status"\n{route}\n'
        f"[caches.zone]\n{zone}\n"
        f"[pools.web]\nhealth = false\nservers = [{addresses}]\n{pool}\n"
    )


def response(body=b"ok", fields=b"Cache-Control: max-age=60\r\n", status=b"200 OK", chunked=False):
    """Return the bytes of a response."""
    if chunked:
        framing, body = b"Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        framing = b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 " + status + b"\r\n" + fields + framing + b"\r\n" + body


async def ask(lb, target=b"/", fields=b"", method=b"GET", version=b"1.1"):
    """Send a request over a connection of its own, and return the answer."""
    async with client(lb) as visitor:
        head = b"%s %s HTTP/%s\r\nHost: a.example\r\n%s\r\n" % (method, target, version, fields)
        return await visitor.ask(head, method=method)


def results(answers):
    return [answer[b"x-cache-status"].decode() for answer in answers]


class Gate:
    """A response of :func:`tests.support.http_client.scripted` that comes in parts, each when it is let through."""

    def __init__(self, *parts, end=True):
        self._parts = parts
        self._end = end
        self._open = [trio.Event() for _ in parts]
        self.asked = trio.Event()

    def let(self, number):
        """Let a part through."""
        self._open[number].set()

    async def __call__(self, stream, request):
        self.asked.set()
        with trio.fail_after(PATIENCE):
            for part, is_open in zip(self._parts, self._open, strict=True):
                await is_open.wait()
                await stream.send_all(part)
        return self._end
