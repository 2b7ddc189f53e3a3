"""A service manager for tests: passes sockets to a service and receives its notifications."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import asynccontextmanager

import trio

from tests.support.balancer import PATIENCE

GIVE = """
import fcntl, os, sys
count = int(sys.argv[1])
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[2 : 2 + count]]
os.closerange(3, 100)
for number, fd in enumerate(fds, 3):
    os.dup2(fd, number)
    os.close(fd)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": ":".join("ab"[:count])}
os.execv(sys.argv[2 + count], sys.argv[2 + count :])
"""


def giving(*sockets):
    """Return arguments of :func:`tests.support.balancer.balancer` that pass it these sockets, named a and b."""
    fds = [sock.fileno() for sock in sockets]
    return {"through": [sys.executable, "-c", GIVE, str(len(fds)), *map(str, fds)], "pass_fds": fds}


class Manager:
    """A service manager. ``messages`` collects the messages: sender's pid and assignments."""

    def __init__(self, path):
        self.environment = {"NOTIFY_SOCKET": str(path)}
        """Environment variables for services."""
        self._path = path
        self.messages = []
        self._looked = 0
        self._arrived = trio.Event()

    async def listen(self, *, task_status):
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            await sock.bind(str(self._path))
            task_status.started()
            while True:
                text, ((_, _, credentials),), _, _ = await sock.recvmsg(4096, socket.CMSG_SPACE(12))
                pid, _, _ = struct.unpack("3i", credentials)
                self.messages.append((pid, dict(line.split("=", 1) for line in text.decode().split("\n"))))
                self._arrived.set()
                self._arrived = trio.Event()

    async def receive(self, key, value=None):
        """Return the next message with this key, after those returned before. Waits for it."""
        with trio.fail_after(PATIENCE):
            while True:
                for place, (pid, message) in enumerate(self.messages[self._looked :], self._looked + 1):
                    if key in message and value in (None, message[key]):
                        self._looked = place
                        return pid, message
                await self._arrived.wait()


@asynccontextmanager
async def manager(tmp_path):
    """Run a service manager during the block."""
    running = Manager(tmp_path / "notify")
    async with trio.open_nursery() as nursery:
        await nursery.start(running.listen)
        yield running
        nursery.cancel_scope.cancel()
