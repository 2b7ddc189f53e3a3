"""The Debian package on a machine of its own: installed, used, upgraded under load, removed, purged."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest

from tests.support.debian_machine import machine, make, need, until
from tests.support.effort import LONG_FORM

pytestmark = [LONG_FORM, pytest.mark.slow]

PACKAGES = ("curl", "libstdc++6", "procps", "python3")
CONFIG = "etc/trio-lb/lb.toml"
RELAY = """
[listeners.relay]
bind = "127.0.0.1:8081"
servers = ["127.0.0.1:9001"]
"""
CLIENTS = """
import contextlib, http.client, json, select, socket, socketserver, sys, threading

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(ConnectionResetError):  # by a health check
            while data := self.request.recv(100):
                self.request.sendall(data)

server = socketserver.ThreadingTCPServer(("127.0.0.1", 9001), Echo)
threading.Thread(target=server.serve_forever, daemon=True).start()
echoes = []
while "hold" in sys.argv and not any(echoes):  # the server is up once its next check has passed
    select.select([sys.stdin], [], [], 0.1)
    held = socket.create_connection(("127.0.0.1", 8081), timeout=60)
    with contextlib.suppress(ConnectionResetError):
        held.sendall(b"before")
        echoes = [held.recv(100).decode()]
print("started", flush=True)
failed, passed = [], 0
while not select.select([sys.stdin], [], [], 0.01)[0]:  # until the test says that it is enough
    client = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
    try:
        client.request("GET", "/")
        assert client.getresponse().read().startswith(b"trio-lb runs")
        passed += 1
    except (OSError, AssertionError, http.client.HTTPException) as error:
        failed.append(repr(error))
    client.close()
if echoes:
    held.sendall(b"after")
    echoes.append(held.recv(100).decode())
print(json.dumps({"failed": failed, "passed": passed, "echoes": echoes}))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    need("debootstrap", "dh", "lintian", "systemd-nspawn")
    [found] = make("deb", tmp_path_factory.mktemp("dist")).glob("*.deb")
    return found


def newer(package, directory):
    """Return the package with another version."""
    content = directory / "newer"
    subprocess.run(["dpkg-deb", "--raw-extract", package, content], check=True)
    control = content / "DEBIAN" / "control"
    control.write_text(re.sub("(?m)^Version: .*", "Version: 9.9.9", control.read_text()))
    [init] = content.glob("opt/trio-lb/lib/python*/site-packages/lb/__init__.py")
    init.write_text('__version__ = "9.9.9"\n')
    compile_it = ["/usr/bin/python3", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", init]
    subprocess.run(compile_it, check=True)
    subprocess.run(["dpkg-deb", "--build", "-Znone", content, directory / "newer.deb"], check=True, capture_output=True)
    return directory / "newer.deb"


def serves(debian, url="http://127.0.0.1:8080/"):
    return debian.run("curl", "--silent", "--show-error", "--fail", url)


def install(debian, package):
    """Install it as an administrator does, and return the seconds that it took."""
    (debian.root / "root" / "trio-lb.deb").write_bytes(package.read_bytes())
    begin = time.monotonic()
    debian.run("dpkg", "--install", "/root/trio-lb.deb")
    return time.monotonic() - begin


def version_that_serves(debian):
    started = [line for line in debian.journal().splitlines() if '"server.started"' in line]
    return json.loads(started[-1])["version"]


def test_lintian_finds_no_error(package):
    done = subprocess.run(["lintian", "--allow-root", package], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_from_the_installation_to_the_purge(package, tmp_path):
    with machine(tmp_path / "debian", *PACKAGES) as debian:
        print("install_seconds:", install(debian, package))
        assert serves(debian).startswith("trio-lb runs")
        assert "web" in debian.run("lb", "ctl", "status")  # with the token that systemd hands out
        main = "/proc/$(systemctl show --property=MainPID --value lb)"
        assert debian.run("sh", "-c", f"stat --format=%U {main}") == "trio-lb\n"
        assert "lb-check" in debian.run("lb", "help", "check")
        a_mistake_changes_nothing(debian)
        an_upgrade_loses_no_connection(debian, newer(package, tmp_path))
        it_goes(debian)


def a_mistake_changes_nothing(debian):
    config = debian.root / CONFIG
    right = config.read_text()
    config.write_text(right.replace("respond", "repsond"))
    assert "failed" in debian.run("systemctl", "reload", "lb", code=1)
    assert "did you mean 'respond'" in debian.journal()
    assert serves(debian).startswith("trio-lb runs")
    config.write_text(right + RELAY)
    debian.run("systemctl", "reload", "lb")
    until(lambda: "config.applied" in debian.journal())


def an_upgrade_loses_no_connection(debian, package):
    clients = debian.python(CLIENTS, "8080", "hold")
    with clients:
        assert clients.stdout.readline() == "started\n"
        print("upgrade_seconds:", install(debian, package))
        until(lambda: version_that_serves(debian) == "9.9.9")
        result, _ = clients.communicate("enough\n")
    told = json.loads(result)
    assert told["failed"] == []
    assert told["echoes"] == ["before", "after"]
    assert told["passed"] > 10
    print("requests:", told["passed"])
    assert "[listeners.relay]" in (debian.root / CONFIG).read_text()  # the file of the user stays
    assert debian.run("systemctl", "is-active", "lb") == "active\n"


def it_goes(debian):
    debian.run("dpkg", "--remove", "trio-lb")
    debian.run("systemctl", "is-active", "lb", code=3)
    assert not (debian.root / "opt/trio-lb").exists()
    assert (debian.root / CONFIG).exists()
    debian.run("dpkg", "--purge", "trio-lb")
    assert not (debian.root / "etc/trio-lb").exists()
    assert [*debian.root.glob("etc/systemd/system/**/lb.*")] == []


def test_systemd_keeps_the_socket_while_the_balancer_restarts(package, tmp_path):
    with machine(tmp_path / "debian", *PACKAGES) as debian:
        install(debian, package)
        config = debian.root / CONFIG
        config.write_text(config.read_text().replace('"127.0.0.1:8080"', '":80"'))
        debian.run("systemctl", "stop", "lb")
        debian.run("systemctl", "enable", "--now", "lb.socket")
        debian.run("systemctl", "start", "lb")
        with debian.python(CLIENTS, "80") as clients:
            assert clients.stdout.readline() == "started\n"
            debian.run("systemctl", "restart", "lb")
            told = json.loads(clients.communicate("enough\n")[0])
        assert told["failed"] == []
        assert "socket.unused" not in debian.journal()
