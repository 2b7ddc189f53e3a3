"""Sizes and times of what is released: tests note them, and the end of a run of pytest shows them as a table."""

from __future__ import annotations

import time
from contextlib import contextmanager

__all__ = ["COLUMNS", "Figures", "table"]

ARTEFACTS = ("wheel", "sdist", "deb", "pyz", "image", "SBOM")
COLUMNS = ("size", "build", "install", "first request", "reload", "upgrade", "remove")
_NAME = "release figure"


class Figures:
    """What one test notes of one artefact. It goes with the report of the test, also from another process."""

    def __init__(self, record_property, artefact):
        assert artefact in ARTEFACTS
        self._record, self._artefact = record_property, artefact

    def size(self, path):
        """Note the size of a file."""
        self._note("size", f"{path.stat().st_size / 1e6:.3g} MB")

    def seconds(self, column, seconds):
        """Note how long something took."""
        self._note(column, f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s")

    @contextmanager
    def timed(self, column):
        """Note how long the block took."""
        begin = time.monotonic()
        yield
        self.seconds(column, time.monotonic() - begin)

    def _note(self, column, text):
        assert column in COLUMNS
        self._record(_NAME, (self._artefact, column, text))


def table(reports):
    """Return the lines of a table, in Markdown, of all that the tests of these reports have noted; none if nothing."""
    noted = [value for report in reports for name, value in report.user_properties if name == _NAME]
    texts = {(artefact, column): text for artefact, column, text in noted}
    rows = [[each, *(texts.get((each, column), "-") for column in COLUMNS)] for each in ARTEFACTS]
    lines = [["", *COLUMNS], ["---"] * (len(COLUMNS) + 1), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] if noted else []
