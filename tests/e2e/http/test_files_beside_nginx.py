"""The same requests to nginx and to a route with ``files``, of the same directory: they get the same."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

import httpx
import pytest

from lb.model.http_dates import http_date
from tests.e2e.traffic.test_real_peers import program, running
from tests.support.balancer import PATIENCE, balancer
from tests.support.servers import free_port

CHANGED = 1_700_000_000
FILE = bytes(range(256)) * 40
NOW, EARLIER = http_date(CHANGED).decode(), http_date(CHANGED - 60).decode()

SAME = {
    "a file": ("GET", "/file.bin", {}),
    "its head": ("HEAD", "/file.bin", {}),
    "an index": ("GET", "/", {}),
    "an index below": ("GET", "/docs/", {}),
    "a directory without a slash": ("GET", "/docs", {}),
    "a file with a slash": ("GET", "/file.bin/", {}),
    "nothing": ("GET", "/nothing", {}),
    "another method": ("PUT", "/file.bin", {}),
    "an escape": ("GET", "/white%20space.txt", {}),
    "dots": ("GET", "/docs/../file.bin", {}),
    "dots above the root": ("GET", "/../file.bin", {}),
    "encoded dots": ("GET", "/docs/%2e%2e/file.bin", {}),
    "slashes": ("GET", "//docs///index.html", {}),
    "a range": ("GET", "/file.bin", {"Range": "bytes=10-19"}),
    "the first byte": ("GET", "/file.bin", {"Range": "bytes=0-0"}),
    "an open range": ("GET", "/file.bin", {"Range": "bytes=10000-"}),
    "a suffix": ("GET", "/file.bin", {"Range": "bytes=-10"}),
    "a suffix longer than the file": ("GET", "/file.bin", {"Range": "bytes=-99999"}),
    "an end behind the end": ("GET", "/file.bin", {"Range": "bytes=10-99999"}),
    "behind the end": ("GET", "/file.bin", {"Range": "bytes=99999-"}),
    "an empty suffix": ("GET", "/file.bin", {"Range": "bytes=-0"}),
    "another unit": ("GET", "/file.bin", {"Range": "pages=1-2"}),
    "more than the file": ("GET", "/file.bin", {"Range": "bytes=0-,0-"}),
    "a range of an empty file": ("GET", "/empty.txt", {"Range": "bytes=0-"}),
    "a suffix of an empty file": ("GET", "/empty.txt", {"Range": "bytes=-5"}),
    "one of two ranges is there": ("GET", "/file.bin", {"Range": "bytes=0-4,99999-"}),
    "the same date": ("GET", "/file.bin", {"If-Modified-Since": NOW}),
    "an earlier date": ("GET", "/file.bin", {"If-Modified-Since": EARLIER}),
    "a date that is none": ("GET", "/file.bin", {"If-Modified-Since": "yesterday"}),
    "unmodified": ("GET", "/file.bin", {"If-Unmodified-Since": NOW}),
    "modified": ("GET", "/file.bin", {"If-Unmodified-Since": EARLIER}),
    "the tag": ("GET", "/file.bin", {"If-None-Match": "TAG"}),
    "the weak tag": ("GET", "/file.bin", {"If-None-Match": "W/TAG"}),
    "the tag in a list": ("GET", "/file.bin", {"If-None-Match": '"a", TAG'}),
    "any tag": ("GET", "/file.bin", {"If-None-Match": "*"}),
    "another tag": ("GET", "/file.bin", {"If-None-Match": '"a"'}),
    "another tag and the same date": ("GET", "/file.bin", {"If-None-Match": '"a"', "If-Modified-Since": NOW}),
    "the tag is expected": ("GET", "/file.bin", {"If-Match": "TAG"}),
    "the weak tag is expected": ("GET", "/file.bin", {"If-Match": "W/TAG"}),
    "another tag is expected": ("GET", "/file.bin", {"If-Match": '"a"'}),
    "a range of this state": ("GET", "/file.bin", {"Range": "bytes=1-2", "If-Range": "TAG"}),
    "a range of this date": ("GET", "/file.bin", {"Range": "bytes=1-2", "If-Range": NOW}),
    "a range of another state": ("GET", "/file.bin", {"Range": "bytes=1-2", "If-Range": '"a"'}),
    "a range of another date": ("GET", "/file.bin", {"Range": "bytes=1-2", "If-Range": EARLIER}),
    "a range of what the client has": ("GET", "/file.bin", {"Range": "bytes=1-2", "If-None-Match": "TAG"}),
}
DIFFERENT = {
    "HEAD has no ranges (RFC 9110, 14.2)": ("HEAD", "/file.bin", {"Range": "bytes=1-2"}, 200, 206),
    "a malformed range is ignored (14.2)": ("GET", "/file.bin", {"Range": "bytes=5-4"}, 200, 416),
    "a later date is as good (13.1.3)": (
        "GET",
        "/file.bin",
        {"If-Modified-Since": http_date(CHANGED + 60).decode()},
        304,
        200,
    ),
    "a directory without an index is not there": ("GET", "/none/", {}, 404, 403),
    "names with a dot are not served": ("GET", "/.secret", {}, 404, 200),
    "links that leave the directory are not followed": ("GET", "/out", {}, 404, 200),
}
"""What differs, and the statuses of both."""


def make_site(directory):
    (directory / "outside").write_bytes(b"outside")
    www = directory / "www"
    (www / "docs").mkdir(parents=True)
    (www / "none").mkdir()
    for name, content in {
        "index.html": b"index",
        "docs/index.html": b"docs",
        "file.bin": FILE,
        "empty.txt": b"",
        "white space.txt": b"space",
        ".secret": b"secret",
    }.items():
        (www / name).write_bytes(content)
        os.utime(www / name, (CHANGED, CHANGED))
    (www / "out").symlink_to("../outside")
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755)  # nginx's worker is another user
    return www


def nginx_config(home, www, port):
    paths = "".join(f"{kind}_temp_path {home};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log; user root;\n"
        "events {}\n"
        f"http {{ access_log off; {paths} types {{ text/html html; text/plain txt; }} absolute_redirect off;\n"
        f"server {{ listen 127.0.0.1:{port}; root {www}; }} }}\n"
    )
    return [program("nginx"), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("beside"))


@asynccontextmanager
async def both(tmp_path, www):
    port = free_port()
    (tmp_path / "nginx").mkdir()
    text = f'[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\n[[listeners.web.routes]]\nfiles = "{www}"\n'
    command = nginx_config(tmp_path / "nginx", www, port)
    async with (
        running(command, port),
        balancer(tmp_path, text) as lb,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as nginx,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{lb.port}", timeout=PATIENCE) as ours,
    ):
        yield ours, nginx


async def ask(web, method, path, fields):
    tag = (await web.head("/file.bin")).headers["etag"]
    url = httpx.URL(str(web.base_url).rstrip("/") + "/").copy_with(raw_path=path.encode())
    return await web.request(method, url, headers={name: value.replace("TAG", tag) for name, value in fields.items()})


def seen(response):
    """Return what must be the same of a response."""
    if response.status_code in (200, 206):
        heeded = ("content-length", "content-range", "last-modified")
        return response.status_code, response.content, [response.headers.get(name) for name in heeded]
    heeded = ("location",) if response.status_code < 400 else ("content-range",)
    return response.status_code, [response.headers.get(name) for name in heeded]


async def test_nginx_and_we_say_the_same(tmp_path, site):
    async with both(tmp_path, site) as (ours, nginx):
        different = {}
        for case, request in SAME.items():
            mine, theirs = seen(await ask(ours, *request)), seen(await ask(nginx, *request))
            if mine != theirs:
                different[case] = (mine, theirs)
        assert different == {}


async def test_where_we_differ_from_nginx(tmp_path, site):
    async with both(tmp_path, site) as (ours, nginx):
        for case, (method, path, fields, our_status, their_status) in DIFFERENT.items():
            assert (await ask(ours, method, path, fields)).status_code == our_status, case
            assert (await ask(nginx, method, path, fields)).status_code == their_status, case
