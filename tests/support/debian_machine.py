"""Debian systems for tests of packages and images: made by debootstrap, kept as archives, run by systemd-nspawn."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from tests.support.balancer import PATIENCE
from tests.support.paths import ROOT
from tests.support.processes import children

BASES = ROOT / "build" / "bases"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LONG = 3600
"""Seconds for what takes minutes."""


def need(*programs):
    """Skip the test without these programs, or without root; in CI they must exist."""
    missing = [each for each in programs if shutil.which(each) is None]
    if missing or os.geteuid() != 0:
        reason = f"needs root, and {', '.join(programs)}"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)


def make(target, directory, *variables, cwd=ROOT, **options):
    """Run make with DIST; return the directory. The options are those of :func:`subprocess.run`."""
    command = ["make", target, f"DIST={directory}", *variables]
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True, timeout=LONG, **options)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return directory


def until(condition):
    """Wait until a function returns something true, and return it. For programs that cannot tell by themselves."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)  # noqa: TID251 - they are in containers
    return found


def base(*packages):
    """Return the archive of a system of this machine's release with these packages; the first call makes it."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    archive = BASES / f"{'-'.join([release, *packages])}.tar"
    BASES.mkdir(parents=True, exist_ok=True)
    with (BASES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            _bootstrap(release, packages, archive)
    return archive


def _bootstrap(release, packages, archive):
    root = archive.with_suffix("")
    shutil.rmtree(root, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", release, str(root)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout[-4000:]
    if "ca-certificates" in packages:  # this machine may reach package indexes through a proxy with a CA of its own
        shutil.copy(CERTIFICATES, root / "etc/ssl/certs/ca-certificates.crt")
    for each in (root / "var/cache/apt/archives").glob("*.deb"):
        each.unlink()
    part = archive.with_suffix(".part")
    subprocess.run(["tar", "--create", "--file", part, "--directory", root, "."], check=True, timeout=LONG)
    part.rename(archive)
    shutil.rmtree(root)


@attrs.frozen
class Machine:
    """A system that runs, with a network of its own."""

    root: Path
    pid: int
    """Of its process 1."""

    def run(self, *command, code=0):
        """Run a command in it; return its output. Fails unless it exits with this code."""
        inside = ["nsenter", "--target", str(self.pid), "--all", "--", *map(str, command)]
        done = subprocess.run(inside, check=False, capture_output=True, text=True, timeout=LONG)
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def python(self, program, *arguments):
        """Start a program of the tests' own Python in its network; its stdin and stdout are pipes."""
        command = ["nsenter", "--target", str(self.pid), "--net", "--", sys.executable, "-c", program, *arguments]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def journal(self):
        return self.run("journalctl", "--unit=lb", "--no-pager", "--output=cat")


@contextmanager
def machine(root, *packages):
    """Start a system with these packages in the directory."""
    need("debootstrap", "systemd-nspawn")
    root.mkdir()
    archive = base("dbus", "systemd", "systemd-sysv", *packages)
    subprocess.run(["tar", "--extract", "--file", archive, "--directory", root], check=True, timeout=LONG)
    command = ["systemd-nspawn", "--directory", root, "--register=no", "--keep-unit", "--private-network"]
    with (root.parent / "console").open("w") as console:
        container = subprocess.Popen(
            [*command, "--boot", "--console=pipe"], stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
    try:
        yield _booted(root, container)
    finally:
        container.terminate()  # nspawn shuts the system down
        try:
            container.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            container.kill()
            container.wait()
        shutil.rmtree(root)


def _booted(root, container):
    def started():
        assert container.poll() is None, (root.parent / "console").read_text()
        return [each for each in children(container.pid) if _is_up(each)]

    return Machine(root, until(started)[0])


def _is_up(pid):
    command = ["nsenter", "--target", str(pid), "--all", "systemctl", "is-system-running"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout.strip() in ("running", "degraded")
