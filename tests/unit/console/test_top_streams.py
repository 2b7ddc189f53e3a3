"""The lines of the live streams in ``lb top``."""

from __future__ import annotations

from lb.console.top_rows import MOST_ROWS
from lb.console.top_streams import stream_rows

STREAM = {"live": True, "client": "10.0.0.9:5555", "bitrate": 3_100_000, "viewers": 1_200}


def test_a_line_has_the_bitrate_the_viewers_and_the_publisher():
    (line,) = stream_rows({"live/show": STREAM, "live/off": {**STREAM, "live": False}})
    assert line.plain == " stream live/show   3.1 Mbit/s   viewers 1,200   from 10.0.0.9:5555"


def test_a_ladder_has_no_publisher_of_its_own():
    (line,) = stream_rows({"live/show": {**STREAM, "client": None, "bitrate": 999_400}})
    assert line.plain == " stream live/show   999 kbit/s   viewers 1,200"


def test_those_with_most_viewers_are_shown_and_the_others_are_said_to_be_there():
    lines = stream_rows({f"live/{number}": {**STREAM, "viewers": number} for number in range(MOST_ROWS + 2)})
    assert len(lines) == MOST_ROWS
    assert f"live/{MOST_ROWS + 1}" in lines[0].plain
    assert lines[-1].plain.endswith("and 2 more: lb ctl streams")
    assert stream_rows({}) == []


def test_a_name_cannot_write_to_the_terminal():
    (line,) = stream_rows({"\x1b[2Jz": STREAM})
    assert "\x1b" not in line.plain
