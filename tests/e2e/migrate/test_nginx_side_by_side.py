"""The same requests to nginx, and to what ``lb migrate`` makes of its configuration: the same is seen on both sides."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import asynccontextmanager

import attrs
import grpc
import pytest
import trio

from tests.support.balancer import PATIENCE, run_lb
from tests.support.migrating import DATA, files_for, localized, nginx_side, our_side, servers_of
from tests.support.paths import EXAMPLES

pytestmark = pytest.mark.slow

OF_THE_CONNECTION = {"connection", "user-agent", "content-length", "transfer-encoding"}
"""Fields that each side writes for itself."""


@attrs.frozen
class Ask:
    """A request, and the response fields that must be the same."""

    path: str = "/"
    method: str = "GET"
    port: int = 80
    host: str = "shop.example.com"
    headers: dict = attrs.field(factory=dict)
    content: bytes | None = None
    heed: tuple = ()

    async def of(self, side):
        more = {} if self.content is None else {"content": self.content}
        return await side.ask(self.path, self.method, port=self.port, host=self.host, headers=self.headers, **more)


def seen(response, heed=()):
    """Return what clients see, without what the two programs write in their own words."""
    location = re.sub(r"^http://(shop\.example\.com|127\.0\.0\.1)(:\d+)?/", "/", response.headers.get("location", ""))
    own_words = response.status_code >= 300 or not response.content
    body = None if own_words or is_told(response) else response.content
    return response.status_code, location, body, [response.headers.get(name) for name in heed]


def is_told(response):
    return response.headers.get("content-type") == "application/json" and b'"fields"' in response.content


def told(response, like):
    """Return what the server saw. Of its fields, those that it got from nginx (``like``)."""
    got = response.json()
    names = like.json()["fields"].keys() - OF_THE_CONNECTION
    if "x-forwarded-for" in like.request.headers:  # nginx passes it on as it came, or adds to what anybody says
        names -= {"x-forwarded-for"}
    return {**got, "fields": {name: got["fields"].get(name) for name in names}}


TABLE = {
    "video_cache": [
        *[Ask("/videos/film.mp4", heed=("x-cache-status",))] * 3,
        Ask("/videos/film.mp4", host="other.test", heed=("x-cache-status",)),
        Ask("/videos/film.mp4?x", heed=("x-cache-status",)),
        Ask("/videos/film.mp4", "HEAD", heed=("x-cache-status",)),
        Ask("/videos"),
        Ask("/other"),
    ],
    "proxy_one": [
        Ask("/a/b?c=d"),
        Ask("/", headers={"X-Shop": "red", "Accept-Encoding": "gzip"}),
        Ask("/upload", "POST", content=b"x" * 100_000),
    ],
    "weights": [Ask("/reports/2026"), Ask("/reports")],
    "virtual_hosts": [
        Ask(host=host, path=path)
        for host in (
            *("example.com", "www.example.com", "api.example.com", "x.y.example.com", "example.org", "a.example.org"),
            *("other.test", "127.0.0.1"),
        )
        for path in ("/", "/v1/users?x=1")
    ],
    "https": [
        Ask("/a?b=c", host="a.example.org"),
        Ask("/.well-known/acme-challenge/token"),
        Ask("/x", port=443, host="a.example.org", heed=("strict-transport-security", "x-site")),
        Ask("/x", port=443, host="b.example.org", heed=("strict-transport-security", "x-site", "x-server")),
        Ask("/x", port=443, host="c.example.org"),
    ],
    "certbot": [
        Ask("/a?b", host="www.example.org"),
        Ask("/a", host="example.org"),
        Ask("/a", host="other.test"),
        Ask("/a?b", port=443, host="a.example.org"),
        Ask("/a?b", port=443, host="www.a.example.org"),
    ],
    "locations": [
        Ask(path)
        for path in (
            *("/", "/other", "/health", "/assets/a.js", "/assets", "/orders/1", "/orders", "/invoices/7?x", "/export"),
            *("/export/x", "/docs/", "/docs/new/a", "/docs/old/b", "/docs", "/docs/old", "/private/x", "/%6frders/2"),
        )
    ],
    "prefixes": [
        Ask(path)
        for path in (
            *("/api/a/b?c=d", "/api/", "/api", "/users/7", "/users/", "/legacy/x/y", "/shop/cart?id=1", "/same/a"),
            *("/else/where?q", "/"),
        )
    ],
    "static_site": [
        Ask("/"),
        Ask("/page.html"),
        Ask("/docs"),
        Ask("/docs/"),
        Ask("/nothing"),
        Ask("/favicon.ico"),
        Ask("/static/site.css", heed=("cache-control", "x-kind")),
        Ask("/static/site.css", headers={"Accept-Encoding": "gzip"}, heed=("content-encoding", "cache-control")),
        Ask("/img/logo.png", heed=("cache-control", "content-length")),
        Ask("/static/nothing.css", heed=()),
    ],
    "cached_api": [
        *[Ask("/a?x=1", heed=("x-cache",))] * 3,
        Ask("/a?x=1", headers={"Cookie": "session=1"}, heed=("x-cache",)),
        Ask("/a?x=1&nocache=1", heed=("x-cache",)),
        Ask("/a?x=1", headers={"Pragma": "no-cache"}, heed=("x-cache",)),
        *[Ask("/popular/1", heed=("x-cache",))] * 4,
        Ask("/popular/1", headers={"Cookie": "lang=de"}, heed=("x-cache",)),
        *[Ask("/live/1")] * 2,
    ],
    "limits": [
        *[Ask("/login")] * 7,
        Ask("/form", "POST", content=b"x" * 8000),
        Ask("/form", "POST", content=b"x" * 9000),
    ],
    "users": [
        Ask("/"),
        Ask("/staff/"),
        Ask("/staff/", headers={"Authorization": "Basic YWxpY2U6d3Jvbmc="}),
        Ask("/staff/", headers={"Authorization": "Basic YWxpY2U6c2VjcmV0"}),
        Ask("/staff/status"),
        Ask("/members/a"),
        Ask("/members/a?b", headers={"Cookie": "member=yes"}),
        Ask("/verify"),
    ],
    "office": [
        Ask("/", headers={"X-Forwarded-For": "192.168.1.2"}),
        Ask("/", headers={"X-Forwarded-For": "192.168.1.9, 192.168.1.2, 10.1.0.1"}),
        Ask("/admin/"),
    ],
    "server_tls": [Ask("/a?b"), Ask("/bank/x")],
    "moved": [
        Ask(path, host=host)
        for host in ("shop.example.com",)
        for path in (
            *("/feed", "/old.html", "/blog/a?b=c", "/version", "/gone", "/robots.txt", "/empty", "/elsewhere/x"),
            *("/any/thing?x=y", "/"),
        )
    ],
    "methods": [
        Ask("/", "GET"),
        Ask("/", "HEAD"),
        Ask("/", "POST", content=b"x"),
        Ask("/a", "DELETE"),
        Ask("/api/x", "OPTIONS", heed=("access-control-allow-origin", "access-control-allow-methods")),
        Ask("/api/x", "POST", content=b"x", heed=("access-control-allow-origin",)),
    ],
}
"""For each configuration the requests, in their order."""


@asynccontextmanager
async def both(tmp_path, name):
    """Run nginx, and ours with what the command has made of its configuration, before the same servers."""
    path = EXAMPLES / "video-cache" / "nginx.conf" if name == "video_cache" else DATA / "nginx" / f"{name}.conf"
    source = path.read_text()
    homes = [tmp_path / "theirs", tmp_path / "ours"]
    for home in homes:
        files_for(home)
    async with servers_of(source) as servers:
        texts = [localized(source, home, servers) for home in homes]
        (homes[1] / "nginx.conf").write_text(texts[1])
        code, migrated, said = await run_lb("migrate", homes[1] / "nginx.conf")
        assert "lb check" not in said
        assert code in (0, 3), said
        async with nginx_side(homes[0], texts[0]) as theirs, our_side(homes[1], migrated) as ours:
            yield theirs, ours


@pytest.mark.parametrize("name", TABLE)
async def test_both_answer_the_same(tmp_path, name):
    async with both(tmp_path, name) as (theirs, ours):
        different = []
        for ask in TABLE[name]:
            there, here = await ask.of(theirs), await ask.of(ours)
            saw = [told(each, there) if is_told(there) and is_told(here) else None for each in (there, here)]
            if (seen(there, ask.heed), saw[0]) != (seen(here, ask.heed), saw[1]):
                different.append((ask, seen(there, ask.heed), seen(here, ask.heed), *saw))
        assert different == []


async def servers_chosen(side, asks):
    return [(await each.of(side)).json()["server"] for each in asks]


async def test_both_choose_servers_in_the_same_proportion(tmp_path):
    async with both(tmp_path, "weights") as sides:
        theirs, ours = [Counter(await servers_chosen(side, [Ask("/")] * 40)) for side in sides]
        assert theirs == ours == {"10.0.0.1:8000": 30, "10.0.0.2:8000": 10}


async def test_both_choose_servers_by_the_same_keys(tmp_path):
    async with both(tmp_path, "strategies") as (theirs, ours):
        for asks in (
            [Ask(f"/objects/{number}?x={number}") for number in range(20)],
            [Ask("/clients/")] * 3,
            [Ask("/carts/", headers={"Cookie": f"cart={number}"}) for number in range(20)],
        ):
            there, here = await servers_chosen(theirs, asks), await servers_chosen(ours, asks)
            assert here == there
        for asks in ([Ask("/busy/")] * 30, [Ask("/any/")] * 30):
            there, here = Counter(await servers_chosen(theirs, asks)), Counter(await servers_chosen(ours, asks))
            assert here.keys() == there.keys()
        assert Counter(await servers_chosen(ours, [Ask("/busy/")] * 30)) == {f"10.0.0.{n}:8000": 10 for n in (1, 2, 3)}


async def test_both_relay_tcp_to_the_same_servers(tmp_path):
    async with both(tmp_path, "databases") as (theirs, ours):
        for port in (5432, 6379, 2525):
            there, here = await theirs.say(b"name\n", port), await ours.say(b"name\n", port)
            assert here == there, port
            assert here, port


async def test_both_choose_servers_by_the_name_in_the_handshake(tmp_path):
    async with both(tmp_path, "names") as (theirs, ours):
        for host in ("a.example.org", "apps.example.org", "x.apps.example.org", "other.test"):
            there, here = [(await side.ask(port=443, host=host)).json()["server"] for side in (theirs, ours)]
            assert here == there, host


def calls(port):
    """Call the methods of a server of gRPC. Return what came: messages, or the status and its details."""
    said = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method, message in (("Unary", b"hello"), ("Metadata", b""), ("Fail", b"NOT_FOUND"), ("None", b"")):
            try:
                answer = channel.unary_unary(f"/test.Echo/{method}")(message, timeout=PATIENCE, metadata=[("x-a", "b")])
                said.append(b"x-zone: inner" in answer if method == "Metadata" else answer)
            except grpc.RpcError as error:
                said.append((error.code(), error.details()))
        said.append([*channel.stream_stream("/test.Echo/Chat")(iter([b"a", b"b"]), timeout=PATIENCE)])
    return said


async def test_both_pass_grpc(tmp_path):
    async with both(tmp_path, "grpc_plain") as sides:
        theirs, ours = [await trio.to_thread.run_sync(calls, side.ports[80]) for side in sides]
        assert ours == theirs
        assert ours[0] == b"10.0.0.1:50051 hello"
        assert ours[1] is True


async def test_both_pass_upgrades(tmp_path):
    async with both(tmp_path, "websocket") as sides:
        for side in sides:
            line, echoed = await side.upgrade("/ws/chat")
            assert line.startswith(b"HTTP/1.1 101")
            assert echoed == b"hello"
