"""Measurements of live streams: what a publisher costs, what a viewer costs, how long the first playlist takes."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import loads
from live_servers import VIEWED
from measure import memory_of
from model import Sample, Scale
from processes import HOST, give_way
from targets import LB_MEDIA, Running

__all__ = ["PUBLISHERS", "publish", "view"]

PUBLISHERS = 10
FILM_SECONDS = 20
SETTLED = 8.0
"""Seconds after which all streams have their first segments."""
MEASURED = 20.0
"""Seconds whose CPU is measured."""
PATIENCE = 20.0
MIB = 2**20
POLL = 0.02
"""Seconds between two looks for a playlist: the precision of its time."""


def publish(running: Running, scale: Scale) -> Sample:  # noqa: ARG001 - shorter would be imprecise
    """Return the CPU of a stream in percent of a core, its memory in MiB, that of the process, seconds to a playlist.

    The memory of the process is from before the first stream. The time is that of the first stream, alone, from the
    start of its publisher to its first playlist.
    """
    film, memory = _film(running.directory), running.memory()
    process = memory_of(running.pid, "lb.media.process") if running.target == LB_MEDIA else memory
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_publisher(film, running, "s0"))
        _text(running, _playlist(running, "s0"))
        first = time.perf_counter() - began
        for number in range(1, PUBLISHERS):
            stack.enter_context(_publisher(film, running, f"s{number}"))
        for number in range(PUBLISHERS):
            _text(running, _playlist(running, f"s{number}"))
        time.sleep(SETTLED)  # noqa: TID251 - what is measured is the usual state
        cpu = running.cpu()
        time.sleep(MEASURED)  # noqa: TID251 - what is measured is the CPU of a time
        cpu = running.cpu() - cpu
        memory = running.memory() - memory
    return Sample((cpu / MEASURED * 100 / PUBLISHERS, memory / PUBLISHERS / MIB, process / MIB, first))


def view(running: Running, scale: Scale) -> Sample:
    """Return the CPU of what a viewer gets in two seconds, in microseconds, and how often per second."""
    with contextlib.ExitStack() as stack:
        if running.target == LB_MEDIA:
            stack.enter_context(_publisher(_film(running.directory), running, "viewed"))
            paths = _newest(running)
        else:
            paths = [f"/viewed/{name}" for name in VIEWED]
        cpu = running.cpu()
        work = loads.wrk(running.ports.web, "/", scale.seconds, vary=" ".join(("paths", *paths)))
        cpu = running.cpu() - cpu
    return Sample((work.cost(cpu * len(paths) * 1e6), work.count / len(paths) / work.seconds), work.problems)


def _film(directory: Path) -> Path:
    """Return a film of 3.1 Mbit/s with a key frame each two seconds."""
    film = directory / "film.flv"
    if not film.exists():
        video = (
            "-c:v libx264 -preset ultrafast -b:v 3M -minrate 3M -maxrate 3M -bufsize 3M -g 50 -x264-params nal-hrd=cbr"
        )
        sources = "-f lavfi -i testsrc2=size=1280x720:rate=25 -f lavfi -i sine -t"
        command = f"ffmpeg -v error {sources} {FILM_SECONDS} {video} -c:a aac -b:a 128k -f flv"
        subprocess.run([*command.split(), str(film)], check=True)
    return film


@contextlib.contextmanager
def _publisher(film: Path, running: Running, stream: str) -> Iterator[None]:
    """Publish a film, over and over, as fast as it plays."""
    target = f"rtmp://{HOST}:{running.ports.rtmp}/live/{stream}?key=bench"
    command = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(film), "-c", "copy", "-f", "flv", target]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=give_way) as process:  # noqa: PLW1509 - no threads here
        try:
            yield
        finally:
            process.terminate()


def _playlist(running: Running, stream: str) -> str:
    """Return the path of a stream's playlist of video."""
    return f"/live/{stream}/v0.m3u8" if running.target == LB_MEDIA else f"/live/{stream}.m3u8"


def _newest(running: Running) -> list[str]:
    """Return the paths of both playlists of the stream, and of the newest segment of each."""
    lists = [f"/live/viewed/{name}" for name in ("v0.m3u8", "a0.m3u8")]
    newest = [re.findall(r"^[^#\n].*$", _text(running, path), re.MULTILINE)[-1] for path in lists]
    return [*lists, *(f"/live/viewed/{name}" for name in newest)]


def _text(running: Running, path: str) -> str:
    """Return a playlist, as soon as it is there. Raises TimeoutError."""
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        with contextlib.suppress(urllib.error.HTTPError):
            url = f"http://{HOST}:{running.ports.web}{path}"
            with urllib.request.urlopen(url, timeout=PATIENCE) as response:
                text: str = response.read().decode()
                if "#EXTINF" in text:
                    return text
        time.sleep(POLL)  # noqa: TID251 - polls a playlist
    raise TimeoutError(f"no playlist at {path}")
