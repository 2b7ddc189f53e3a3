"""Makes the one file of a release without the package index, of the libraries that the tests themselves run with."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

__all__ = ["NEWER", "copy_libraries", "make_newer", "pack"]

NEWER = "9.9.9"


def copy_libraries(directory):
    """Copy what requirements.lock names, and the project, as an environment has them."""
    for name in re.findall("(?m)^[a-z0-9-]+(?===)", (ROOT / "requirements.lock").read_text()):
        found = importlib.metadata.distribution(name)
        for each in found.files:
            if ".." not in each.parts and each.suffix != ".pyc":
                (directory / each).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found.locate_file(each), directory / each)
    for name in ("lb", "strategies", "healthcheck"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))


def pack(libraries, file):
    """Make the one file of a directory with libraries."""
    environment = {**os.environ, "SHIV": str(Path(sys.executable).parent / "shiv"), "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run([ROOT / "release" / "pyz", libraries, file], check=True, env=environment)


def make_newer(libraries):
    """Make the project in a directory with libraries say that it is another version."""
    (libraries / "lb" / "__init__.py").write_text(f'__version__ = "{NEWER}"\n')
