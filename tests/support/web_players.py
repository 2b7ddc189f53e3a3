"""A page with hls.js and dash.js in a real browser, and what its players show: numbers of pictures, stalls, errors."""

from __future__ import annotations

import itertools
import statistics
import time
from contextlib import asynccontextmanager

import trio

from tests.support.balancer import PATIENCE
from tests.support.browser import new_page
from tests.support.clock_film import CELL, CLOCK_SECONDS, COLUMNS, FPS, ROWS
from tests.support.node_packages import copy_scripts

__all__ = ["WebPlayers", "web_players", "write_page"]

BITS = (CLOCK_SECONDS * FPS).bit_length()
PAGE = f"""<!doctype html><title>players</title><script src="hls.js"></script><script src="dash.js"></script><script>
const players = {{}};
function play(name, kind, url) {{
    const video = document.createElement("video"), canvas = document.createElement("canvas");
    video.muted = true;
    video.width = {COLUMNS * CELL};
    document.body.append(video);
    const state = players[name] = {{seen: [], stalls: [], errors: [], video}};
    video.addEventListener("waiting", () => state.stalls.push(Date.now() / 1000));
    if (kind === "hls") {{
        state.player = new Hls({{maxLiveSyncPlaybackRate: 1.5}});  // it catches up with what it lost at its start
        state.player.on(Hls.Events.ERROR, (_, data) => state.errors.push([data.details, data.fatal]));
        state.player.loadSource(url);
        state.player.attachMedia(video);
    }} else {{
        state.player = dashjs.MediaPlayer().create();
        state.player.on("error", event => state.errors.push([event.error.message, false]));
        state.player.initialize(video, url, true);
    }}
    video.addEventListener("canplay", () => video.play());
    const context = canvas.getContext("2d", {{willReadFrequently: true}});
    canvas.width = {COLUMNS * CELL}, canvas.height = {ROWS * CELL};
    const look = () => {{
        context.drawImage(video, 0, 0, canvas.width, canvas.height);
        const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
        let number = 0;
        for (let bit = 0; bit < {BITS}; bit++) {{
            const x = (bit % {COLUMNS} + 0.5) * {CELL}, y = (Math.floor(bit / {COLUMNS}) + 0.5) * {CELL};
            number += (data[(y * canvas.width + x) * 4] > 128) << bit;
        }}
        state.seen.push([Date.now() / 1000, number, video.currentTime]);
        video.requestVideoFrameCallback(look);
    }};
    video.requestVideoFrameCallback(look);
}}
const state = () => Object.fromEntries(Object.entries(players).map(([name, {{seen, stalls, errors}}]) =>
    [name, {{seen, stalls, errors}}]));
</script><body></body>"""


def write_page(directory):
    """Write the page and the scripts of the players to a directory."""
    (directory / "index.html").write_text(PAGE)
    copy_scripts(directory)


class Seen:
    """What a player has shown. Times are Unix times in seconds."""

    def __init__(self, seen, stalls, errors):
        self.pictures = [(at, number) for at, number, _ in seen]
        self.stalls = stalls
        self.errors = errors
        self.fatal = [detail for detail, fatal in errors if fatal]

    @property
    def seconds(self):
        """How long it has been playing."""
        return self.pictures[-1][0] - self.pictures[0][0] if self.pictures else 0.0

    def seconds_of_new_film(self, since):
        """How long it has been playing what was published from its first picture on, after ``since``."""
        begin = next((at for at, number in self.pictures if at > since and number < FPS), None)
        return 0.0 if begin is None else self.pictures[-1][0] - begin

    def longest_pause(self, since=0.0):
        """Return the longest time without a new picture, in seconds."""
        times = [at for at, _ in self.pictures if at >= since]
        return max((later - earlier for earlier, later in itertools.pairwise(times)), default=float("inf"))

    def latency(self, began, last=4.0):
        """Return the median of seconds from a picture's sending to its showing, in the last seconds.

        ``began``: when the film began to be sent.
        """
        since = self.pictures[-1][0] - last
        return statistics.median(
            (at - began - number / FPS) % CLOCK_SECONDS for at, number in self.pictures if at >= since
        )


class WebPlayers:
    """Runs in a thread of its own: :meth:`play` and :meth:`seen` may be awaited from the test's loop."""

    def __init__(self, url):
        self._url = url
        self._orders_in, self._orders = trio.open_memory_channel(1)

    async def _do(self, script, argument=None):
        sent, received = trio.open_memory_channel(1)
        await self._orders_in.send((script, argument, sent))
        return await received.receive()

    async def play(self, name, kind, url):
        await self._do("([name, kind, url]) => play(name, kind, url)", [name, kind, url])

    async def evaluate(self, script):
        """Return the result of a script in the page."""
        return await self._do(script)

    async def seen(self):
        """Return what each player has shown, by its name."""
        return {name: Seen(**found) for name, found in (await self._do("() => state()")).items()}

    async def until(self, condition):
        """Wait until what the players have shown meets a condition, and return it."""
        began = time.time()
        while not condition(found := await self.seen()):
            told = {name: (len(each.pictures), each.errors, each.stalls) for name, each in found.items()}
            assert time.time() - began < PATIENCE, told
            await trio.sleep(0.2)  # a page tells nothing by itself
        return found

    def run(self):
        """Run the browser's page until the test has ended."""
        with new_page() as page:
            page.goto(self._url)
            while (order := trio.from_thread.run(self._next)) is not None:
                script, argument, sent = order
                trio.from_thread.run_sync(sent.send_nowait, page.evaluate(script, argument))

    async def _next(self):
        try:
            return await self._orders.receive()
        except trio.EndOfChannel:
            return None

    def close(self):
        self._orders_in.close()


@asynccontextmanager
async def web_players(url):
    """Open the page at a URL. The block gets its :class:`WebPlayers`."""
    players = WebPlayers(url)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, players.run)
        try:
            yield players
        finally:
            players.close()
