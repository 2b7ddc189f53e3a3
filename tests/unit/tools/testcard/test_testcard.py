"""The test card: its clock can be read, its film is what it says."""

from __future__ import annotations

import av
import pytest

from lb.tools.testcard.card import RATE, TestCard
from lb.tools.testcard.clock_face import GLYPHS, clock_rows, time_of_day
from lb.tools.testcard.publisher import write_film

AT = 1_764_000_000.37


def read(rows, scale):
    """Return the text that a band of dots shows."""
    lines = [row[::scale] for row in rows[scale::scale][:7]]
    left = min(line.find(b"\xff") for line in lines if b"\xff" in line)
    known = {tuple(glyph.split()): character for character, glyph in GLYPHS.items()}
    dots = ["".join("1" if dot == 255 else "0" for dot in line).ljust(80, "0") for line in lines]
    for start in range(left - 4, left + 1):  # a glyph may begin with dark dots
        found = [known.get(tuple(line[at : at + 5] for line in dots)) for at in range(start, start + 60, 6)]
        if None not in found:
            return "".join(found)
    return None


def test_the_time_is_utc_with_tenths():
    assert time_of_day(AT) == "16:00:00.3"
    assert time_of_day(AT + 59.7) == "16:01:00.0"


@pytest.mark.parametrize("moment", [AT, AT + 4321.6, AT + 40_000])
def test_the_dots_show_the_time(moment):
    rows = clock_rows(moment, 80 * 3, 3, 255, 0)
    assert {len(row) for row in rows} == {240}
    assert len(rows) == 9 * 3
    assert read(rows, 3) == time_of_day(moment)


@pytest.mark.parametrize("height", [180, 360])
def test_the_picture_has_bars_and_the_clock_and_it_moves(height):
    card = TestCard(height)
    first, second = (card.picture(AT + later) for later in (0, 0.2))
    planes = [bytes(frame.planes[0]) for frame in (first, second)]
    line = first.planes[0].line_size
    assert (first.width, first.height) == (height * 16 // 9, height)
    assert planes[0][:line] == planes[1][:line]
    assert planes[0] != planes[1]
    assert len(set(planes[0][: first.width])) == 7


@pytest.mark.slow
def test_the_film_is_as_long_as_was_asked_for_with_a_key_frame_each_second(tmp_path):
    path = tmp_path / "film.mp4"
    write_film(path, 3.0)
    with av.open(str(path)) as container:
        video = [packet for packet in container.demux(video=0) if packet.size]
        assert (container.streams.video[0].width, container.streams.video[0].height) == (320, 180)
    with av.open(str(path)) as container:
        audio = [packet for packet in container.demux(audio=0) if packet.size]
    assert [number for number, packet in enumerate(video) if packet.is_keyframe] == [0, 25, 50]
    assert len(video) == 75
    assert len(audio) * 1024 / RATE == pytest.approx(3.0, abs=0.1)
