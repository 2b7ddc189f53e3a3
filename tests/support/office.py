"""A forward proxy, a web site, and the home of a user who types what the documentation says.

The site is on loopback, so clients could reach it without the proxy. But the proxy connects from an address of its own,
and its records name each target: a client that has gone round it is found out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer, with_workers
from tests.support.paths import EXAMPLES
from tests.support.tls_peers import write_authority
from tests.support.web_sites import web_site

README = (EXAMPLES / "forward" / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = "site.localhost"
"""The proxy looks it up itself: it ends in .localhost, and is a loopback address."""
PROXY = "127.0.0.2"
"""Where the proxy's connections come from."""
HELLO = "hello through the proxy"
LOGIN = "alice:correct horse"
CA_VARIABLES = ("CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
UNSET = re.compile(r"(?i).*_proxy|PIP_.*|PYTHONPATH")
"""Variables of whoever runs the tests that clients would follow."""


def boxes(heading):
    """Return the boxes below a heading of the README."""
    text = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [body for _, body in FENCE.findall(text)]


def proxy_config(tmp_path, more="", tls=""):
    """Return the example's configuration, for targets on loopback."""
    text = (EXAMPLES / "forward" / "lb.toml").read_text()
    lines = f'connect_ports = "any"\nprivate = true\nallow_to = ["*.localhost"]\nsource_address = "{PROXY}"\n{more}\n'
    for old, new in (
        ("connect_ports = [443]", lines),
        ("[listeners.proxy]", "[listeners.web]"),
        ("127.0.0.1:3128", "127.0.0.1:0"),
        ("127.0.0.1:9900", "127.0.0.1:0"),
        ("/var/cache/trio-lb/packages", str(tmp_path / "cache")),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return with_workers(f"{text}\n{tls}")


class Office:
    """A site, a proxy, and the home of a user who has a terminal."""

    def __init__(self, tmp_path, site, proxy):
        self.site = site
        self.proxy = proxy
        self.home = tmp_path / "home"
        self.home.mkdir()
        authority = str(tmp_path / write_authority(tmp_path))
        self.http = f"http://{NAME}:{site.http_port}/"
        self.https = f"https://{NAME}:{site.https_port}/"
        self.plain = f"{NAME}:{site.http_port}"
        self.tunnel = f"{NAME}:{site.https_port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not UNSET.fullmatch(name)},
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GIT_CONFIG_NOSYSTEM": "1",
            **dict.fromkeys(CA_VARIABLES, authority),
        }

    def adapted(self, text):
        """Return text of the README with the addresses of this office."""
        port = str(self.proxy.port)
        for old, new in (
            ("127.0.0.1:3128", f"127.0.0.1:{port}"),
            ("3128", port),
            ("https://example.com/", self.https),
            ("http://example.com/", self.http),
            ("example.com:443", self.tunnel),
            ('"example.com", 443', f'"{NAME}", {self.site.https_port}'),
            ("example.com", NAME),
        ):
            text = text.replace(old, new)
        return text

    async def types(self, text):
        """Run text of the README in a shell, which stops at the first error. Return what it prints."""
        return await self.runs("bash", "-euc", self.adapted(text))

    async def runs(self, *command, **variables):
        """Run a program that must succeed. Return what it prints."""
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                command,
                capture_stdout=True,
                capture_stderr=True,
                env={**self.environment, **variables},
                cwd=self.home,
                check=False,
            )
        assert done.returncode == 0, f"{command}: {done.stdout.decode()} {done.stderr.decode()}"
        return done.stdout.decode()

    async def tunnels(self, protocol, target, count):
        """Wait for the records of tunnels to a target, and return them. They all had an answer."""
        fields = {"protocol": protocol, "target": target}
        await self.proxy.event("connection.closed", count=count, **fields)
        records = self.proxy.of("connection.closed", **fields)
        assert len(records) == count
        assert all(record["bytes_in"] and record["bytes_out"] for record in records)
        return records

    def only_came_through_the_proxy(self):
        """No client has gone round it."""
        assert self.site.clients == {PROXY}
        assert self.proxy.of("http.request", "connection.closed")


def write_users(path, *logins):
    """Write ``user:password`` with a hash that is checked quickly."""
    lines = []
    for login in logins:
        user, password = login.split(":")
        command = [program("openssl"), "passwd", "-apr1", password]
        hashed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        lines.append(f"{user}:{hashed}")
    path.write_text("".join(lines))


@asynccontextmanager
async def office(tmp_path, more="", tls=""):
    """Run a site and the example's proxy during the block. The site's clients must all have come through the proxy."""
    async with office_with(tmp_path, proxy_config(tmp_path, more, tls)) as running:
        yield running


@asynccontextmanager
async def office_with(tmp_path, text):
    """The same, with this configuration: its listener ``web`` is the proxy, whose connections come from ``PROXY``."""
    directory = tmp_path / "site"
    directory.mkdir(exist_ok=True)
    (directory / "index.html").write_text(HELLO)
    async with (
        web_site(directory, NAME) as site,
        balancer(tmp_path, text) as proxy,
    ):
        running = Office(tmp_path, site, proxy)
        yield running
        running.only_came_through_the_proxy()
