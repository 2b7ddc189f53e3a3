"""All that ``make release`` builds, twice: in two clones, with other times of files, another zone, another umask."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support.containers import BASE, container_settings, import_base
from tests.support.debian_machine import LONG, make, need
from tests.support.effort import LONG_FORM
from tests.support.paths import ROOT

pytestmark = [LONG_FORM, pytest.mark.slow]


def clone(directory, time):
    """Clone the project, with files of this time, and with the tools of this environment. Return the directory."""
    subprocess.run(["git", "clone", "--quiet", ROOT, directory], check=True)
    listed = subprocess.run(["git", "ls-files"], cwd=directory, check=True, capture_output=True, text=True)
    for each in listed.stdout.splitlines():
        os.utime(directory / each, (time, time), follow_symlinks=False)
    (directory / ".venv").symlink_to(ROOT / ".venv")
    return directory


def release(directory, *, umask, zone):
    """Build all in a clone. Return the directory with the files."""
    variables, environment = ("--old-file=.venv/.ready", f"BASE={BASE}"), {**os.environ, "TZ": zone}
    make("release", "dist", *variables, cwd=directory, umask=umask, env=environment)
    return directory / "dist"


def test_two_releases_are_alike_byte_for_byte(tmp_path, monkeypatch):
    need("buildah", "debootstrap", "dh", "podman", "runc")
    container_settings(monkeypatch, tmp_path)
    import_base()
    one, other = clone(tmp_path / "one", 1_700_000_000), clone(tmp_path / "an" / "other", 1_750_000_000)
    first = release(one, umask=0o022, zone="UTC")
    second = release(other, umask=0o077, zone="Pacific/Kiritimati")
    subprocess.run(["buildah", "rmi", "--all", "--force"], check=True, timeout=LONG)
    kinds = {each.name for each in first.iterdir()}
    assert len(kinds) == 7, kinds  # wheel, source, deb, one file, image, what they are made of, sums
    assert (first / "SHA256SUMS").read_text() == (second / "SHA256SUMS").read_text()
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=first, check=True)
    [listed] = first.glob("*.cdx.json")
    assert {"trio", "cryptography", "attrs"} < {each["name"] for each in json.loads(listed.read_text())["components"]}
