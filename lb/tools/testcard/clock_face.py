"""A clock of dots, as rows of bytes: for a test card."""

from __future__ import annotations

import math
import time

__all__ = ["GLYPHS", "clock_rows", "time_of_day"]

GLYPHS = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00010 00100 01000 11111",
    "3": "11111 00010 00100 00010 00001 10001 01110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    ":": "00000 00100 00100 00000 00100 00100 00000",
    ".": "00000 00000 00000 00000 00000 01100 01100",
}
"""Seven rows of five dots for each character."""
_LIT = {character: [row + "0" for row in glyph.split()] for character, glyph in GLYPHS.items()}


def time_of_day(seconds: float) -> str:
    """Return the time of day in UTC, with tenths of a second: ``20:15:00.3``."""
    tenths = math.floor(seconds * 10)
    return f"{time.strftime('%H:%M:%S', time.gmtime(tenths // 10))}.{tenths % 10}"


def clock_rows(seconds: float, width: int, scale: int, lit: int, dark: int) -> list[bytes]:
    """Return the clock in the middle of a band. In pixels: ``width`` of the band, ``scale`` of a dot."""
    text = time_of_day(seconds)
    pixels = {"1": bytes([lit]) * scale, "0": bytes([dark]) * scale}
    margin = bytes([dark]) * width
    rows = [margin] * scale
    for number in range(7):
        dots = "".join(_LIT[character][number] for character in text)[:-1]
        row = b"".join(pixels[dot] for dot in dots)
        left = (width - len(row)) // 2
        rows += [margin[:left] + row + margin[: width - left - len(row)]] * scale
    return rows + [margin] * scale
