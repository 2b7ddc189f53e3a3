"""The target ``files``: what each request gets, and what no request gets."""

from __future__ import annotations

import errno
import os
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from lb.http.files import FilesTarget
from lb.http.open_files import SMALL_FILE
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHeads
from lb.model.http_dates import http_date
from tests.support.balancer import PATIENCE
from tests.support.file_serving import body_bytes, serving

PAGE, FILM = b"<p>page", bytes(range(256)) * (SMALL_FILE // 64)
CHANGED = 1_700_000_000


class FakeExchange:
    """A request, and what it was answered with: status, fields by name, body."""

    def __init__(self, text):
        self.head = RequestHeads().read(text)
        self.ended = False
        self.answered = trio.Event()

    def respond(self, status, fields=(), body=b"", *, reason="ok"):
        assert not self.answered.is_set(), "answered twice"
        names = [name for name, _ in fields]
        assert len(names) == len(set(names))
        self.status, self.fields, self.reason = status, dict(fields), reason
        self.body = body_bytes(body)
        self.answered.set()

    def fail(self, status, reason, fields=()):
        self.respond(status, fields, b"page of the error", reason=reason)


class Site:
    """A target, and requests to it."""

    def __init__(self, target):
        self.target = target

    async def ask(self, target, *lines, method="GET"):
        text = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: a", *lines, "", ""])
        exchange = FakeExchange(text.encode("latin-1"))
        self.target.begin(exchange)
        with trio.fail_after(PATIENCE):
            await exchange.answered.wait()
        return exchange

    async def status(self, *args, **kwargs):
        return (await self.ask(*args, **kwargs)).status


@pytest.fixture
def www(tmp_path):
    return make_tree(tmp_path)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("files"))


def make_tree(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    www = tmp_path / "www"
    (www / "docs" / ".git").mkdir(parents=True)
    (www / ".well-known" / "acme").mkdir(parents=True)
    files = {
        "index.html": PAGE,
        "docs/index.html": b"docs",
        "docs/.git/config": b"secret",
        ".env": b"secret",
        ".well-known/acme/token": b"token",
        "film.mp4": FILM,
        "app.js": b"script" * 9,
        "app.js.gz": b"gzipped",
        "app.js.br": b"brotli",
        "empty.txt": b"",
        "white space.txt": b"space",
        "docs/with%sign.txt": b"percent",
    }
    for name, content in files.items():
        (www / name).write_bytes(content)
        os.utime(www / name, (CHANGED, CHANGED))
    (www / "out").symlink_to("../secret")
    (www / "in").symlink_to("docs/index.html")
    (www / "nothing-here").mkdir()
    return www


@asynccontextmanager
async def site(www, **kwargs):
    async with serving() as bench:
        yield Site(FilesTarget(bench.directories.of(str(www)), **kwargs))


async def test_a_file(www):
    async with site(www) as it:
        for _ in range(2):  # from the disk, then kept
            got = await it.ask("/film.mp4")
            assert (got.status, got.body, got.reason) == (200, FILM, "ok")
            assert got.fields == {
                b"Content-Type": b"video/mp4",
                b"ETag": b'"%x-%x"' % (CHANGED * 10**9, len(FILM)),
                b"Last-Modified": http_date(CHANGED),
                b"Accept-Ranges": b"bytes",
            }


async def test_an_index_and_the_way_to_it(www):
    async with site(www) as it:
        for path in ("/", "/?a=b", "/./", "//", "/docs/..", "/index.html"):
            assert (await it.ask(path)).body == PAGE
        assert (await it.ask("/docs/")).body == b"docs"
        assert (await it.ask("/docs/")).fields[b"Content-Type"] == b"text/html; charset=utf-8"
        moved = await it.ask("/docs?a=b?c")
        assert (moved.status, moved.fields) == (301, {b"Location": b"/docs/?a=b?c"})
        assert await it.status("/nothing-here/") == 404
        assert await it.status("/index.html/") == 404


async def test_a_redirect_names_no_other_host(www):
    """A location that begins with two slashes, or a backslash that browsers take for one, would."""
    (www / "evil.example").mkdir()
    (www / "\\evil.example").mkdir()
    async with site(www) as it:
        assert (await it.ask("//evil.example")).fields[b"Location"] == b"/evil.example/"
        assert (await it.ask("/%5cevil.example")).fields[b"Location"] == b"/%5Cevil.example/"
        assert (await it.ask("/.//evil.example")).fields[b"Location"] == b"/evil.example/"


async def test_paths_are_decoded_once(www):
    async with site(www) as it:
        assert (await it.ask("/white%20space.txt")).body == b"space"
        assert (await it.ask("/docs/with%25sign.txt")).body == b"percent"
        assert await it.status("/white%2520space.txt") == 404


@pytest.mark.parametrize(
    "path",
    [
        "/.env",
        "/docs/.git/config",
        "/docs/.git",
        "/out",
        "/film.mp4/",
        "/film.mp4/x",
        "/x" * 3000,
        "/" + "x" * 300,
        "/%2e%65nv",
        "/docs/.git/..%5cconfig",
        "/.well-known/.env",
        "/.well-knownx/acme/token",
        "/etc/passwd",
    ],
)
async def test_nothing_else_is_served(www, path):
    async with site(www) as it:
        assert await it.status(path) == 404


async def test_links_within_and_well_known_names_are_served(www):
    async with site(www) as it:
        assert (await it.ask("/in")).body == b"docs"
        assert (await it.ask("/.well-known/acme/token")).body == b"token"


async def test_prefixes(www):
    async with site(www, strip_prefix="/static", add_prefix="/docs") as it:
        assert (await it.ask("/static/index.html")).body == b"docs"
        assert (await it.ask("/static/")).body == b"docs"
        assert (await it.ask("/index.html")).body == b"docs"
        assert await it.status("/staticindex.html") == 404
        assert (await it.ask("/static")).fields == {b"Location": b"/static/"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_other_methods(www, method):
    async with site(www) as it:
        got = await it.ask("/film.mp4", method=method)
        assert (got.status, got.fields[b"Allow"]) == (405, b"GET, HEAD")


async def test_head_is_answered_as_get_is(www):
    """The exchange leaves out the body."""
    async with site(www) as it:
        get, head = await it.ask("/film.mp4"), await it.ask("/film.mp4", "Range: bytes=0-1", method="HEAD")
        assert (head.status, head.fields, head.body) == (200, get.fields, get.body)


async def test_what_the_client_has_is_not_sent_again(www):
    async with site(www) as it:
        etag = (await it.ask("/film.mp4")).fields[b"ETag"].decode()
        got = await it.ask("/film.mp4", f"If-None-Match: {etag}")
        assert (got.status, got.body) == (304, b"")
        assert got.fields == {b"ETag": etag.encode(), b"Last-Modified": http_date(CHANGED)}
        assert await it.status("/film.mp4", f"If-Modified-Since: {http_date(CHANGED).decode()}") == 304
        assert await it.status("/film.mp4", 'If-None-Match: "other"') == 200
        assert await it.status("/film.mp4", 'If-Match: "other"') == 412
        assert await it.status("/nothing", f"If-None-Match: {etag}") == 404


@pytest.mark.parametrize("path", ["/film.mp4", "/app.js"])
async def test_a_part(www, path):
    async with site(www) as it:
        whole = await it.ask(path)
        got = await it.ask(path, "Range: bytes=5-9")
        assert (got.status, got.body) == (206, whole.body[5:10])
        assert got.fields == whole.fields | {b"Content-Range": b"bytes 5-9/%d" % len(whole.body)}
        assert (await it.ask(path, "Range: bytes=-3")).body == whole.body[-3:]
        assert (await it.ask(path, "Range: bytes=-3", f"If-Range: {got.fields[b'ETag'].decode()}")).status == 206
        assert (await it.ask(path, "Range: bytes=-3", 'If-Range: "other"')).body == whole.body
        refused = await it.ask(path, "Range: bytes=99999999-")
        assert (refused.status, refused.fields[b"Content-Range"]) == (416, b"bytes */%d" % len(whole.body))


@pytest.mark.parametrize("path", ["/film.mp4", "/app.js"])
async def test_several_parts(www, path):
    async with site(www) as it:
        whole = (await it.ask(path)).body
        got = await it.ask(path, "Range: bytes=0-1, 3-4")
        assert got.status == 206
        kind, _, boundary = got.fields[b"Content-Type"].partition(b"; boundary=")
        assert kind == b"multipart/byteranges"
        assert b"Content-Range" not in got.fields
        assert got.body.split(b"--" + boundary)[2].partition(b"\r\n\r\n")[2] == whole[3:5] + b"\r\n"
        other = await it.ask(path, "Range: bytes=0-1, 3-4")
        assert other.fields[b"Content-Type"] != got.fields[b"Content-Type"], "the boundary is drawn"


async def test_an_empty_file(www):
    async with site(www) as it:
        got = await it.ask("/empty.txt")
        assert (got.status, got.body) == (200, b"")


@pytest.mark.parametrize(
    ("accepts", "coding", "body"),
    [
        ([], None, b"script" * 9),
        (["Accept-Encoding: gzip"], b"gzip", b"gzipped"),
        (["Accept-Encoding: gzip, deflate, br, zstd"], b"br", b"brotli"),
        (["Accept-Encoding: gzip;q=0.9, br;q=0.1"], b"gzip", b"gzipped"),
        (["Accept-Encoding: gzip", "Accept-Encoding: br"], b"br", b"brotli"),
        (["Accept-Encoding: gzip;q=0, br;q=0"], None, b"script" * 9),
        (["Accept-Encoding: deflate"], None, b"script" * 9),
    ],
)
async def test_a_file_that_is_there_encoded(www, accepts, coding, body):
    async with site(www) as it:
        got = await it.ask("/app.js", *accepts)
        assert (got.status, got.fields.get(b"Content-Encoding"), got.body) == (200, coding, body)
        assert got.fields[b"Vary"] == b"Accept-Encoding"
        assert got.fields[b"Content-Type"] == b"text/javascript; charset=utf-8"
        again = await it.ask("/app.js", *accepts, f"If-None-Match: {got.fields[b'ETag'].decode()}")
        assert (again.status, again.fields[b"Vary"]) == (304, b"Accept-Encoding")


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [
        (errno.EACCES, 403, "denied"),
        (errno.EMFILE, 503, "no_server"),
        (errno.EBUSY, 503, "no_server"),
        (errno.EIO, 500, "no_server"),
        (errno.ENOENT, 404, "ok"),
        (errno.EXDEV, 404, "ok"),
    ],
)
async def test_a_file_that_cannot_be_opened(www, monkeypatch, number, status, reason):
    def fails(*_, wait):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("lb.http.open_files.open_beneath", fails)
    async with site(www) as it:
        got = await it.ask("/film.mp4")
        assert (got.status, got.reason) == (status, reason)


async def test_a_client_that_has_left_gets_nothing(www):
    async with serving() as bench:
        directory = bench.directories.of(str(www))
        exchange = FakeExchange(b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n")
        FilesTarget(directory).begin(exchange)
        exchange.ended = True
        opened = trio.Event()
        directory.open(b"film.mp4", lambda _: opened.set())
        with trio.fail_after(PATIENCE):
            await opened.wait()
        assert not exchange.answered.is_set()
        assert bench.descriptors.used == 1, "only the file that is kept"


async def test_a_hot_file_takes_no_thread(www):
    async with serving() as bench:
        it = Site(FilesTarget(bench.directories.of(str(www))))
        await it.ask("/film.mp4")
        before = bench.calls
        for _ in range(100):
            await it.ask("/film.mp4", "Range: bytes=1-2")
            await it.ask("/film.mp4")
        assert bench.calls == before


PIECES = ["..", ".", "", "%2e%2e", "%2E", "%5c", "\\", "docs", "in", "out", ".env", ".git", "config", "index.html"]
PIECES += ["secret", "www", "%00", "%2f", "film.mp4", ".well-known", "acme", "token", "nothing-here", "~", "app.js.gz"]
PUBLIC = {PAGE, b"docs", b"token", FILM, b"script" * 9, b"gzipped", b"brotli"}


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6))
def test_no_path_leads_to_a_secret(tree, pieces):
    trio.run(_only_public_bytes, tree, "/" + "/".join(pieces))


async def _only_public_bytes(www, path):
    async with site(www) as it:
        try:
            got = await it.ask(path)
        except MalformedError:
            return
        assert got.body in PUBLIC if got.status == 200 else got.status in (301, 404)
