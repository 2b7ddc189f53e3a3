"""Packages of npm that tests use, got once by npm itself and kept between runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from tests.e2e.traffic.test_real_peers import program

__all__ = ["AXE", "DASH_JS", "HLS_JS", "HLS_PARSER", "copy_scripts", "node_package"]

DASH_JS, HLS_JS, HLS_PARSER = "dashjs@5.2.1", "hls.js@1.6.19", "hls-parser@0.16.1"
AXE = "axe-core@4.14.1"


def node_package(name):
    """Return the directory of a package. If it cannot be had, skip the test; in CI, fail."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trio-lb-tests"
    found = home / name
    if found.is_dir():
        return found
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        command = [program("npm"), "pack", "--silent", "--pack-destination", scratch, name]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"npm has no {name} for us: {done.stderr[-200:]}")
        (packed,) = Path(scratch).glob("*.tgz")
        with tarfile.open(packed) as archive:
            archive.extractall(scratch, filter="data")
        try:
            Path(scratch, "package").rename(found)
        except OSError:  # another process was faster
            assert found.is_dir()
    return found


def copy_scripts(directory):
    """Copy the players' scripts to a directory, as ``hls.js`` and ``dash.js``."""
    shutil.copy(node_package(HLS_JS) / "dist" / "hls.min.js", directory / "hls.js")
    shutil.copy(node_package(DASH_JS) / "dist" / "modern" / "umd" / "dash.all.min.js", directory / "dash.js")
