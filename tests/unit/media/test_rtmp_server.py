"""The server of RTMP beside its sessions: what the end of a connection means to the others."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager

import trio
import trio.testing

from lb.media.player import PLAYER_QUEUE
from lb.media.rtmp.client_session import RtmpClientSession
from lb.media.rtmp.handshake import NOISE_BYTES
from lb.media.rtmp_server import serve_rtmp
from lb.model.rtmp_address import read_rtmp_address
from lb.proxy_protocol.header import local_header
from tests.support.relay_servers import PEER, VIDEO_CONFIG, video
from tests.support.servers import media_serving

PATIENCE = 10


class Show:
    """A stream that all may play: :class:`lb.media.rtmp_server.RtmpApps` and its broadcast."""

    def __init__(self):
        self.players = []
        self.has_left = trio.Event()

    async def play(self, _asked, player):
        self.players.append(player)
        player.send(VIDEO_CONFIG)
        return self

    def leave(self, player):
        self.players.remove(player)
        self.has_left.set()


@asynccontextmanager
async def playing(tmp_path, show):
    """Run a server of a stream, and yield the socket of a client that plays it."""
    async with media_serving(serve_rtmp, tmp_path / "socket", show):
        with trio.socket.socket(socket.AF_UNIX) as client:
            await client.connect(str(tmp_path / "socket"))
            await client.send(local_header(PEER, PEER))
            await let_in(client)
            yield client


async def let_in(client):
    address = read_rtmp_address("rtmp://h/live/show")
    session = RtmpClientSession(address, "play", os.urandom(NOISE_BYTES), trio.current_time())
    events = []
    while not events:
        if data := session.outgoing():
            await client.send(data)
        events = session.receive(await client.recv(65_536), trio.current_time())


async def test_a_player_that_is_cut_is_no_fault_of_this_program(tmp_path):
    show = Show()
    with trio.fail_after(PATIENCE):
        async with playing(tmp_path, show) as client:
            for number in range(8):  # more than the socket takes
                show.players[0].send(video(number, key=True, data=bytes(PLAYER_QUEUE // 8)))
            await trio.testing.wait_all_tasks_blocked()
            client.close()
            await show.has_left.wait()


async def test_a_player_that_takes_nothing_is_no_fault_of_this_program(tmp_path, autojump_clock):
    show = Show()
    async with playing(tmp_path, show):
        for number in range(8):
            show.players[0].send(video(number, key=True, data=bytes(PLAYER_QUEUE // 8)))
        await show.has_left.wait()
