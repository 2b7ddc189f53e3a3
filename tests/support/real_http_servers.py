"""Real HTTP servers for tests: nginx, Apache, gunicorn and node, each on its own port, with files in its home.

``run()`` serves ``/index.html``, ``/large.txt`` and ``/film.bin``, ``PUT`` below ``/up/``: nginx, Apache.
``run()`` serves ``/echo``, ``/stream?n=N`` and ``/late``: gunicorn, node.
"""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.traffic.test_real_peers import program
from tests.support.http_origin import content
from tests.support.real_databases import UNPRIVILEGED, home, running
from tests.support.servers import free_port

__all__ = ["FILES", "apache", "gunicorn", "nginx", "node"]

FILES = {
    "index.html": b"<!doctype html><title>a</title>",
    "large.txt": b"the same words again and again\n" * 10_000,
    "film.bin": content(3_000_000, 7),
}
MODULES = ["mpm_event", "authz_core", "dir", "mime", "filter", "deflate", "dav", "dav_fs", "dav_lock"]
APACHE_MODULES = Path("/usr/lib/apache2/modules")


def site():
    """Return a new home with the files, and a directory for uploads."""
    directory = home()
    (directory / "www" / "up").mkdir(parents=True)
    for name, data in FILES.items():
        path = directory / "www" / name
        path.write_bytes(data)
        os.utime(path, (path.stat().st_mtime - 60,) * 2)  # Apache's ETag of a file is weak within its first second
    if UNPRIVILEGED:
        for path in (directory / "www", directory / "www" / "up"):
            os.chown(path, *owner(directory))
    return directory


def owner(directory):
    status = directory.stat()
    return status.st_uid, status.st_gid


@asynccontextmanager
async def nginx(*, requests=1000, idle=60, port=None):
    """``requests`` a connection, and ``idle`` seconds in between."""
    directory, port = site(), port or free_port()
    paths = "".join(f"{kind}_temp_path {directory};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (directory / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {directory}/pid; error_log stderr;\n"
        "events { worker_connections 500; }\n"
        f"http {{ access_log off; {paths} client_max_body_size 0; types {{ text/plain txt; text/html html; }}\n"
        "gzip on; gzip_types text/plain; gzip_proxied any;\n"
        f"keepalive_requests {requests}; keepalive_timeout {round(idle * 1000)}ms;\n"
        f"server {{ listen 127.0.0.1:{port}; root {directory}/www; location /up/ {{ dav_methods PUT; }} }} }}\n"
    )
    command = [program("nginx"), "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr"]
    async with running(command, port=port, directory=directory) as server:
        yield server


@asynccontextmanager
async def apache(*, requests=1000, idle=60, port=None):
    """The same."""
    directory, port = site(), port or free_port()
    modules = "".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n" for name in MODULES)
    (directory / "apache.conf").write_text(
        f"{modules}ServerRoot {directory}\nServerName web\nPidFile {directory}/pid\nListen 127.0.0.1:{port}\n"
        f"ErrorLog {directory}/error.log\nDocumentRoot {directory}/www\nTypesConfig /dev/null\n"
        "AddType text/plain .txt\nAddType text/html .html\nAddOutputFilterByType DEFLATE text/plain\n"
        f"KeepAlive On\nMaxKeepAliveRequests {requests}\nKeepAliveTimeout {round(idle * 1000)}ms\n"
        f"DavLockDB {directory}/locks\nStartServers 1\n"
        f"<Directory {directory}/www/up>\nDav On\n</Directory>\n"
    )
    command = [program("apache2"), "-D", "FOREGROUND", "-f", directory / "apache.conf"]
    async with running(command, port=port, directory=directory) as server:
        yield server


GUNICORN_APP = """
import time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"%05d\\n" % number for number in range(int(environ["QUERY_STRING"][2:])))
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body))), ("X-Scheme", environ["wsgi.url_scheme"])])
    return [body]
"""


@asynccontextmanager
async def gunicorn(*, idle=60, port=None):
    """A server of WSGI applications, with kept connections."""
    directory, port = home(), port or free_port()
    (directory / "echo_app.py").write_text(GUNICORN_APP)
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
    command += ["--threads", "8", "--keep-alive", str(idle), "--worker-tmp-dir", str(directory), "echo_app:app"]
    async with running(command, port=port, directory=directory) as server:
        yield server


NODE_SCRIPT = """
const server = require("node:http").createServer((request, response) => {
  const url = new URL(request.url, "http://node");
  if (url.pathname == "/stream") {
    for (let number = 0; number < url.searchParams.get("n"); number++)
      response.write(String(number).padStart(5, "0") + "\\n");
    response.end();
  } else {
    if (request.headers["content-length"]) response.setHeader("Content-Length", request.headers["content-length"]);
    response.setHeader("X-Scheme", request.headers["x-forwarded-proto"]);
    request.pipe(response);
  }
});
server.keepAliveTimeout = Number(process.argv[3]) * 1000;
server.listen(Number(process.argv[2]), "127.0.0.1");
"""


@asynccontextmanager
async def node(*, idle=60, port=None):
    """The HTTP server of node."""
    directory, port = home(), port or free_port()
    (directory / "server.js").write_text(NODE_SCRIPT)
    async with running(
        [program("node"), directory / "server.js", str(port), str(idle)], port=port, directory=directory
    ) as server:
        yield server
