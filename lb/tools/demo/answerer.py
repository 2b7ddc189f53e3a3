"""A server of the demo, run as a separate process: ``python answerer.py NAME DESCRIPTOR``.

Replies to each line with its name and that line, on the listening socket that it inherits. Exits when its standard
input closes, so it never outlives the demo. Standard library only, so that a restart is quick.
"""

from __future__ import annotations

import os
import socket
import sys
import threading


def main(name: str, descriptor: int) -> None:
    threading.Thread(target=accept, args=(name.encode(), socket.socket(fileno=descriptor)), daemon=True).start()
    os.read(sys.stdin.fileno(), 1)


def accept(name: bytes, listening: socket.socket) -> None:
    while True:
        client, _ = listening.accept()
        threading.Thread(target=answer, args=(name, client), daemon=True).start()


def answer(name: bytes, client: socket.socket) -> None:
    with client, client.makefile("rb") as lines:
        try:
            for line in lines:
                client.sendall(name + b" " + line)
        except ConnectionError:  # the client or the health check has disconnected
            return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
