"""A film of ten minutes, and what is asked of a balancer that serves it in segments."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection

from configurations import FILMS
from model import Sample, Scale
from processes import HOST
from targets import Running

__all__ = ["opened", "segments"]

TITLES = 20
"""Names of the film: each is a title of its own."""
SEGMENTS = 40
ENCODE = (
    "-f lavfi -i testsrc2=size=1280x720:rate=25:duration=10 "
    "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=10 "
    "-c:v libx264 -preset veryfast -b:v 3M -maxrate 3M -bufsize 6M -g 50 -bf 2 -c:a aac -b:a 128k"
)
LOOPS = 59
"""Times that the ten seconds are repeated."""


def opened(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - a title is opened once
    """Return the CPU to open a title of ten minutes, with its first playlist, in milliseconds."""
    return _measured(running, [f"/films/{name}/v0.m3u8" for name in _titles(running)[1:]])


def segments(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - a segment is made once
    """Return the CPU to make a segment of an open title, six seconds of 720p, in milliseconds."""
    title = f"/films/{_titles(running)[0]}/"
    ((_, playlist),) = _answers(running, [f"{title}v0.m3u8"])
    uris = re.findall(r"^\w+/v0/\d+\.m4s$", playlist.decode(), re.MULTILINE)
    return _measured(running, [title + uri for uri in uris[:SEGMENTS]])


def _titles(running: Running) -> list[str]:
    """Return the names of the titles. The films are made once; one title is opened, so that the process is warm."""
    root = running.directory / FILMS
    names = [f"{number}.mp4" for number in range(TITLES + 1)]
    if not (root / names[-1]).exists():
        part, film = root / ".part.mp4", root / names[0]
        for arguments in ((*ENCODE.split(), part), ("-stream_loop", str(LOOPS), "-i", part, "-c", "copy", film)):
            subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True)
        for name in names[1:]:
            os.link(film, root / name)
    list(_answers(running, [f"/films/{names[0]}/v0.m3u8"]))
    return names


def _measured(running: Running, paths: list[str]) -> Sample:
    cpu = running.cpu()
    answers = list(_answers(running, paths))
    cpu = running.cpu() - cpu
    problems = tuple(f"status {status}" for status, _ in answers if status != 200)
    return Sample((cpu / len(paths) * 1e3,), problems)


def _answers(running: Running, paths: list[str]) -> Iterator[tuple[int, bytes]]:
    connection = HTTPConnection(HOST, running.ports.web, timeout=60)
    for path in paths:
        connection.request("GET", path)
        response = connection.getresponse()
        yield response.status, response.read()
    connection.close()
