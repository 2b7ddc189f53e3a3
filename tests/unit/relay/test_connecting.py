"""Both splicers: connect to servers."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
import trio.testing

from tests.support.splicing import Owner, open_descriptors, running_splicer

pytestmark = pytest.mark.usefixtures("splicer_kind")


async def test_a_refused_connect_is_told():
    async with running_splicer() as bench:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            owner = Owner()
            bench.splicer.connect((socket.AF_INET, nobody.getsockname()), owner)
            await owner.until(lambda owner: owner.error)
        assert owner.error.errno == errno.ECONNREFUSED


async def test_a_connect_that_fails_at_once_raises_and_leaves_nothing():
    async with running_splicer() as bench:
        before = open_descriptors()
        with pytest.raises(FileNotFoundError):
            bench.splicer.connect((socket.AF_UNIX, "/nowhere/at/all"), Owner())
        assert open_descriptors() == before


async def test_a_cancelled_connect_is_not_told_and_leaves_nothing():
    async with running_splicer() as bench:
        before = open_descriptors()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            owner = Owner()
            bench.splicer.connect((socket.AF_INET, listening.getsockname()), owner).cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert (owner.server, owner.error) == (None, None)
        assert open_descriptors() == before


@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "0:0:0:0:0:0:0:1")],
)
async def test_a_socket_that_is_connected_with_itself_is_a_refused_connect(monkeypatch, family, host):
    """The kernel may pick the target's port as the local port. The test binds to it, so the kernel must."""
    bare = socket.SocketType

    class Bound(socket.socket):
        def connect_ex(self, target):
            self.bind(target)
            return super().connect_ex(target)

    with socket.socket(family) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    async with running_splicer() as bench:
        owner = Owner()
        monkeypatch.setattr(socket, "socket", Bound)
        monkeypatch.setattr(socket, "SocketType", Bound)
        bench.splicer.connect((family, (host, port)), owner)
        monkeypatch.undo()
        assert socket.SocketType is bare
        await owner.until(lambda owner: owner.error or owner.server)
        assert owner.error.errno == errno.ECONNREFUSED
