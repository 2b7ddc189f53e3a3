"""The image, on a base that debootstrap has made, run by podman as README says; and the example with compose."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from tests.support.containers import BASE, container_settings, import_base
from tests.support.debian_machine import LONG, make, need, until
from tests.support.effort import LONG_FORM
from tests.support.paths import EXAMPLES

pytestmark = [LONG_FORM, pytest.mark.slow]

LEAST = """
[admin]
bind = "127.0.0.1:9900"
[listeners.web]
mode = "http"
bind = ":8080"
[[listeners.web.routes]]
respond = "{}"
"""
LIMIT = 120_000_000
"""Bytes that the image may have."""


def run(*command, code=0, directory=None):
    """Run a command; return its output. Fails unless it exits with this code."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LONG, cwd=directory)
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@attrs.frozen
class Built:
    """The image as ``make image`` makes it, and the seconds that it took."""

    name: str
    archive: Path
    build_seconds: float
    load_seconds: float


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    need("buildah", "debootstrap", "podman", "runc")
    directory = tmp_path_factory.mktemp("image")
    with pytest.MonkeyPatch.context() as environment:
        container_settings(environment, directory)
        import_base()
        begin = time.monotonic()
        make("image", directory, f"BASE={BASE}")
        [saved], made = directory.glob("*.tar"), time.monotonic()
        run("buildah", "rmi", "--all", "--force")
        emptied = time.monotonic()
        loaded = run("podman", "load", "--input", str(saved))
        name = loaded.split("Loaded image: ")[1].strip()
        yield Built(name, saved, made - begin, time.monotonic() - emptied)
        run("podman", "rmi", "--all", "--force")


@pytest.fixture
def image(built):
    return built.name


@contextmanager
def started(image, *options):
    """Start a container; yield its name and the address of its port 8080."""
    common = [
        "--detach",
        "--read-only",
        "--health-interval=disable",
        "--publish=127.0.0.1::8080",
    ]  # no systemd, no timer
    name = run("podman", "run", *common, *options, image).strip()
    try:
        until(lambda: "server.started" in log(name))
        yield name, "http://" + run("podman", "port", name, "8080/tcp").strip()
    finally:
        run("podman", "rm", "--force", name)


def log(name):
    return subprocess.run(
        ["podman", "logs", name], check=False, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    ).stdout


def get(url):
    with urllib.request.urlopen(url, timeout=60) as response:
        return response.read().decode()


def test_it_is_small_and_has_no_shell_and_no_root(image):
    [told] = json.loads(run("podman", "image", "inspect", image))
    assert told["Size"] <= LIMIT
    config = told["Config"]
    assert (config["User"], config["StopSignal"]) == ("65532:65532", "SIGTERM")
    assert "Healthcheck" in told or "Healthcheck" in config
    run("podman", "run", "--rm", "--entrypoint=sh", image, "-c", "true", code=127)
    assert run("podman", "run", "--rm", image, "version").startswith("trio-lb ")
    assert "lb-check" in run("podman", "run", "--rm", image, "help", "check")


def test_it_serves_from_a_root_that_is_read_only_and_ends_in_order(image):
    with started(image) as (name, url):
        assert get(url).startswith("trio-lb runs")
        run("podman", "healthcheck", "run", name)
        no_zombie_stays_of_an_orphan(name)
        run("podman", "stop", name)
        assert run("podman", "inspect", "--format={{.State.ExitCode}}", name) == "0\n"
        assert "server.stopped" in log(name)


ORPHAN = """
import os
if not os.fork():
    os.fork()  # the grandchild loses its parent, and ends like all others
    os._exit(0)
os.wait()
"""
ZOMBIES = """
import glob
found = []
for each in glob.glob("/proc/[0-9]*/stat"):
    try:
        with open(each) as stat:
            found += [each] * (stat.read().rpartition(")")[2].split()[0] == "Z")
    except OSError:  # it has gone meanwhile
        pass
print(found)
"""


def no_zombie_stays_of_an_orphan(name):
    """Let a process in the container lose its parent and end, and wait until the first process has reaped it."""
    python = ["podman", "exec", name, "/opt/trio-lb/bin/python3", "-c"]
    run(*python, ORPHAN)
    until(lambda: run(*python, ZOMBIES) == "[]\n")


def test_a_mounted_file_is_reloaded_and_a_mistake_changes_nothing(image, tmp_path):
    config = tmp_path / "lb.toml"
    config.write_text(LEAST.format("one"))
    with started(image, f"--volume={config}:/etc/trio-lb/lb.toml:ro") as (name, url):
        assert get(url) == "one"
        config.write_text(LEAST.format("two").replace("respond", "repsond"))
        run("podman", "kill", "--signal=HUP", name)
        until(lambda: "did you mean 'respond'" in log(name))
        assert get(url) == "one"
        config.write_text(LEAST.format("two"))
        run("podman", "kill", "--signal=HUP", name)
        until(lambda: "config.applied" in log(name))
        assert get(url) == "two"


def test_a_start_with_a_mistake_ends_and_says_where_it_is(image, tmp_path):
    (tmp_path / "lb.toml").write_text('[listeners.web]\nbind = ":port"\n')
    volume = f"--volume={tmp_path}/lb.toml:/etc/trio-lb/lb.toml:ro"
    done = subprocess.run(
        ["podman", "run", "--rm", volume, image], check=False, capture_output=True, text=True, timeout=LONG
    )
    assert done.returncode == 2
    assert "/etc/trio-lb/lb.toml: listeners.web.bind: the port must be a number" in done.stdout + done.stderr


def test_the_first_day_with_it(built, tmp_path, figures):
    """Its times; an upgrade is another container in the place of the first, and both are removed."""
    noted, config = figures("image"), tmp_path / "lb.toml"
    noted.size(built.archive)
    noted.seconds("build", built.build_seconds)
    noted.seconds("install", built.load_seconds)
    config.write_text(LEAST.format("one"))
    options = f"--volume={config}:/etc/trio-lb/lb.toml:ro", "--stop-timeout=40"
    begin = time.monotonic()
    with started(built.name, *options) as (name, url):
        assert get(url) == "one"
        noted.seconds("first request", time.monotonic() - begin)
        config.write_text(LEAST.format("two"))
        with noted.timed("reload"):
            run("podman", "kill", "--signal=HUP", name)
            until(lambda: "config.applied" in log(name))
        begin = time.monotonic()
        run("podman", "stop", name)
        with started(built.name, *options) as (_, other):
            assert get(other) == "two"
            noted.seconds("upgrade", time.monotonic() - begin)
            begin = time.monotonic()
    noted.seconds("remove", time.monotonic() - begin)


def test_the_example_with_compose_balances_and_goes_on_without_a_server(image, tmp_path):
    """Without Prometheus and Grafana, which would come from a registry."""
    need("podman-compose")
    shutil.copytree(EXAMPLES / "compose", tmp_path / "compose")
    run("podman", "tag", image, "localhost/trio-lb:latest")
    compose = ["podman-compose", "--project-name", f"test{tmp_path.name}"]
    directory = tmp_path / "compose"
    run(*compose, "up", "--no-build", "--detach", "lb", directory=directory)
    try:
        until(lambda: {answer("http://127.0.0.1:8080") for _ in range(6)} == {"I am a\n", "I am b\n", "I am c\n"})
        run(*compose, "stop", "b", directory=directory)
        assert {get("http://127.0.0.1:8080") for _ in range(6)} == {"I am a\n", "I am c\n"}
    finally:
        run(*compose, "down", directory=directory)


def answer(url):
    """Return the body, or None if there is no success yet."""
    try:
        return get(url)
    except OSError:
        return None
