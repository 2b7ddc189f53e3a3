"""Keys from a terminal, one at a time, without echo; and the terminal as it was, afterwards."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import trio

__all__ = ["keys", "single_keys"]


@contextmanager
def single_keys(fd: int) -> Iterator[None]:
    """Keys are readable as soon as they are pressed. Ctrl-C stays a signal. Undone on every way out."""
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)


async def keys(fd: int) -> AsyncIterator[str]:
    """What is pressed, until the terminal is gone."""
    while True:
        await trio.lowlevel.wait_readable(fd)
        pressed = os.read(fd, 64).decode(errors="ignore")
        if not pressed:
            return
        for key in pressed:
            yield key
