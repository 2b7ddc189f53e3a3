"""The terminal of a live view: keys one at a time, without echo; and the terminal as it was, afterwards."""

from __future__ import annotations

import errno
import os
import re
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import trio

__all__ = ["is_terminal", "keys", "single_keys", "split_keys"]

KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)
"""A control sequence (ECMA-48, 5.4) or a character."""
UNFINISHED = re.compile(r"\x1b(?:O|\[[0-9;]*)?\Z")
NAMES = {
    "A": "up", "B": "down", "H": "home", "F": "end", "1~": "home", "4~": "end", "5~": "page up", "6~": "page down",
}  # fmt: skip
"""What a sequence means, by its end; terminals differ in its beginning."""


def is_terminal() -> bool:
    """Whether a live view can be shown: it wants a terminal for its keys and for its looks."""
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") != "dumb"
        and sys.stdout.encoding.lower().startswith("utf")
    )


@contextmanager
def single_keys(fd: int) -> Iterator[None]:
    """Keys are readable as soon as they are pressed. Ctrl-C stays a signal. Undone on every way out."""
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        try:
            termios.tcsetattr(fd, termios.TCSANOW, before)
        except termios.error as error:
            if error.args[0] != errno.EIO:  # what a terminal says that has been hung up
                raise


async def keys(fd: int) -> AsyncIterator[str]:
    """What is pressed, a character or a word like ``page up`` at a time, until the terminal is gone."""
    rest = ""
    while True:
        await trio.lowlevel.wait_readable(fd)
        try:
            pressed = os.read(fd, 64).decode(errors="ignore")
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return
        if not pressed:
            return
        found, rest = split_keys(rest + pressed)
        for key in found:
            yield key


def split_keys(pressed: str) -> tuple[list[str], str]:
    """The keys in what a terminal has sent, and the beginning of one that is not all there yet. No I/O.

    An escape by itself is such a beginning, and becomes a key with the next one: nothing here waits for time to pass.
    """
    unfinished = UNFINISHED.search(pressed)
    rest = unfinished[0] if unfinished else ""
    sent = KEY.findall(pressed.removesuffix(rest))
    return [NAMES.get(each.lstrip("\x1b[O"), each) if len(each) > 1 else each for each in sent], rest
