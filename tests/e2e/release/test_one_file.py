"""The one file that runs by itself, with a Python that has no libraries."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import lb
from tests.support.debian_machine import LONG, make, need
from tests.support.effort import LONG_FORM
from tests.support.one_file import NEWER, copy_libraries, make_newer, pack
from tests.support.paths import ROOT
from tests.support.release_figures import Figures
from tests.support.stranger import first_day

pytestmark = pytest.mark.slow


def python_without_libraries():
    """Return the interpreter of which the environment of these tests was made."""
    return f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"


def run(python, file, home, *arguments):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
    command = [python, file, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=LONG)


def refuses_a_mistake(python, file, home):
    wrong = home / "wrong.toml"
    wrong.write_text("[listeners.a]\n")
    refused = run(python, file, home, "check", "--config", wrong)
    assert refused.returncode == 2
    assert "listeners.a.bind" in refused.stderr


async def test_somebody_uses_it_and_replaces_it(tmp_path):
    """Of the libraries of these tests; the long form has those of ``make pyz``."""
    python, libraries, home = python_without_libraries(), tmp_path / "libraries", tmp_path / "home"
    file, newer = tmp_path / "now" / "trio-lb.pyz", tmp_path / "next" / "trio-lb.pyz"
    for directory in (home, file.parent, newer.parent):
        directory.mkdir()
    copy_libraries(libraries)
    pack(libraries, file)
    assert run(python, file, home, "version").stdout == f"trio-lb {lb.__version__}\n"
    refuses_a_mistake(python, file, home)
    make_newer(libraries)
    pack(libraries, newer)
    assert run(python, newer, home, "version").stdout == f"trio-lb {NEWER}\n"
    nothing = Figures(lambda name, value: None, "pyz")
    assert await first_day([python, file], home, lambda: newer.replace(file), nothing) == NEWER


@LONG_FORM
async def test_that_of_a_release_goes_through_the_first_day(tmp_path, figures):
    need("dh")
    noted, python = figures("pyz"), "/usr/bin/python3"
    with noted.timed("build"):
        [built] = make("pyz", tmp_path / "dist").glob("*.pyz")
    noted.size(built)
    figures("SBOM").size(*(tmp_path / "dist").glob("*.cdx.json"))
    with noted.timed("install"):
        file = shutil.copy(built, tmp_path / "trio-lb.pyz")
    refuses_a_mistake(python, file, tmp_path)
    [libraries] = (ROOT / "build" / "venv").glob("lib/python*/site-packages")
    shutil.copytree(libraries, tmp_path / "libraries")
    make_newer(tmp_path / "libraries")
    pack(tmp_path / "libraries", tmp_path / "newer")
    newer = (tmp_path / "newer").replace
    assert await first_day([python, file], tmp_path / "home", lambda: newer(file), noted, workers=2) == NEWER
    with noted.timed("remove"):
        file.unlink()
        shutil.rmtree(tmp_path / "home" / ".shiv")


def test_another_version_of_python_is_told_which_one_it_is_for(tmp_path):
    """The preamble, as shiv runs it."""
    (tmp_path / "_cffi_backend.cpython-398-x86_64-linux-gnu.so").touch()
    program = f"import pathlib; site_packages = pathlib.Path({str(tmp_path)!r})\n"
    command = [sys.executable, "-c", program + (ROOT / "release" / "preamble.py").read_text()]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (
        1,
        f"lb: this file is for cpython-398-x86_64-linux-gnu, and this Python is {sys.implementation.cache_tag}\n",
    )
