"""Terminal input of live views: single keys without echo. Restores the terminal at the end."""

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

KEY_PATTERN = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)
"""A control sequence (ECMA-48, 5.4) or a character."""
UNFINISHED = re.compile(r"\x1b(?:O|\[[0-9;]*)?\Z")
KEY_NAMES = {
    "A": "up", "B": "down", "H": "home", "F": "end", "1~": "home", "4~": "end", "5~": "page up", "6~": "page down",
}  # fmt: skip
"""Key per end of a control sequence. Terminals differ in how sequences begin."""


def is_terminal() -> bool:
    """Return whether a live view is possible: it needs a terminal for input and for output."""
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") != "dumb"
        and sys.stdout.encoding.lower().startswith("utf")
    )


@contextmanager
def single_keys(fd: int) -> Iterator[None]:
    """Make keys readable as soon as they are pressed. Ctrl-C remains a signal. Always restores the terminal."""
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        try:
            termios.tcsetattr(fd, termios.TCSANOW, before)
        except termios.error as error:
            if error.args[0] != errno.EIO:  # the terminal was hung up
                raise


async def keys(fd: int) -> AsyncIterator[str]:
    """Yield pressed keys, each a character or a name like ``page up``, until the terminal closes."""
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
    """Return the keys in the input, and the rest that is an incomplete sequence. No I/O.

    A lone escape is incomplete too. It becomes a key when the next key arrives: there is no timeout.
    """
    unfinished = UNFINISHED.search(pressed)
    rest = unfinished[0] if unfinished else ""
    sent = KEY_PATTERN.findall(pressed.removesuffix(rest))
    return [KEY_NAMES.get(each.lstrip("\x1b[O"), each) if len(each) > 1 else each for each in sent], rest
