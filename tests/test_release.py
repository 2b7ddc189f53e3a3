"""What is released, as far as it can be had quickly: the wheel, the locks, the Containerfile, the package's unit."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement

import lb
from tests.support.paths import EXAMPLES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def needed(*extras):
    """Return the requirements with those of some extras, which may name others."""
    found = [Requirement(each) for each in PROJECT["project"]["dependencies"]]
    for extra in extras:
        for each in map(Requirement, EXTRAS[extra]):
            found += needed(*each.extras) if each.name == "trio-lb" else [each]
    return found


def locked(name):
    """Return the versions that a lock has for each library: one, or one for each kind of Python."""
    versions = {}
    for library, version in re.findall(r"(?m)^([a-z0-9-]+)==([^ ]+)", (ROOT / name).read_text()):
        versions.setdefault(library, []).append(version)
    return versions


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", needed("packaged")),
        ("requirements-media.lock", needed("packaged", "media")),
        ("release/build.lock", [Requirement(each) for each in PROJECT["build-system"]["requires"]]),
    ],
)
def test_a_lock_has_what_the_project_needs(lock, requirements):
    """If not: ``make lock``."""
    versions = locked(lock)
    for each in requirements:
        name = each.name.lower().replace("_", "-")
        assert versions.get(name), f"{name} is not in {lock}: make lock"
        assert all(version in each.specifier for version in versions[name]), f"{each} in {lock}: make lock"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-media.lock", "release/build.lock"])
def test_a_lock_has_a_hash_for_each_and_no_address(lock):
    text = (ROOT / lock).read_text()
    for entry in re.split(r"(?m)^(?=[a-z])", text)[1:]:
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text


def test_what_the_project_calls_packaged_is_without_what_only_tests_need():
    names = {each.name for each in needed("packaged")}
    assert "pytest" not in names
    assert "av" not in names


def build(target, directory):
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", directory]
    environment = {"SOURCE_DATE_EPOCH": "1700000000", "PATH": "/usr/bin:/bin"}
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment)
    [found] = directory.glob("*.whl")
    return found


@pytest.mark.slow
def test_two_wheels_are_alike_and_have_the_version_and_the_pages_of_the_manual(tmp_path):
    first, second = (build("wheel", tmp_path / each) for each in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert first.name == f"trio_lb-{lb.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(first) as wheel:
        pages = {each for each in wheel.namelist() if each.startswith("lb/tools/reference/pages/")}
    assert {each.rsplit("/")[-1] for each in pages} == {each.name for each in (ROOT / "docs/reference").glob("*.md")}


def test_the_version_stands_in_one_place():
    """The changelog may have it as a heading; that is what it is for."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    for name in (
        "pyproject.toml",
        "Makefile",
        "Containerfile",
        *(each for each in tracked if each.startswith("release/")),
    ):
        if not name.endswith(".lock"):
            assert f'"{lb.__version__}"' not in (ROOT / name).read_text(), name
    assert re.search(r"(?m)^## \[", (ROOT / "CHANGELOG.md").read_text())


def instructions():
    """Return the instructions of the Containerfile as (word, rest), of its last stage alone."""
    text = (ROOT / "Containerfile").read_text().replace("\\\n", " ")
    found = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    last = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return found, found[last:]


def test_the_image_starts_from_nothing_and_runs_as_a_user_who_may_little():
    every, last = instructions()
    assert every[0] == ["ARG", "BASE=docker.io/library/debian:bookworm-slim"]
    assert ["FROM", "${BASE} AS build"] in every
    words = dict(last)
    assert words["FROM"] == "scratch"
    assert "RUN" not in words  # there is no shell
    assert words["USER"].split(":")[0].isdecimal()  # Kubernetes can see that it is not root
    assert words["STOPSIGNAL"] == "SIGTERM"
    for word in ("ENTRYPOINT", "CMD"):
        assert words[word].startswith("["), word
    assert words["HEALTHCHECK"].endswith('CMD ["lb", "ctl", "--json", "status"]')


def test_the_build_of_the_image_gets_what_it_reads_and_nothing_else():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "lb",
        "strategies",
        "healthcheck",
        "release",
        "docs/reference",
    } < allowed
    assert ".git" not in allowed


def test_the_package_has_the_unit_of_the_examples():
    rules = (ROOT / "release/deb/debian/rules").read_text()
    assert "cp examples/lb.service debian/trio-lb.lb.service" in rules
    assert "ListenStream=80" in (EXAMPLES / "lb.socket").read_text()


def test_the_configuration_of_the_package_names_the_schema_that_the_package_has():
    directive, path = (ROOT / "release/deb/lb.toml").read_text().split("\n")[0].split(" ")
    assert directive == "#:schema"
    assert f"$(lb) schema > $(root){path}\n" in (ROOT / "release/deb/debian/rules").read_text()


@pytest.mark.parametrize("name", ["deb", "image"])
def test_the_least_configurations_load(name, tmp_path):
    text = (ROOT / "release" / name / "lb.toml").read_text()
    (tmp_path / "token").write_text("secret")
    (tmp_path / "lb.toml").write_text(text.replace("/run/credentials/lb.service/token", str(tmp_path / "token")))
    from lb.config.load import load

    assert [*load(tmp_path / "lb.toml").listeners] == ["web"]
