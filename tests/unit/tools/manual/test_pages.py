"""The manual: a page for each command and each page of the reference, which man and mandoc read without a warning."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess

import pytest

from lb.cli import _parser, main
from lb.tools.manual import show as manual
from lb.tools.manual.pages import _COMMANDS, _PAGES_OF_COMMANDS, _REFERENCE, man_pages
from tests.support.paths import DOCS

PAGES = man_pages(_parser())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("man")
    assert main(["help", "--write", str(directory)]) == 0
    return directory


def program(name):
    """Return the path of a Debian program. Without it the test is skipped; in CI it must exist."""
    path = shutil.which(name)
    if path is None:
        assert not os.environ.get("CI"), f"{name} is not installed"
        pytest.skip(f"there is no {name}")
    return path


def test_every_page_of_the_reference_is_in_the_manual():
    read = {source for _, source, _ in _REFERENCE.values()} | {_COMMANDS, *_PAGES_OF_COMMANDS.values()}
    assert read == {path.name for path in (DOCS / "reference").glob("*.md")}


def test_there_is_a_page_for_each_command():
    commands = {name.removeprefix("lb-") for name, page in PAGES.items() if page.section == 1 and name != "lb"}
    assert {"run", "check", "diff", "ctl", "top", "explain", "rehearse", "schema", "migrate", "strategy"} <= commands


def test_all_pages_are_written_where_man_looks(written):
    found = sorted(str(path.relative_to(written)) for path in written.rglob("*.*"))
    assert found == sorted(f"man{page.section}/{page.file_name}" for page in PAGES.values())
    assert {"man1/lb.1", "man1/lb-ctl.1", "man1/lb-top.1", "man5/lb.toml.5", "man7/lb-events.7"} <= {*found}


@pytest.mark.parametrize("name", ["lb-ctl", "lb.toml"])
def test_man_finds_it(name, written):
    environment = {**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
    command = [program("man"), "-M", written, "--warnings", str(PAGES[name].section), name]
    shown = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert shown.stderr == ""
    assert shown.stdout.startswith(f"{name.upper()}({PAGES[name].section})")


def test_groff_reads_each_without_a_warning(written):
    command = [program("groff"), "-man", "-Tutf8", "-K", "utf8", "-ww", "-z", *written.rglob("*.*")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stderr == ""


def test_mandoc_finds_no_fault(written):
    """But that the pages have no date: the version says how old they are, and two builds are alike."""
    command = [program("mandoc"), "-T", "lint", "-W", "warning", *written.rglob("*.*")]
    lint = subprocess.run(command, check=False, capture_output=True, text=True)
    assert [line for line in (lint.stdout + lint.stderr).splitlines() if "missing date" not in line] == []


def test_plain_pages_fit_on_a_terminal():
    for page in PAGES.values():
        prose = [line for line in page.plain.splitlines() if not line.startswith(" " * 11) and " " in line.strip()]
        assert [line for line in prose if len(line) > 80] == []


def test_lines_of_a_synopsis_are_below_each_other():
    first, second = PAGES["lb-migrate"].plain.partition("SYNOPSIS\n")[2].strip("\n").splitlines()[:2]
    assert first.index("[--from") == second.index("[FILE]")


def test_marks_of_markdown_are_not_shown():
    """Those of the texts that ``--help`` prints."""
    for page in PAGES.values():
        description = page.plain.partition("DESCRIPTION\n")[2].strip("\n").partition("\n\n")[0]
        assert "`" not in description


def test_options_and_keys_have_their_sentences():
    assert "--strict\n           exit code 2 for warnings, too" in PAGES["lb-check"].plain
    assert 'stop_timeout (duration; default "30s")\n           Graceful stop' in PAGES["lb.toml"].plain
    assert "lb ctl drain [-c FILE]" in PAGES["lb-ctl"].plain


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ([], "lb"),
        (["lb"], "lb"),
        (["ctl", "drain"], "lb-ctl"),
        (["lb.toml"], "lb.toml"),
        (["events"], "lb-events"),
        (["lb-events"], "lb-events"),
    ],
)
def test_a_page_is_found_by_a_command_or_its_name(asked, name):
    assert manual.page_of(asked, PAGES).name == name


def test_a_page_that_is_not_there_is_a_mistake_with_a_hint():
    with pytest.raises(LookupError, match="no page 'cotl', did you mean 'ctl'"):
        manual.page_of(["cotl"], PAGES)


@pytest.mark.parametrize(("code", "shown"), [(0, ""), (1, "NAME\n")], ids=["man works", "man is cut down"])
def test_on_a_terminal_man_shows_it_if_it_can(code, shown, tmp_path, monkeypatch, capsys):
    program = tmp_path / "man"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/read\nexit {code}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    manual.show_page(PAGES["lb-ctl"])
    assert (tmp_path / "arguments").read_text() == "-l -\n"
    assert (tmp_path / "read").read_text() == PAGES["lb-ctl"].roff
    assert capsys.readouterr().out.startswith(shown)
