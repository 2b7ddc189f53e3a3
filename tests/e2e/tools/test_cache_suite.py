"""``make cache-tests``: how it is called, and what it says of results. The suite itself is not here."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.support.cache_suite import Report, Verdict, table
from tests.support.paths import ROOT


def report(cache, *, required, optimal=90, other="fail"):
    """Return a report on a cache that passes so many of 160 required and 105 optimal tests."""
    kinds = (("required", required, 160), ("optimal", optimal, 105), ("check", 0, 100))
    return Report(
        cache,
        tuple(
            Verdict(f"{kind}-{number}", kind, "pass" if number < passed else other, "A cache must …", "it did not")
            for kind, passed, count in kinds
            for number in range(count)
        ),
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_directory_is_given_as_path_and_programs_are_found_all_the_same():
    command = ["make", "--no-print-directory", "--dry-run", "cache-tests", "PATH=/srv/suite", "ARGS=--id a"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith(' -m tests.support.cache_suite "/srv/suite" --id a')
    probe = "include Makefile\nprobe: ; @which make\n"
    found = subprocess.run(
        ["make", "--no-print-directory", "--file=-", "probe", "PATH=/srv/suite"],
        cwd=ROOT,
        input=probe,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == shutil.which("make")


def test_a_directory_without_the_suite_is_refused(tmp_path):
    command = [sys.executable, "-m", "tests.support.cache_suite", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is no checkout of https://github.com/http-tests/cache-tests" in done.stderr


def test_all_targets_are_met_by_as_much_as_the_rival_and_enough():
    assert report("we", required=150, optimal=80).missed(report("ATS", required=150)) == []


def test_each_missed_target_is_named():
    missed = report("we", required=149, optimal=79, other="dependency_fail").missed(report("ATS", required=151))
    assert missed == [
        "149 required ones pass, not 150",
        "79 optimal ones pass, not 80",
        "ATS passes and we do not: required-149, required-150",
    ]


def test_the_table_counts_each_kind():
    lines = table([report("we", required=150), report("ATS", required=132, optimal=70)]).splitlines()
    assert lines == [
        "| cache | required, of 160 | optimal, of 105 | yes, of 100 |",
        "|---|---|---|---|",
        "| we | 150 | 90 | 0 |",
        "| ATS | 132 | 70 | 0 |",
    ]
