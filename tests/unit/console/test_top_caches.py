"""The lines of the caches in ``lb top``."""

from __future__ import annotations

import pytest

from lb.console.top_caches import cache_lines
from lb.console.top_rows import MOST_ROWS

CACHE = {
    "memory": {"objects": 2, "bytes": 1_500_000, "max_bytes": 64_000_000},
    "disk": {"objects": 3, "bytes": 2_000_000_000, "max_bytes": 10_000_000_000},
    "hit_ratio": {"last_minute": 0.9731, "since_start": 0.5},
    "fills_under_way": 4,
}


def test_a_line_has_the_hit_ratio_the_bytes_of_each_tier_and_the_fills():
    (line,) = cache_lines({"video": CACHE})
    assert line.plain == " cache video   hits 97.3%   memory 1.5 MB of 64.0 MB   disk 2.0 GB of 10.0 GB   fills 4"
    assert line.cell_len <= 95


@pytest.mark.parametrize(("missing", "absent"), [("disk", "disk"), ("last_minute", "%")])
def test_what_a_cache_does_not_have_is_not_shown_as_a_figure(missing, absent):
    ratio = {"last_minute": None, "since_start": None} if missing == "last_minute" else CACHE["hit_ratio"]
    cache = {**CACHE, "hit_ratio": ratio, "disk": None if missing == "disk" else CACHE["disk"]}
    (line,) = cache_lines({"z": cache})
    assert absent not in line.plain


def test_many_caches_leave_the_servers_their_room_and_are_said_to_be_there():
    lines = cache_lines({str(number): CACHE for number in range(MOST_ROWS + 2)})
    assert len(lines) == MOST_ROWS
    assert lines[-1].plain.endswith("and 2 more: lb ctl cache")
    assert cache_lines({}) == []


def test_a_name_cannot_write_to_the_terminal():
    (line,) = cache_lines({"\x1b[2Jz": CACHE})
    assert "\x1b" not in line.plain
