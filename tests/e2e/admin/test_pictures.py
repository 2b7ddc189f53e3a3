"""The pictures of the documentation can be made, and show what they should."""

from __future__ import annotations

import struct

import pytest

from tests.support.browser import NEEDS_CHROMIUM
from tests.support.effort import LONG_FORM
from tests.support.pictures import draw_dashboard, draw_many_pools, draw_report

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]
FEWEST_BYTES = 20_000  # a page without anything on it has fewer


def size(path):
    """Return width and height of a PNG."""
    header = path.read_bytes()[:24]
    assert header.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", header[16:])


async def test_a_dashboard_a_pool_and_a_terminal_are_drawn_of_a_run(tmp_path):
    """That the rows are on the page is what the drawing waits for."""
    await draw_dashboard(tmp_path, tmp_path, seconds=3)
    assert (size(tmp_path / "dashboard.png")[0], size(tmp_path / "pool.png")[0]) == (1160, 1160)
    assert size(tmp_path / "top.png")[0] == 1652
    assert min((tmp_path / f"{name}.png").stat().st_size for name in ("dashboard", "pool", "top")) > FEWEST_BYTES


@LONG_FORM
async def test_many_pools_and_a_report_are_drawn(tmp_path):
    await draw_many_pools(tmp_path, tmp_path)
    await draw_report(tmp_path, tmp_path)
    assert (size(tmp_path / "many-pools.png"), size(tmp_path / "rehearsal.png")) == ((1160, 900), (1180, 1098))
