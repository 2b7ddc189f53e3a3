"""All that ``make release`` builds, twice."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.containers import container_settings
from tests.support.debian_machine import LONG, base, make, need
from tests.support.effort import LONG_FORM

pytestmark = [LONG_FORM, pytest.mark.slow]


def test_two_releases_are_alike_byte_for_byte(tmp_path, monkeypatch):
    need("buildah", "debootstrap", "dh", "podman", "runc")
    container_settings(monkeypatch, tmp_path)
    archive = base("binutils", "ca-certificates", "python3-venv")
    subprocess.run(["podman", "import", archive, "localhost/trio-lb-base:test"], check=True, timeout=LONG)
    first, second = (make("release", tmp_path / each, "BASE=localhost/trio-lb-base:test") for each in "ab")
    subprocess.run(["buildah", "rmi", "--all", "--force"], check=True, timeout=LONG)
    kinds = {each.name for each in first.iterdir()}
    assert len(kinds) == 7, kinds  # wheel, source, deb, one file, image, what they are made of, sums
    assert (first / "SHA256SUMS").read_text() == (second / "SHA256SUMS").read_text()
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=first, check=True)
    [listed] = first.glob("*.cdx.json")
    assert {"trio", "cryptography", "attrs"} < {each["name"] for each in json.loads(listed.read_text())["components"]}


def test_the_one_file_runs_by_itself(tmp_path):
    need("dh")
    [file] = make("pyz", tmp_path).glob("*.pyz")
    told = one_file(file, tmp_path, "version")
    assert told.stdout.startswith("trio-lb ")
    (tmp_path / "lb.toml").write_text("[listeners.a]\n")
    assert one_file(file, tmp_path, "check", tmp_path / "lb.toml").returncode == 2


def one_file(file, home, *arguments):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
    command = ["/usr/bin/python3", file, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=LONG)
