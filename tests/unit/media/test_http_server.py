"""The server that a media process has for the balancer: what a file or a bug does to a response, not to the others."""

from __future__ import annotations

import errno
import shutil
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from lb.media import http_server
from lb.media.http_server import FileBody, HttpResponse, serve_http
from lb.media.responses import MediaFile
from tests.support.servers import media_serving

CONTENT = b"of the film"


@asynccontextmanager
async def server(tmp_path, responses):
    """Run a server. The block is given what asks for a path and returns all that comes back."""

    async def respond(head):
        return responses[head.target]

    async def ask(target):
        client = trio.socket.socket(socket.AF_UNIX)
        with client:
            await client.connect(str(tmp_path / "socket"))
            await client.send(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target)
            answer = b""
            while data := await client.recv(65_536):
                answer += data
        return answer

    async with media_serving(serve_http, tmp_path / "socket", respond):
        yield ask


@pytest.fixture
def film(tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    (root / "a.mp4").write_bytes(CONTENT)
    status = (root / "a.mp4").stat()
    return MediaFile(str(root), "a.mp4", status.st_size, status.st_mtime_ns)


def damaged(*_):
    raise OSError(errno.EIO, "Input/output error")


BREAK = {
    "directory": lambda film, _: shutil.rmtree(film.root),
    "file": lambda film, _: Path(film.root, film.path).unlink(),
    "disk": lambda _, patch: patch.setattr(http_server.os, "pread", damaged),
}


def responses(film):
    return {b"/film": HttpResponse(200, (), FileBody(film, 3, 3)), b"/text": HttpResponse(200, (), b"text")}


async def test_a_part_of_a_file_is_sent(tmp_path, film):
    async with server(tmp_path, responses(film)) as ask:
        assert (await ask(b"/film")).endswith(b"Content-Length: 3\r\n\r\nthe")


@pytest.mark.parametrize("gone", list(BREAK))
async def test_a_file_that_cannot_be_read_cuts_its_response_and_no_other(tmp_path, film, gone, monkeypatch):
    BREAK[gone](film, monkeypatch)
    async with server(tmp_path, responses(film)) as ask:
        assert (await ask(b"/film")).endswith(b"Content-Length: 3\r\n\r\n")
        assert (await ask(b"/text")).endswith(b"text")
