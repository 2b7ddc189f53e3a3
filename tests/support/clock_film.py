"""A film whose pictures hold their numbers, so that who sees one knows when it was sent."""

from __future__ import annotations

import av

from tests.support.publishing import film_frames

__all__ = ["CLOCK_SECONDS", "FPS", "clock_film"]

CLOCK_SECONDS = 24
FPS = 20
GOP_SECONDS = 2
CELL, COLUMNS, ROWS = 16, 6, 4
"""A bit of the number is a black or white square: the first is the lowest, row by row."""
RATE = 48_000


def clock_film(path):
    """Write the film, with a silent track of sound, and return it as a publisher sends it. A key frame is each 2 s."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = CELL * COLUMNS, CELL * ROWS, "yuv420p"
        video.codec_context.gop_size = FPS * GOP_SECONDS
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        for number in range(CLOCK_SECONDS * FPS):
            container.mux(video.encode(_picture(number)))
        container.mux(video.encode())
        for start in range(0, CLOCK_SECONDS * RATE, 1024):
            silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            silence.planes[0].update(bytes(silence.planes[0].buffer_size))
            silence.sample_rate, silence.pts = RATE, start
            container.mux(audio.encode(silence))
        container.mux(audio.encode())
    return film_frames(path, CLOCK_SECONDS * 1_000)


def _picture(number):
    picture = av.VideoFrame(CELL * COLUMNS, CELL * ROWS, "yuv420p")
    light, *colours = picture.planes
    lines = b""
    for row in range(ROWS):
        cells = [bytes([16 + 219 * (number >> (row * COLUMNS + column) & 1)]) * CELL for column in range(COLUMNS)]
        lines += b"".join(cells).ljust(light.line_size, b"\x10") * CELL
    light.update(lines.ljust(light.buffer_size, b"\x10"))
    for plane in colours:
        plane.update(b"\x80" * plane.buffer_size)
    picture.pts = number
    return picture
