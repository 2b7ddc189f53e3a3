"""The Debian package on a machine of its own: installed, used, upgraded under load, removed, purged."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest

from tests.support.debian_machine import machine, make, need, until
from tests.support.effort import LONG_FORM
from tests.support.one_file import NEWER, make_newer
from tests.support.paths import DOCS

pytestmark = [LONG_FORM, pytest.mark.slow]

PACKAGES = ("curl", "iproute2", "libstdc++6", "procps", "python3")
CONFIG = "etc/trio-lb/lb.toml"
PAGE = DOCS / "how-to" / "systemd.md"
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
def built(tmp_path_factory):
    """The package, and the seconds that it took to build."""
    need("debootstrap", "dh", "lintian", "systemd-nspawn")
    begin = time.monotonic()
    [found] = make("deb", tmp_path_factory.mktemp("dist")).glob("*.deb")
    return found, time.monotonic() - begin


@pytest.fixture
def package(built):
    return built[0]


def newer(package, directory):
    """Return the package with another version."""
    content = directory / "newer"
    subprocess.run(["dpkg-deb", "--raw-extract", package, content], check=True)
    control = content / "DEBIAN" / "control"
    control.write_text(re.sub("(?m)^Version: .*", f"Version: {NEWER}", control.read_text()))
    [libraries] = content.glob("opt/trio-lb/lib/python*/site-packages")
    make_newer(libraries)
    compile_it = ["/usr/bin/python3", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*compile_it, libraries / "lb" / "__init__.py"], check=True)
    subprocess.run(["dpkg-deb", "--build", "-Znone", content, directory / "newer.deb"], check=True, capture_output=True)
    return directory / "newer.deb"


def serves(debian, url="http://127.0.0.1:8080/"):
    return debian.run("curl", "--silent", "--show-error", "--fail", url)


def install(debian, package):
    """Install it as an administrator does."""
    (debian.root / "root" / "trio-lb.deb").write_bytes(package.read_bytes())
    debian.run("dpkg", "--install", "/root/trio-lb.deb")


def version_that_serves(debian):
    started = [line for line in debian.journal().splitlines() if '"server.started"' in line]
    return json.loads(started[-1])["version"]


def test_lintian_finds_no_error(package):
    done = subprocess.run(["lintian", "--allow-root", package], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_from_the_installation_to_the_purge(built, tmp_path, figures):
    package, noted = built[0], figures("deb")
    noted.seconds("build", built[1])
    noted.size(package)
    with machine(tmp_path / "debian", *PACKAGES) as debian:
        with noted.timed("install"):
            install(debian, package)
        with noted.timed("first request"):
            assert serves(debian).startswith("trio-lb runs")
        assert "web" in debian.run("lb", "ctl", "status")  # with the token that systemd hands out
        main = "/proc/$(systemctl show --property=MainPID --value lb)"
        assert debian.run("sh", "-c", f"stat --format=%U {main}") == "trio-lb\n"
        assert "lb-check" in debian.run("lb", "help", "check")
        a_mistake_changes_nothing(debian)
        a_right_file_is_applied(debian, noted)
        an_upgrade_loses_no_connection(debian, newer(package, tmp_path), noted)
        a_start_with_a_mistake_says_where_it_is(debian)
        it_goes(debian, noted)


def a_mistake_changes_nothing(debian):
    config = debian.root / CONFIG
    right = config.read_text()
    config.write_text(right.replace("respond", "repsond"))
    assert "failed" in debian.run("systemctl", "reload", "lb", code=1)
    for told in (debian.journal(), debian.run("lb", "check", code=2), debian.run("systemctl", "status", "lb")):
        assert "did you mean 'respond'" in told
    assert serves(debian).startswith("trio-lb runs")
    config.write_text(right)


def a_right_file_is_applied(debian, noted):
    with (debian.root / CONFIG).open("a") as config:
        config.write(RELAY)
    debian.run("lb", "check")
    with noted.timed("reload"):
        debian.run("systemctl", "reload", "lb")
        until(lambda: "config.applied" in debian.journal())


def an_upgrade_loses_no_connection(debian, package, noted):
    clients = debian.python(CLIENTS, "8080", "hold")
    with clients:
        assert clients.stdout.readline() == "started\n"
        with noted.timed("upgrade"):
            install(debian, package)
            until(lambda: version_that_serves(debian) == NEWER)
        result, _ = clients.communicate("enough\n")
    told = json.loads(result)
    assert told["failed"] == []
    assert told["echoes"] == ["before", "after"]
    assert told["passed"] > 10
    assert "[listeners.relay]" in (debian.root / CONFIG).read_text()  # the file of the user stays
    assert debian.run("systemctl", "is-active", "lb") == "active\n"


def a_start_with_a_mistake_says_where_it_is(debian):
    config = debian.root / CONFIG
    right = config.read_text()
    config.write_text(right.replace("127.0.0.1:8080", "127.0.0.1:port"))
    assert "failed" in debian.run("systemctl", "restart", "lb", code=1)
    for told in (debian.run("lb", "check", code=2), debian.run("systemctl", "status", "lb", code=3)):
        assert "listeners.web.bind" in told
    assert debian.run("systemctl", "is-failed", "lb") == "failed\n"  # it is not tried again and again
    config.write_text(right)
    debian.run("systemctl", "start", "lb")
    assert serves(debian).startswith("trio-lb runs")


def it_goes(debian, noted):
    with noted.timed("remove"):
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


ANNOUNCE = """
[process]
stop_delay = "1s"

[announce]
addresses = ["203.0.113.5/32"]
interface = "lo"
"""


def announced(debian):
    """Return whether the address stands."""
    return "203.0.113.5/32" in debian.run("ip", "address", "show", "dev", "lo")


def test_addresses_are_announced_with_the_lines_of_the_page(package, tmp_path):
    """By a user who is not root; they stay over an upgrade, and go with the service, also if that is killed."""
    lines = re.search(r"(?s)```ini\n(\[Service\]\nAmbientCapabilities=CAP_NET_ADMIN\n.*?)```", PAGE.read_text())
    with machine(tmp_path / "debian", *PACKAGES) as debian:
        install(debian, package)
        (debian.root / CONFIG).write_text((debian.root / CONFIG).read_text() + ANNOUNCE)
        drop_in = debian.root / "etc/systemd/system/lb.service.d"
        drop_in.mkdir(parents=True)
        (drop_in / "override.conf").write_text(lines[1])
        debian.run("systemctl", "daemon-reload")
        debian.run("systemctl", "restart", "lb")
        until(lambda: announced(debian))
        install(debian, newer(package, tmp_path))
        until(lambda: version_that_serves(debian) == NEWER)
        until(lambda: "server.stopped" in debian.journal())
        assert announced(debian)
        assert '"announce.down"' not in debian.journal().split('"upgrade.started"')[1]
        debian.run("systemctl", "kill", "--signal=SIGKILL", "lb")
        until(lambda: "Scheduled restart" in debian.journal())
        until(lambda: announced(debian))
        debian.run("systemctl", "stop", "lb")
        assert not announced(debian)
        debian.run("systemctl", "start", "lb")
        until(lambda: announced(debian))
        debian.run("systemctl", "mask", "--runtime", "--now", "lb")  # a killed one shall not come back
        assert not announced(debian)
