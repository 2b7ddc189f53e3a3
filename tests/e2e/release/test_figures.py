"""The table of sizes and times at the end of a run."""

from __future__ import annotations

import pytest

from tests.support.release_figures import COLUMNS, Figures, table


class Report:
    def __init__(self):
        self.user_properties = [("other", "thing")]

    def record(self, name, value):
        self.user_properties.append((name, value))


def test_what_tests_have_noted_is_a_table_of_all_artefacts(tmp_path):
    (tmp_path / "file").write_bytes(bytes(1_500_000))
    reports = [Report(), Report(), Report()]
    Figures(reports[0].record, "wheel").size(tmp_path / "file")
    Figures(reports[1].record, "image").seconds("build", 61.4)
    Figures(reports[1].record, "image").seconds("reload", 0.123)
    lines = table(reports)
    assert lines[0] == f"|  | {' | '.join(COLUMNS)} |"
    assert "| wheel | 1.5 MB | - | - | - | - | - | - |" in lines
    assert "| image | - | 61 s | - | - | 0.12 s | - | - |" in lines


def test_without_figures_there_is_no_table():
    assert table([Report()]) == []


def test_a_figure_of_something_else_is_refused():
    with pytest.raises(AssertionError):
        Figures(Report().record, "tarball")
