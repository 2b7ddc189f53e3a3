"""The wheel in an environment of its own, and the source distribution, of which the next one is made."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from functools import partial

import pytest

import lb
from tests.support.debian_machine import LONG, make
from tests.support.effort import LONG_FORM
from tests.support.one_file import NEWER, make_newer
from tests.support.stranger import first_day

pytestmark = [LONG_FORM, pytest.mark.slow]


def newer_wheel(sdist, directory):
    """Make a wheel of another version of a source distribution, as a stranger could."""
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    [source] = directory.iterdir()
    make_newer(source)
    about = source / "PKG-INFO"  # has the version of a source distribution
    about.write_text(about.read_text().replace(f"\nVersion: {lb.__version__}\n", f"\nVersion: {NEWER}\n", 1))
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", directory]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=LONG)
    [found] = directory.glob("*.whl")
    return found


def install(environment, *arguments):
    """Install with pip, in an environment that is made if it is not there."""
    if not environment.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=LONG)
    command = [environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, timeout=LONG, capture_output=True)


async def test_somebody_installs_it_and_a_newer_one(tmp_path, figures):
    noted, environment = figures("wheel"), tmp_path / "lb"
    with noted.timed("build"):
        [wheel] = make("wheel", tmp_path / "wheel").glob("*.whl")
    with figures("sdist").timed("build"):
        [sdist] = make("sdist", tmp_path / "sdist").glob("*.tar.gz")
    noted.size(wheel)
    figures("sdist").size(sdist)
    newer = newer_wheel(sdist, tmp_path / "newer")
    with noted.timed("install"):
        install(environment, wheel)
    upgrade = partial(install, environment, "--no-deps", newer)
    assert await first_day([environment / "bin" / "lb"], tmp_path / "home", upgrade, noted) == NEWER
    with noted.timed("remove"):
        shutil.rmtree(environment)
