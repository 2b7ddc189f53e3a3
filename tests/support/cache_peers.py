"""A cache of nginx and ours, each from the files of ``examples/video-cache``, each before an origin of its own."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import httpx
import trio

from tests.e2e.traffic.test_real_peers import program, running
from tests.support.balancer import PATIENCE, QUICK_CHECKS, balancer
from tests.support.cache_origin import cache_origin
from tests.support.examples import adapted
from tests.support.paths import EXAMPLES
from tests.support.servers import free_port

__all__ = ["EXPIRED", "FILM", "FRESH", "PEERS", "Peer", "peer"]

FILM = "/videos/film.mp4"
HOST = "video.example.com"
"""What clients ask for, whichever port the cache has got: it is a part of our key."""
FRESH = 1
"""Seconds that take the place of the example's hour."""
EXPIRED = FRESH + 1.1
"""Seconds until what was stored is surely expired: nginx counts whole seconds."""


@attrs.define
class Peer:
    """A cache with its origin. ``run`` starts it: a context manager that yields its port."""

    name: str
    origin: object
    _run: object
    _stack: AsyncExitStack = attrs.field(factory=AsyncExitStack)
    client: httpx.AsyncClient | None = None

    async def start(self):
        port = await self._stack.enter_async_context(self._run())
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Host": HOST},
            timeout=PATIENCE,
            limits=httpx.Limits(max_keepalive_connections=0),  # nginx holds a connection until a refresh has ended
        )
        self.client = await self._stack.enter_async_context(client)

    async def stop(self):
        await self._stack.aclose()

    async def ask(self, path=FILM, method="GET", **fields):
        """Send a request; ``_`` in names of fields is ``-``. Return the response."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return await self.client.request(method, path, headers=headers)

    async def get(self, path=FILM, **fields):
        """Return the cache status (None if there is none), and the body."""
        response = await self.ask(path, **fields)
        return response.headers.get("x-cache-status"), response.content

    async def until(self, status, path=FILM):
        """Ask until the cache status is this one, and return the body."""
        with trio.fail_after(PATIENCE):
            while True:
                found, body = await self.get(path)
                if found == status:
                    return body
                await trio.sleep(0.02)


def changed(text, *changes):
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


NGINX_ALONE = """daemon off; worker_processes 1; pid HOME/pid; error_log HOME/error.log; USER
events {}"""
NGINX_TUNED = """proxy_cache_valid 200 1s;
            proxy_cache_background_update on;
            proxy_cache_revalidate on;
            proxy_cache_bypass $cookie_nocache;"""


@asynccontextmanager
async def nginx(home, origin, *, tuned=False, patience="60s"):
    """Run nginx; yields its port."""
    port = free_port()
    home.mkdir(exist_ok=True)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)
    text = changed(
        (EXAMPLES / "video-cache" / "nginx.conf").read_text(),
        ("events {}", NGINX_ALONE.replace("HOME", str(home)).replace("USER", "user root;" if not os.geteuid() else "")),
        ("http {", f"http {{ access_log off; {paths} proxy_read_timeout {patience};"),
        ("/var/cache/nginx", f"{home}/cache"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("10.0.0.1:8000", origin.address),
        ("proxy_cache_valid 200 1h;", NGINX_TUNED if tuned else f"proxy_cache_valid 200 {FRESH}s;"),
    )
    (home / "nginx.conf").write_text(text)
    command = [program("nginx"), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"]
    async with running(command, port):
        yield port


@asynccontextmanager
async def lb(home, origin, *, tuned=False, patience="60s", memory="64MiB", use_stale=""):
    """Run ``lb``; yields its port. ``use_stale`` is the only case in which it serves what is stale, if given."""
    home.mkdir(exist_ok=True)
    changes = [
        ('"127.0.0.1:9900"', '"127.0.0.1:0"'),
        ('"/var/cache/trio-lb/video"', f'"{home}/cache"\nmemory = "{memory}"'),
        ('":80"', '"127.0.0.1:0"'),
        ("[listeners.www", "[listeners.web"),
        ('valid = { 200 = "1h" }', f'valid = {{ 200 = "{FRESH}s" }}'),
        ("127.0.0.1:8000", origin.address),
    ]
    if tuned:
        changes += [("background_update = false", 'bypass = ["cookie:nocache"]'), ("revalidate = false", "")]
    if use_stale:
        changes.append(('["error", "timeout", "updating"]', f'["{use_stale}"]'))
    text = adapted("video-cache/lb", *changes)
    pool = "pools.backend_video_server"
    text += f'[{pool}.http]\nresponse_timeout = "{patience}"\n[{pool}.health]\n{QUICK_CHECKS}\n'
    async with balancer(home, text) as started:
        yield started.port


@asynccontextmanager
async def peer(name, home, **options):
    """Run the cache with a name of ``PEERS``."""
    async with cache_origin() as origin:
        found = Peer(name, origin, lambda: PEERS[name](home, origin, **options))
        await found.start()
        try:
            yield found
        finally:
            await found.stop()


PEERS = {"nginx": nginx, "trio-lb": lb}
