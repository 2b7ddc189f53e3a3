"""The server of the storm does what its ``ok`` says."""

from __future__ import annotations

import random
import socket

import pytest
import trio

from chaos.server import Server
from chaos.servers import free_port


async def test_no_connection_is_accepted_after_refuse_is_answered():
    """Else the storm's verdict on a connection that the closing socket resets has no reason."""
    port = free_port(random.Random())
    server = Server(port)
    async with trio.open_nursery() as server._connections:
        for _ in range(20):  # the order of trio's tasks is random
            await server._execute("listen")
            await server._execute("refuse")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
