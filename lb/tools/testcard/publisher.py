"""Encodes a test card, into a file or to an RTMP server."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from time import monotonic, sleep, time  # noqa: TID251 - a process of its own

import av
from av.container import OutputContainer

from lb.tools.testcard.card import FRAME_SAMPLES, RATE, TestCard, sound

__all__ = ["main", "publish", "write_film"]

FPS = 25
GOP_SECONDS = 1
RECONNECT_PAUSE = 0.5


class _Encoder:
    """Writes pictures and sound into a container."""

    def __init__(self, container: OutputContainer, card: TestCard, bitrate: int) -> None:
        self._container = container
        self._card = card
        options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "scenecut=0:threads=1"}
        video = self._video = container.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = card.width, card.height, "yuv420p"
        video.bit_rate, video.gop_size = bitrate, FPS * GOP_SECONDS
        self._audio = container.add_stream("aac", rate=RATE, layout="mono", options={"aac_coder": "fast"})
        self._audio.bit_rate = 64_000
        container.start_encoding()  # which takes time: now, not between the first frame and the second

    def write(self, began: float) -> Iterator[float]:
        """Write what begins at a moment, in Unix time. Yields the seconds that were written, before each picture."""
        samples = 0
        for number in itertools.count():
            seconds = number / FPS
            yield seconds
            picture = self._card.picture(began + seconds)
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            self._container.mux(self._video.encode(picture))
            while samples / RATE < seconds:
                tone = sound(samples)
                tone.pts, tone.time_base = samples, Fraction(1, RATE)
                self._container.mux(self._audio.encode(tone))
                samples += FRAME_SAMPLES

    def flush(self) -> None:
        """Write what the encoders still have."""
        for stream in (self._video, self._audio):
            self._container.mux(stream.encode(None))


def write_film(path: Path, seconds: float, height: int = 180, bitrate: int = 300_000) -> None:
    """Write an MP4 file. ``bitrate`` is in bits a second. Raises OSError."""
    with av.open(str(path), "w", format="mp4") as container:
        encoder = _Encoder(container, TestCard(height), bitrate)
        for written in encoder.write(0.0):
            if written >= seconds:
                break
        encoder.flush()


def publish(url: str, height: int = 180, bitrate: int = 300_000) -> None:
    """Publish in real time until the connection breaks. Raises OSError."""
    container = av.open(url, "w", format="flv", options={"flvflags": "no_duration_filesize"})
    try:
        encoder = _Encoder(container, TestCard(height), bitrate)
        began, began_monotonic = time(), monotonic()
        for written in encoder.write(began):
            sleep(max(0.0, began_monotonic + written - monotonic()))
    finally:
        with suppress(OSError):  # of the end of a connection that is broken already
            container.close()


def main(url: str) -> None:
    """Publish until the standard input closes."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    while True:
        try:
            publish(url)
        except OSError as error:
            print(f"{url.partition('?')[0]}: {error.strerror or error}", file=sys.stderr, flush=True)  # noqa: T201 - for people
        sleep(RECONNECT_PAUSE)


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)
