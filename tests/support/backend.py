"""A small server for tests: ``python backend.py NAME PORT`` prints a line once it listens. It replies to lines.

``name``: its name. ``echo TEXT``: TEXT. ``bytes N``: N bytes. ``close``: closes. ``half N``: N bytes of a longer
answer, then a reset.
"""

from __future__ import annotations

import socket
import sys

import trio

CHUNK = 1 << 20


async def serve(name, stream):
    """Reply until the client has finished or sends a line that ends the connection."""
    buffer = b""
    async with stream:
        async for chunk in stream:
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                if not await answer(name, stream, line.decode().split()):
                    return


async def answer(name, stream, arguments):
    """Reply to a line. Return False if the connection is to be closed."""
    match arguments:
        case ["name"]:
            await stream.send_all(f"{name}\n".encode())
        case ["echo", *rest]:
            await stream.send_all(" ".join(rest).encode() + b"\n")
        case ["bytes", count]:
            await send_bytes(stream, int(count))
        case ["close"]:
            return False
        case ["half", count]:
            await send_bytes(stream, int(count))
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return False
        case _:
            await stream.send_all(b"?\n")
    return True


async def send_bytes(stream, count):
    for left in range(count, 0, -CHUNK):
        await stream.send_all(bytes(min(left, CHUNK)))


async def serve_all(name, port):
    async def serve_alone(stream):
        try:
            await serve(name, stream)
        except trio.BrokenResourceError:
            return  # the client has closed the connection

    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=1000)
    print("listening", flush=True)
    await trio.serve_listeners(serve_alone, listeners)


def main():
    trio.run(serve_all, sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    main()
