"""The configurations of the how-to pages do what the pages say of them, with curl."""

from __future__ import annotations

import re
import subprocess

import pytest
import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer, with_workers
from tests.support.office import HELLO, LOGIN, NAME, PROXY, office_with, write_users
from tests.support.paths import DOCS
from tests.support.servers import free_port
from tests.support.tls_peers import write_authority, write_certificate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("worker_count")]

CURL_FAILED = 56
"""What curl says of a refused CONNECT."""
CLOSED = (CURL_FAILED, 55)
"""What it says if the connection is closed instead: it cannot read, or not even write."""


def shown(name):
    """Return the configurations on a page."""
    text = (DOCS / "how-to" / f"{name}.md").read_text()
    return re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def changed(text, *changes):
    """Return a configuration with these texts replaced, each of which must be in it."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return with_workers(text)


ON_LOOPBACK = f'private = true\nsource_address = "{PROXY}"'


async def curl(its, *options):
    """Return exit code, status of the answer to CONNECT, and what is printed."""
    command = ["curl", "-sS", "-D", "head", *options]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            command, env=its.environment, cwd=its.home, check=False, capture_stdout=True, capture_stderr=True
        )
    return done.returncode, int((its.home / "head").read_text().split()[1]), done.stdout.decode()


async def test_a_teams_proxy_lets_the_team_go_where_the_list_says(tmp_path):
    program("curl")
    (text,) = shown("egress-proxy")
    text = changed(
        text,
        ("[listeners.proxy]", "[listeners.web]"),
        ('":3128"', '"127.0.0.1:0"'),
        ("127.0.0.1:9900", "127.0.0.1:0"),
        ("10.1.0.0/16", "127.0.0.1"),
        ("connect_ports = [443]", f'connect_ports = "any"\n{ON_LOOPBACK}'),
        ('"*.debian.org"', '"*.localhost"'),
        ("gist.github.com", "gist.localhost"),
        ("/var/cache/trio-lb/packages", str(tmp_path / "cache")),
    )
    async with office_with(tmp_path, text) as its:
        proxy = ("-x", f"127.0.0.1:{its.proxy.port}")
        assert await curl(its, *proxy, its.https) == (0, 200, HELLO)
        for refused in ("gist.localhost", "localhost", "127.0.0.1"):
            url = its.https.replace(NAME, refused)
            assert await curl(its, *proxy, url) == (CURL_FAILED, 403, "")
            await its.proxy.event("connection.closed", reason="denied_target", target=url[len("https://") : -1])
        command = ["curl", "-sS", "--interface", "127.0.0.9", *proxy, its.https]
        outside = await trio.run_process(command, env=its.environment, check=False, stderr=subprocess.DEVNULL)
        assert outside.returncode in CLOSED
        assert len(its.proxy.of("connection.closed", target=its.tunnel)) == 1


async def test_users_have_the_rules_of_their_listener(tmp_path):
    program("curl")
    (text,) = shown("proxy-users")
    write_users(tmp_path / "staff.htpasswd", LOGIN)
    write_users(tmp_path / "admins.htpasswd", "bob:secret")
    ports = (free_port(), free_port())
    text = changed(
        text,
        ("[listeners.staff]", "[listeners.web]"),
        ('":3128"', f'"127.0.0.1:{ports[0]}"'),
        ('":3129"', f'"127.0.0.1:{ports[1]}"'),
        ("connect_ports = [443, 22]", f'connect_ports = "any"\nsource_address = "{PROXY}"'),
        ("*.example.com", NAME),
    )
    async with office_with(tmp_path, text) as its:
        staff, admins = (("-x", f"127.0.0.1:{port}") for port in ports)
        assert await curl(its, *admins, "-U", "bob:secret", its.https) == (0, 200, HELLO)
        await its.proxy.event("connection.closed", listener="admins", user="bob", target=its.tunnel)
        assert await curl(its, *admins, "-U", LOGIN, its.https) == (CURL_FAILED, 407, "")
        assert await curl(its, *staff, "-U", "bob:secret", its.https) == (CURL_FAILED, 407, "")
        assert await curl(its, *staff, "-U", LOGIN, "https://www.social.example/") == (CURL_FAILED, 403, "")
        refused = await its.proxy.event("connection.closed", listener="web", reason="denied_target")
        assert (refused["user"], refused["target"]) == ("alice", "www.social.example:443")
        code, status, _ = await curl(its, *staff, "-U", LOGIN, its.https.replace(NAME, "127.0.0.1"))
        assert (code, status) == (CURL_FAILED, 403)


async def test_a_branch_goes_through_the_office_and_knows_the_password(tmp_path):
    program("curl")
    branch, office = shown("parent-proxy")
    write_users(tmp_path / "branches.htpasswd", "branch:secret")
    write_certificate(tmp_path, "proxy", "proxy.example.com")
    office = changed(
        office,
        ("[listeners.proxy", "[listeners.web"),
        ('":3128"', '"127.0.0.1:0"'),
        ("connect_ports = [443]", f'connect_ports = "any"\n{ON_LOOPBACK}\nallow_to = ["*.localhost"]'),
    )
    home = tmp_path / "branch"
    home.mkdir()
    write_authority(home, "office-ca")
    (home / "office.password").write_text("secret\n")
    async with office_with(tmp_path, office) as its:
        text = changed(
            branch,
            ("[listeners.proxy]", "[listeners.web]"),
            ('"127.0.0.1:3128"', '"127.0.0.1:0"'),
            ("connect_ports = [443]", 'connect_ports = "any"'),
            ("10.0.0.1:3128", f"127.0.0.1:{free_port()}"),
            ("10.0.0.2:3128", f"127.0.0.1:{its.proxy.port}"),
        )
        async with balancer(home, text) as child:
            proxy = f"127.0.0.1:{child.port}"
            assert await curl(its, "-x", proxy, its.https) == (0, 200, HELLO)
            assert await curl(its, "-x", proxy, its.http) == (0, 200, HELLO)
            assert (await curl(its, "-x", f"socks5h://{proxy}", its.https))[::2] == (0, HELLO)
            assert (await curl(its, "-x", proxy, "https://other.example/"))[:2] == (CURL_FAILED, 502)
            for protocol in ("connect", "socks5"):
                record = await child.event("connection.closed", protocol=protocol, target=its.tunnel)
                assert (record["pool"], record["server"]) == ("office", f"127.0.0.1:{its.proxy.port}")
            for count in (1, 2):
                record = await its.proxy.event("connection.closed", target=its.tunnel, count=count)
                assert (record["user"], record["protocol"]) == ("branch", "connect")
            (home / "office.password").write_text("wrong\n")
            assert (await child.reload(text))["event"] == "config.applied"
            assert (await curl(its, "-x", proxy, its.https))[:2] == (CURL_FAILED, 502)
