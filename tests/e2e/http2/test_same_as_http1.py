"""The same requests over HTTP/1.1 and HTTP/2: what clients get, what servers get and what is recorded is the same."""

from __future__ import annotations

import base64
import json
import re

import attrs
import pytest

from tests.support.auth_server import auth_server, response
from tests.support.balancer import balancer, with_workers
from tests.support.http2_client import visiting
from tests.support.http_client import client, scripted
from tests.support.http_origin import http_origin

pytestmark = pytest.mark.slow

TEXT = b"a line of text\n" * 300
ANN = "ann:$5$NkkVIj6bnsSvWVgp$3ow8MaKpiAVDEQRYYvmeVZG1B4R2cuyvNHTFhS13jG6\n"
LOGIN = "Basic " + base64.b64encode(b"ann:sesame").decode()


def config(origin, server, auth):
    """Return a listener whose routes have all that a route may have. ``server`` answers as the tests of it say."""
    return with_workers(f"""
[users.staff]
file = "staff.htpasswd"
[caches.memory]
memory = "1MiB"
[caches.disk]
path = "cache"
max_size = "10MiB"
memory = "0"
[listeners.web]
mode = "http"
bind = "127.0.0.1:0"
h2c = true
max_body = "100KiB"
max_header = "4KiB"
[[listeners.web.routes]]
path = "/origin/"
strip_prefix = "/origin"
pool = "origin"
[[listeners.web.routes]]
path = "/server/"
pool = "server"
[[listeners.web.routes]]
path = "/edited/"
strip_prefix = "/edited"
pool = "origin"
host_header = "server"
request_headers = {{ set = {{ X-Set = "{{client_ip}} {{method}} {{scheme}} {{host}}" }}, remove = ["x-mine"] }}
response_headers = {{ add = {{ X-Path = "{{path}} {{server}}" }}, remove = ["X-Server"] }}
[[listeners.web.routes]]
path = "/sticky/"
strip_prefix = "/sticky"
pool = "sticky"
[[listeners.web.routes]]
path = "/text"
respond = "hello {{host}}{{uri}}"
[[listeners.web.routes]]
path = "/moved"
redirect = "https://{{host}}{{uri}}"
[[listeners.web.routes]]
path = "/posts"
methods = ["POST"]
respond = "posted"
[[listeners.web.routes]]
path = "/staff"
respond = "in"
auth = "staff"
[[listeners.web.routes]]
path = "/asked/"
strip_prefix = "/asked"
pool = "origin"
forward_auth = "{auth.url}"
auth_headers = ["X-User"]
[[listeners.web.routes]]
path = "/rated"
respond = "slowly"
rate = "1/h"
burst = 2
[[listeners.web.routes]]
path = "/files/"
strip_prefix = "/files"
files = "www"
compress = true
[[listeners.web.routes]]
path = "/compressed/"
pool = "server"
compress = true
[[listeners.web.routes]]
path = "/cached/"
pool = "server"
[listeners.web.routes.cache]
zone = "memory"
valid = {{ 200 = "1h" }}
status_header = "X-Cache-Status"
key = "{{path}}{{header:X-Version}}"
[[listeners.web.routes]]
path = "/disk/"
pool = "server"
[listeners.web.routes.cache]
zone = "disk"
valid = {{ 200 = "1h" }}
key = "{{path}}{{header:X-Version}}"
[pools.origin]
health = false
servers = ["{origin.address}"]
[pools.sticky]
health = false
sticky = {{ cookie = "lb" }}
servers = ["{origin.address}"]
[pools.server]
health = false
servers = ["{server.address}"]
""")


SERVED = {
    b"plain": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4500\r\n\r\n" + TEXT,
    b"chunked": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n1194\r\n"
    + TEXT
    + b"\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"odd": b"HTTP/1.1 299 Odd\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-Empty:\r\n"
    b"Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nTE: trailers\r\nTrailer: x-a\r\nSet-Cookie: a=1\r\n"
    b"Set-Cookie: b=2\r\nX-Latin: \xe9\r\nVia: 1.0 other\r\nServer: odd\r\nContent-Length: 2\r\n\r\nok",
    b"hints": b"HTTP/1.1 103 Early Hints\r\nConnection: x-a\r\nX-A: 1\r\nLink: </s>\r\n\r\nHTTP/1.1 200 OK\r\n"
    b"Content-Length: 0\r\n\r\n",
    b"empty": b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
    b"same": b"HTTP/1.1 304 Not Modified\r\nETag: 1\r\n\r\n",
    b"bad-name": b"HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 0\r\n\r\n",
    b"bad-value": b"HTTP/1.1 200 OK\r\nX-A: 1\x00\r\nContent-Length: 0\r\n\r\n",
    b"bad-length": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
    b"both": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"switches": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"bad-trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Type: x\r\n\r\n",
}


async def serve(stream, request):
    await stream.send_all(SERVED[request.target.rpartition(b"/")[2].partition(b"?")[0]])


@attrs.frozen
class Request:
    """``body`` None = none; ``has_length``: it has a Content-Length, else HTTP/1 sends it in chunks."""

    path: str
    fields: tuple = ()
    method: str = "GET"
    body: bytes | None = None
    has_length: bool = True
    host: str = "lb.example"

    def __str__(self):
        return f"{self.method} {self.path[:40]} {self.fields!r:.60}"


def post(path, size, *fields, has_length=True):
    return Request(path, fields, "POST", b"x" * size, has_length)


def each(path, *fields):
    """Return requests with each of these fields alone."""
    return [Request(path, (field,)) for field in fields]


RANGES = [("range", value) for value in ("bytes=0-9", "bytes=-5", "bytes=9999-", "bytes=0-1,4-5", "lines=1-2")]
CODINGS = [("accept-encoding", value) for value in ("gzip", "br", "zstd", "gzip;q=0", "identity", "*")]

REQUESTS = [
    Request("/origin/request?a=b&c=%20"),
    Request("/origin/request", method="DELETE"),
    Request("/origin/request", host="LB.example:8080"),
    *each("/origin/request", ("x-mine", "1"), ("x-mine", ""), ("x_mine", "1"), ("te", "trailers")),
    *each("/origin/request", ("x-forwarded-for", "1.2.3.4"), ("x-request-id", "7"), ("forwarded", "for=1.2.3.4")),
    *each("/origin/request", ("x_forwarded_for", "1.2.3.4"), ("proxy-authorization", "Basic x"), ("trailer", "x-a")),
    *each("/origin/request", ("content_length", "5"), ("transfer_encoding", "chunked"), ("priority", "u=1, i")),
    *each("/origin/request", ("authorization", "Basic abc"), ("user-agent", "x" * 3000), ("content-length", "0")),
    Request("/origin/request", (("accept", "a"), ("accept", "b"))),
    Request("/origin/request", (("authorization", "a"), ("authorization", "b"))),
    Request("/origin/request", (("x-a", "y" * 5000),)),
    Request("/origin/request", tuple((f"x-{number}", "") for number in range(99))),
    Request("/origin/request", tuple((f"x-{number}", "") for number in range(110))),
    *[Request(path) for path in ("/text/a%2fb", "/text/%00", "/../x", "/text/../moved", "//text", "/nowhere")],
    *[Request(path) for path in ("/text/%", "/text?%zz", "/text/a\\b", "/Text", "/text/", "/text?x")],
    *each("/text", ("x-latin", "\xe9"), ("x-tab", "a\tb")),
    *[Request("/text", method=method) for method in ("HEAD", "OPTIONS", "PURGE", "get", "BREW", "TRACE", "DELETE")],
    Request("*", method="OPTIONS"),
    Request("lb.example:443", method="CONNECT", host="lb.example:443"),
    *[Request("/server/" + name.decode()) for name in SERVED],
    *[Request("/server/" + name, method="HEAD") for name in ("empty", "same")],
    Request("/edited/request", (("x-mine", "1"), ("x-other", "2"))),
    Request("/edited/bytes?n=10"),
    Request("/sticky/name"),
    Request("/text?q=1"),
    *each("/nowhere", ("accept", "application/problem+json"), ("accept", "text/html")),
    Request("/moved/x?y=1"),
    Request("/moved/x", method="HEAD"),
    Request("/posts"),
    post("/posts", 10),
    post("/posts", 10, has_length=False),
    post("/posts", 200_000),
    post("/posts", 0),
    *[post("/origin/echo", size, has_length=known) for size in (0, 1, 90_000) for known in (True, False)],
    post("/origin/echo", 102_400),
    post("/origin/echo", 102_401, has_length=False),
    post("/origin/echo", 200_000, has_length=False),
    post("/origin/early", 50_000),
    *each("/staff", ("authorization", "Basic !!"), ("authorization", LOGIN), ("authorization", "Bearer x")),
    Request("/staff"),
    post("/staff", 1000),
    *each("/asked/request", ("x-pass", "1"), ("x-pass", "0"), ("x-user", "mallory")),
    post("/asked/echo", 1000, ("x-pass", "1")),
    *[Request("/rated", (("x-forwarded-for", "7"),)) for _ in range(3)],
    Request("/files/"),
    Request("/files/page.txt"),
    Request("/files/page.txt", method="HEAD"),
    Request("/files/page.txt", method="POST", body=b"x"),
    *each("/files/page.txt", *RANGES, *CODINGS, ("if-none-match", "*"), ("if-match", '"x"'), ("if-range", '"x"')),
    *[Request(f"/files/{path}") for path in ("none", ".hidden", "page.txt/", "sub", "sub/", "empty.txt")],
    *[Request("/compressed/" + name, (coding,)) for name in ("plain", "chunked", "odd") for coding in CODINGS],
    Request("/compressed/plain", (CODINGS[0],), "HEAD"),
    *[Request(f"/{kind}/{name}") for kind in ("cached", "disk") for name in ("plain", "chunked", "empty") * 3],
    *[Request(f"/{kind}/plain", (each,)) for kind in ("cached", "disk") for each in RANGES],
    *[Request(f"/{kind}/plain", method=method) for kind in ("cached", "disk") for method in ("HEAD", "OPTIONS")],
    *each("/cached/plain", ("if-none-match", "*"), ("cache-control", "no-cache"), ("pragma", "no-cache")),
    *each("/cached/odd", ("a", "1"), ("b", "2")),
]

VOLATILE = {b"date", b"age", b"x-request-id", b"last-modified"}
OF_HTTP1 = {b"connection", b"transfer-encoding"}
RECORDED = ("route", "method", "host", "path", "status", "bytes_in", "bytes_out", "pool", "cache", "reason")


def normal(text):
    """Return text without what is another one each time: ids, times left, boundaries of parts."""
    return re.sub(rb"[0-9a-f]{28}|ttl=[0-9]+|boundary=\S+|--[0-9a-z]{8,}", b"~", text)


def fields_of(answer):
    """Return the fields that both versions have, without their order."""
    named = [(name.lower(), normal(value)) for name, value in answer.headers if not name.startswith(b":")]
    return sorted(field for field in named if field[0] not in VOLATILE | OF_HTTP1)


def body_of(answer):
    body = bytes(answer.body)
    if not body.startswith(b'{"method"'):
        return normal(body)
    request = json.loads(body)  # what the server has got
    left_out = {name.decode() for name in VOLATILE | OF_HTTP1} | {"x-version"}
    return request["method"], request["target"], sorted(each for each in request["headers"] if each[0] not in left_out)


def seen(request, answer, record):
    """Return what must be the same.

    HTTP/1 counts the framing of chunks, and compresses away the trailers. How much comes of a refused body is chance.
    """
    has_length = any(name.lower() == b"content-length" for name, _ in answer.headers)
    recorded = {key: record[key] for key in RECORDED if has_length or key != "bytes_out"}
    if answer.status >= 400 or not request.has_length:
        del recorded["bytes_in"]
    trailers = [] if b"content-encoding" in answer else answer.trailers
    return answer.status, fields_of(answer), body_of(answer), trailers, len(answer.interim), recorded


async def over_http1(lb, request):
    fields = [("Host", request.host), ("X-Version", "1.1"), *request.fields]
    body = request.body or b""
    if request.body is not None and request.has_length:
        fields.append(("Content-Length", str(len(body))))
    elif request.body is not None:
        fields.append(("Transfer-Encoding", "chunked"))
        body = b"%x\r\n%s\r\n" % (len(body), body) * bool(body) + b"0\r\n\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    head = f"{request.method} {request.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
    async with client(lb) as visitor:
        return await visitor.ask(head + body, "GET" if request.method == "CONNECT" else request.method)


async def over_http2(lb, request):
    fields = [("x-version", "2.0"), *request.fields]
    if request.body is not None and request.has_length:
        fields.append(("content-length", str(len(request.body))))
    connect = [(":method", "CONNECT"), (":authority", request.host)]
    async with visiting(lb.port) as visitor:
        return await visitor.ask(
            request.path,
            *[(name, value.encode("latin-1")) for name, value in fields],
            method=request.method,
            authority=request.host,
            body=request.body,
            pseudo=connect if request.method == "CONNECT" else None,
        )


@pytest.fixture
def www(tmp_path):
    (tmp_path / "staff.htpasswd").write_text(ANN)
    www = tmp_path / "www"
    (www / "sub").mkdir(parents=True)
    (www / "index.html").write_text("<p>index")
    (www / "page.txt").write_bytes(TEXT)
    (www / "empty.txt").write_bytes(b"")
    (www / ".hidden").write_text("hidden")


def decide(lines):
    if b"x-pass: 1" in lines:
        return response(200, b"X-User: ann", b"Connection: keep-alive")
    return response(403, b"X-Why: not", b"Keep-Alive: timeout=5", b"Connection: x-hop", b"X-Hop: 1", body=b"no")


@pytest.mark.usefixtures("www")
async def test_requests_of_both_versions_have_the_same_results(tmp_path):
    async with (
        http_origin() as origin,
        scripted(serve) as server,
        auth_server(decide) as auth,
        balancer(tmp_path, config(origin, server, auth)) as lb,
    ):
        answers = [(await over_http1(lb, request), await over_http2(lb, request)) for request in REQUESTS]
        await lb.event("http.request", count=2 * len(REQUESTS))
    records = iter(lb.of("http.request"))
    differing = []
    for request, both in zip(REQUESTS, answers, strict=True):
        found = [seen(request, answer, next(records)) for answer in both]
        if found[0] != found[1]:
            differing.append((str(request), *found))
    assert not differing
    assert not list(records), "a request has more than one record"
