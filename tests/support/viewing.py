"""A viewer of a stream: playlists, manifests and segments by HTTP, and the packets in them."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager

import av
import httpx
import m3u8
import trio

from tests.support import mpd
from tests.support.balancer import PATIENCE

__all__ = ["Viewer", "packets", "viewer"]


class Viewer:
    """Asks for what is below the address of one stream."""

    def __init__(self, client, base):
        self.client = client
        self.base = base

    async def get(self, path):
        """Return the response, whatever it is."""
        return await self.client.get(f"{self.base}/{path}")

    async def body(self, path):
        response = await self.get(path)
        assert response.status_code == 200, f"{path}: {response.status_code} {response.text[:200]}"
        return response.content

    async def playlist(self, name="v0.m3u8"):
        """Return a playlist, strictly parsed."""
        return m3u8.M3U8((await self.body(name)).decode(), strict=True)

    async def manifest(self):
        return mpd.read((await self.body("manifest.mpd")).decode())

    async def until(self, condition, path="v0.m3u8"):
        """Ask for a playlist until it meets the condition. Return it."""
        found = None
        with trio.move_on_after(PATIENCE):
            while True:
                response = await self.get(path)
                if response.status_code == 200:
                    found = m3u8.M3U8(response.text, strict=True)
                    if condition(found):
                        return found
                await trio.sleep(0.1)  # playlists tell what is new in no other way
        raise AssertionError(f"{path}: {response.status_code} {response.text}")

    async def film(self, name="v0"):
        """Return what a player of HLS reads: the init segment and all segments of a list. There is one MAP."""
        found = await self.playlist(f"{name}.m3u8")
        (init,) = {each.init_section.uri for each in found.segments}
        return b"".join([await self.body(path) for path in (init, *(each.uri for each in found.segments))])

    async def dash_film(self, name="v0"):
        """Return what a player of DASH reads. There is one Period."""
        (representations,) = (await self.manifest()).periods.values()
        found = representations[name]
        return b"".join([await self.body(path) for path in (found.init, *(each.uri for each in found.segments))])


@asynccontextmanager
async def viewer(lb, name="show", *, route="live"):
    """Yield a viewer of a stream, over connections that it keeps."""
    base = f"http://127.0.0.1:{lb.ports['web']}/{route}/{name}"
    async with httpx.AsyncClient(
        timeout=PATIENCE, verify=False
    ) as client:  # nothing is TLS; the list of CAs takes 30 ms
        yield Viewer(client, base)


def packets(data):
    """Return what is in a film: time of showing in seconds, whether it is a key frame, data."""
    with av.open(io.BytesIO(data)) as container:
        return [
            (float(each.pts * each.time_base), each.is_keyframe, bytes(each)) for each in container.demux() if each.size
        ]
