"""What there is to demonstrate: servers, a configuration of the balancer, what its clients ask, what to try."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import attrs

__all__ = ["DEMOS", "Ask", "DemoKind"]

HEAVY = 3
"""The weight that a reload gives to a server."""


@attrs.frozen
class Ask:
    """A request of the load, and its right answer. ``{}`` in paths is a number."""

    host: str
    path: str
    seen: str
    """The path that the server gets."""
    servers: tuple[str, ...]
    """Those that may answer."""
    numbers: int = sys.maxsize
    """How many numbers there are. Requests take them in turn."""


@attrs.frozen
class DemoKind:
    """A demo. Its first server is the one that the scripted demo kills."""

    introduction: str
    servers: tuple[str, ...]
    heavier: str
    """The server whose weight a reload changes."""
    template: str
    """The configuration. A line ``@NAME`` stands for the server with this name."""
    asks: tuple[Ask, ...]
    by_request: bool
    """Requests of a connection may go to different servers, and are counted; else connections are."""
    urls: tuple[tuple[str, str], ...]
    """What to open in a browser, or with curl, with ``{}`` for the port, and what it shows."""
    on_kill: str = "it is ejected, and no {} fails"
    """What the kill of the first server shows; ``{}`` is what is counted."""
    delay: float = 0.0
    """Seconds that each answer of a server takes."""

    @property
    def counted(self) -> str:
        """What the demo counts."""
        return "requests" if self.by_request else "sessions"

    def weight(self, name: str, *, heavy: bool) -> int:
        return HEAVY if heavy and name == self.heavier else 1

    def config(self, addresses: Mapping[str, str], *, heavy: bool) -> str:
        """Return the configuration in TOML. ``addresses`` are by server; ``heavy``: after the reload."""
        text = self.template
        for name, address in addresses.items():
            weight = self.weight(name, heavy=heavy)
            text = text.replace(f"@{name}\n", f'{{ name = "{name}", address = "{address}", weight = {weight} }},\n')
        return text


_CHECKS = """\
probe = "http"              # GET /, expect a status from 200 to 399
interval = "500ms"
fast_interval = "100ms"     # while a verdict is pending
timeout = "500ms"
fall = 2                    # failures until a server is ejected
rise = 2                    # passes until it is restored
"""
_ADMIN = """\
[admin]
bind = "127.0.0.1:0"
"""
_TCP = f"""\
{_ADMIN}
[listeners.demo]
bind = "127.0.0.1:0"        # port 0: the system chooses one

[pools.demo]
strategy = "weighted"
servers = [
    @s1
    @s2
    @s3
]

[pools.demo.health]
{_CHECKS}"""
_HTTP = f"""\
{_ADMIN}
[listeners.demo]
mode = "http"
bind = "127.0.0.1:0"        # port 0: the system chooses one

[[listeners.demo.routes]]
host = "shop.localhost"
pool = "shop"

[[listeners.demo.routes]]
host = "videos.localhost"
pool = "videos"
compress = true

[[listeners.demo.routes]]
host = "shop.localhost"
path = "/videos"            # /videos/a of the shop is /a of the videos
strip_prefix = "/videos"
pool = "videos"

[[listeners.demo.routes]]
host = "shop.localhost"
path = "=/watch"
redirect = "/videos/"
status = 302

[[listeners.demo.routes]]
host = "shop.localhost"
path = "=/hello"
respond = "Hello {{client_ip}}, this is the balancer itself.\\n"

[pools.shop]
servers = [
    @s1
    @s2
]

[pools.videos]
servers = [
    @v1
    @v2
]

[pools.shop.health]
{_CHECKS}
[pools.videos.health]
{_CHECKS}"""
_CACHE = f"""\
{_ADMIN}
[caches.films]              # no path: in memory only

[listeners.demo]
mode = "http"
bind = "127.0.0.1:0"        # port 0: the system chooses one

[[listeners.demo.routes]]
pool = "origin"

[listeners.demo.routes.cache]
zone = "films"
valid = {{ 200 = "1s" }}      # fresh so long
use_stale = ["error", "timeout", "updating"]
status_header = "X-Cache-Status"

[pools.origin]
servers = [
    @origin
]

[pools.origin.health]
{_CHECKS}"""

DEMOS: Mapping[str, DemoKind] = {
    "tcp": DemoKind(
        introduction="Three servers, a balancer in front of them, and a light load.",
        servers=("s1", "s2", "s3"),
        heavier="s3",
        template=_TCP,
        asks=(Ask("demo", "/request-{}", "/request-{}", ("s1", "s2", "s3")),),
        by_request=False,
        urls=(("http://127.0.0.1:{}/", "or in a browser: which server answers?"),),
    ),
    "http": DemoKind(
        introduction="Two sites behind one balancer, with two servers each, and a light load.",
        servers=("s1", "s2", "v1", "v2"),
        heavier="v2",
        template=_HTTP,
        asks=(
            Ask("shop.localhost", "/request-{}", "/request-{}", ("s1", "s2")),
            Ask("videos.localhost", "/request-{}", "/request-{}", ("v1", "v2")),
            Ask("shop.localhost", "/videos/request-{}", "/request-{}", ("v1", "v2")),
        ),
        by_request=True,
        urls=(
            ("http://shop.localhost:{}/", "a site: s1 or s2 answers"),
            ("http://videos.localhost:{}/", "another host, another site: v1 or v2"),
            ("http://shop.localhost:{}/videos/a", "a path of the first site leads to the second"),
            ("http://shop.localhost:{}/watch", "a redirect to it"),
            ("http://shop.localhost:{}/hello", "a text of the balancer itself"),
        ),
    ),
    "cache": DemoKind(
        introduction="A cache in front of an origin that takes half a second for an answer, and a light load.",
        servers=("origin",),
        heavier="origin",
        template=_CACHE,
        asks=(Ask("demo", "/film-{}", "/film-{}", ("origin",), numbers=5),),
        by_request=True,
        urls=(
            ("http://127.0.0.1:{}/film-1", "a film that all ask for: HIT (with curl -i)"),
            ("http://127.0.0.1:{}/film-6", "one that nobody asked for: MISS, half a second; then HIT, at once"),
        ),
        on_kill="what it sent is served on, STALE, and no {} fails",
        delay=0.5,
    ),
}
"""The demos by name."""
