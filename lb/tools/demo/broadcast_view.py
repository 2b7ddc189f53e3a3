"""The live demo without a terminal: plain lines of text. What to open and what to try."""

from __future__ import annotations

import os

import trio

from lb.tools.demo.base_scene import DemoEvent
from lb.tools.demo.broadcast_scene import APP, KEY, STREAM, BroadcastScene
from lb.tools.demo.plain import emit

__all__ = ["BroadcastPlainView", "figures_line", "introduction"]

_LONG = 80
"""Columns of a command beyond which what it shows does not stand below that of the others."""


class BroadcastPlainView:
    """Prints events, and the figures once a second."""

    def add_event(self, event: DemoEvent) -> None:
        emit(f"{event.at:6.1f} s  {event.text}")

    async def run(self, scene: BroadcastScene) -> None:
        """Print until cancelled."""
        emit("A publisher sends a test card by RTMP, viewers get it by HLS and DASH. Configuration of the balancer:\n")
        emit("".join(f"    {line}".rstrip() + "\n" for line in scene.config.splitlines()))
        emit(introduction(scene))
        while True:
            await trio.sleep(1)
            emit(f"{scene.elapsed:6.1f} s  {figures_line(scene)}")


def figures_line(scene: BroadcastScene) -> str:
    """Return what the viewer has got so far."""
    figures, latency = scene.viewer.figures, scene.viewer.latency()
    shown = "waits for segments" if latency is None else f"shows a picture {latency:.1f} s old"
    buffered = figures.playback.buffered(trio.current_time())
    return f"{scene.summary()}; the player {shown}, {buffered:.1f} s buffered; viewers: {scene.watching}"


def introduction(scene: BroadcastScene) -> str:
    """Return what to open and to try."""
    parts = []
    for title, lines in (
        ("Open in a browser:", _pages(scene)),
        ("Settings of OBS (Settings, Stream, Service: Custom…):", _obs(scene)),
        ("Try, from another terminal:", _tries(scene)),
    ):
        width = max(len(line) for line, _ in lines if len(line) < _LONG)
        parts.append(f"{title}\n\n" + "".join(f"    {line:{width}} {text}".rstrip() + "\n" for line, text in lines))
    return "\n".join(parts)


def _pages(scene: BroadcastScene) -> list[tuple[str, str]]:
    """Return what to open, and what it shows."""
    return [
        (scene.web_url, "# plays the stream"),
        (f"{scene.web_url}?stream=mine", "# plays yours, see below"),
        (f"http://{scene.admin}/", "# the dashboard"),
    ]


def _obs(scene: BroadcastScene) -> list[tuple[str, str]]:
    return [("Server", scene.rtmp_url), ("Stream Key", f"mine?key={KEY}")]


def _tries(scene: BroadcastScene) -> list[tuple[str, str]]:
    """Return commands, and what each shows."""
    stream = f"{scene.web_url}{APP}/{STREAM}"
    inputs = "-f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine"
    coding = "-c:v libx264 -preset veryfast -g 25 -pix_fmt yuv420p -c:a aac -f flv"
    return [
        (f"curl {stream}/v0.m3u8", "# the playlist"),
        (f"ffplay {stream}/master.m3u8", "# HLS; VLC and mpv take the same URL"),
        (f"ffplay {stream}/manifest.mpd", "# DASH"),
        (f'ffmpeg -re {inputs} {coding} "{scene.rtmp_url}/mine?key={KEY}"', "# publish a stream of yours"),
        (f"kill -9 {scene.source.pid}", "# kill the publisher: the player goes on, and it comes back"),
        (f"kill -9 {scene.media_pid}", "# kill the process that makes segments: the same"),
        (f"kill {os.getpid()}", "# stop the demo"),
    ]
