"""Colour bars, a clock in UTC, a bar that crosses the picture each second; and a tone with a pip each second."""

from __future__ import annotations

import itertools
import math
import struct

import av

from lb.tools.testcard.clock_face import clock_rows

__all__ = ["FRAME_SAMPLES", "RATE", "TestCard", "sound"]

RATE = 48_000
FRAME_SAMPLES = 1024
"""Of sound, in a frame."""
_BARS = (
    (180, 128, 128), (162, 44, 142), (131, 156, 44), (112, 72, 58), (84, 184, 198), (65, 100, 212), (35, 212, 114)
)  # fmt: skip
"""White, yellow, cyan, green, magenta, red and blue of 75 %, as Y, Cb and Cr of ITU-R BT.601."""
_BLACK, _WHITE, _COLOURLESS = 16, 235, 128
_TONE, _PIP = 480, 960
"""Hertz. Both fit into a hundredth of a second, so a table of that length repeats without a click."""
_LOUDNESS = 2_000
"""Of 32,767."""
_PIP_SECONDS = 0.1


class TestCard:
    """The pictures. ``height`` in pixels, a multiple of 36; the picture is 16 to 9."""

    __test__ = False  # for pytest

    def __init__(self, height: int = 180) -> None:
        self.width, self.height = height * 16 // 9, height
        self._scale = height // 45
        """Pixels of a dot of the clock."""

    def picture(self, seconds: float) -> av.VideoFrame:
        """Return the picture of a moment, in Unix time."""
        frame = av.VideoFrame(self.width, self.height, "yuv420p")
        luma, blue, red = frame.planes
        clock = clock_rows(seconds, self.width, self._scale, _WHITE, _BLACK)
        crossed = int(self.width * (seconds % 1))
        crossing = (bytes([_WHITE]) * crossed).ljust(self.width, bytes([_BLACK]))
        rows = [*clock, *[crossing] * self._scale * 2, *[bytes([_BLACK]) * self.width] * self._scale * 2]
        bars = self.height - len(rows)
        luma.update(self._bars(0, luma.line_size, bars) + b"".join(row.ljust(luma.line_size, b"\0") for row in rows))
        for component, plane in enumerate((blue, red), 1):
            colours = self._bars(component, plane.line_size, bars // 2)
            plane.update(colours.ljust(plane.buffer_size, bytes([_COLOURLESS])))
        return frame

    def _bars(self, component: int, line: int, rows: int) -> bytes:
        """Return rows of a plane, each ``line`` bytes long."""
        width = self.width if component == 0 else self.width // 2
        edges = [width * number // len(_BARS) for number in range(len(_BARS) + 1)]
        pieces = (
            bytes([bar[component]]) * (end - begin)
            for bar, (begin, end) in zip(_BARS, itertools.pairwise(edges), strict=True)
        )
        return b"".join(pieces).ljust(line, b"\0") * rows


def sound(sample: int) -> av.AudioFrame:
    """Return the sound from a sample on: a tone, and a pip at each full second."""
    is_pip = sample % RATE < _PIP_SECONDS * RATE
    table = _WAVES[_PIP if is_pip else _TONE]
    begin = sample * 2 % len(table)
    frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
    frame.planes[0].update((table * (FRAME_SAMPLES * 2 // len(table) + 2))[begin : begin + FRAME_SAMPLES * 2])
    frame.sample_rate = RATE
    return frame


def _wave(hertz: int) -> bytes:
    """Return a hundredth of a second."""
    count = RATE // 100
    return struct.pack(f"<{count}h", *(int(_LOUDNESS * math.sin(math.tau * hertz * at / RATE)) for at in range(count)))


_WAVES = {hertz: _wave(hertz) for hertz in (_TONE, _PIP)}
