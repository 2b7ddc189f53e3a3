"""The package's metadata, and what ``make`` installs."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.metadata import metadata

from tests.support.paths import ROOT


def test_the_metadata_has_its_urls():
    urls = dict(each.split(", ") for each in metadata("trio-lb").get_all("Project-URL"))
    assert urls.keys() == {"Homepage", "Documentation", "Changelog", "Issues"}


def test_pictures_and_links_of_the_readme_lead_somewhere_on_a_package_index():
    text = metadata("trio-lb").get_payload() or metadata("trio-lb")["Description"]
    targets = re.findall(r"\]\(([^)]+)\)", text)
    relative = re.findall(r"\]\((?!https?:|#)([^)]+)\)", (ROOT / "README.md").read_text())
    assert len(relative) > 10
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(pictures) == 3
    for picture in pictures:
        assert (ROOT / picture.removeprefix("https://raw.githubusercontent.com/trio-lb/trio-lb/main/")).is_file()


def steps_of(target, directory):
    """Return the commands that ``make`` would run in a fresh clone."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, directory)
    done = subprocess.run(["make", "--dry-run", target], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout


def test_the_demo_installs_no_tools_of_the_tests_and_says_what_takes_so_long(tmp_path):
    steps = steps_of("demo", tmp_path)
    assert "--editable ." in steps
    assert "[dev]" not in steps
    assert (
        steps.index("echo 'Setting up .venv")
        < steps.index("-m venv")
        < steps.index("echo 'Step 2")
        < steps.index("pip")
    )
    assert "[dev]" in steps_of("setup", tmp_path)
