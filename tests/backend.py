"""A small server for the tests: ``python backend.py NAME PORT``; prints its port. Answers lines, then echoes the end.

``name`` -> its name, ``echo TEXT`` -> TEXT, ``bytes N`` -> N bytes, ``silent`` -> nothing, ever, ``close`` closes,
``reset`` resets, ``half N`` -> N bytes of a longer answer, then a reset.
"""

from __future__ import annotations

import socket
import sys

import trio


async def serve(name: str, stream: trio.SocketStream) -> None:
    buffer = b""
    async with stream:
        try:
            async for chunk in stream:
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    if not await answer(name, stream, line.decode().split()):
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def answer(name: str, stream: trio.SocketStream, words: list[str]) -> bool:
    match words:
        case ["name"]:
            await stream.send_all(f"{name}\n".encode())
        case ["echo", *rest]:
            await stream.send_all(" ".join(rest).encode() + b"\n")
        case ["bytes", count]:
            left = int(count)
            while left:
                await stream.send_all(bytes(min(left, 1 << 20)))
                left -= min(left, 1 << 20)
        case ["silent"]:
            await trio.sleep_forever()
        case ["close"]:
            return False
        case ["half", count]:
            await stream.send_all(bytes(int(count)))
            return reset(stream)
        case ["reset"]:
            return reset(stream)
        case _:
            await stream.send_all(b"?\n")
    return True


def reset(stream: trio.SocketStream) -> bool:
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return False


async def main(name: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: trio.serve_tcp(
                lambda stream: serve(name, stream), port, host="127.0.0.1", backlog=1000, task_status=task_status
            )
        )
        print(listeners[0].socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
