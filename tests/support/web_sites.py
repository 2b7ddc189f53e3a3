"""A web site over http and https for clients of a forward proxy: files, git repositories, a package index."""

from __future__ import annotations

import os
import subprocess
from contextlib import asynccontextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import trio

from tests.support.tls_peers import server_context

__all__ = ["WebSite", "web_site"]

GIT_PATH = "/git/"
"""Below it git's own server answers; elsewhere files are served as they are."""


class WebSite:
    """``requests`` are method and path of what was asked; ``clients`` the addresses of those who connected."""

    def __init__(self, directory):
        self.directory = directory
        self.requests = []
        self.clients = set()
        self.http_port = self.https_port = 0


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, site, *arguments):
        self.site = site
        super().__init__(*arguments, directory=str(site.directory))

    def log_message(self, *arguments):
        """Say nothing."""

    def log_request(self, *arguments):
        self.site.requests.append((self.command, self.path))
        self.site.clients.add(self.client_address[0])

    def do_GET(self):
        if self.path.startswith(GIT_PATH):
            self._run_git()
        else:
            super().do_GET()

    def do_POST(self):
        self._run_git()

    def _run_git(self):
        """Answer with git http-backend, a CGI program."""
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        variables = {
            "GIT_PROJECT_ROOT": str(self.site.directory / GIT_PATH.strip("/")),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": url.path.removeprefix(GIT_PATH.rstrip("/")),
            "QUERY_STRING": url.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env={**os.environ, **variables}, stdout=subprocess.PIPE, check=True
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class Server(ThreadingHTTPServer):
    """``context`` is that of TLS; without, it speaks plain HTTP."""

    request_queue_size = 100
    daemon_threads = True

    def __init__(self, site, context=None):
        super().__init__(("127.0.0.1", 0), partial(Handler, site))
        self._context = context

    def finish_request(self, request, client_address):
        if self._context is None:
            super().finish_request(request, client_address)
            return
        with self._context.wrap_socket(request, server_side=True) as secure:  # in the thread of the connection
            super().finish_request(secure, client_address)
            with suppress(OSError):  # the client has left already
                secure.unwrap()

    def handle_error(self, request, client_address):
        """A client has left. What it misses fails its test."""


@asynccontextmanager
async def web_site(directory: Path, *names):
    """Serve a directory over http and, with a certificate for these names, over https."""
    site = WebSite(directory)
    with Server(site) as plain, Server(site, server_context(*names)) as secure:
        site.http_port, site.https_port = plain.server_port, secure.server_port
        async with trio.open_nursery() as nursery:
            for server in (plain, secure):
                nursery.start_soon(trio.to_thread.run_sync, server.serve_forever)
            try:
                yield site
            finally:
                for server in (plain, secure):
                    server.shutdown()
