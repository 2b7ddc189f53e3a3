"""The signals that the balancer handles. They are blocked until something handles them, so an early one waits.

This module is imported before all others and imports nearly nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["SIGNALS", "STOP_SIGNALS", "block_signals", "hold_signals", "signals_unblocked", "unblock_signals"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SIGNALS = (signal.SIGHUP, signal.SIGUSR2, *STOP_SIGNALS)
"""Signals that the supervisor handles, for all processes. The others ignore them, as they may go to the whole group."""


def block_signals() -> None:
    """Block them in this thread, and in threads and processes that it starts from now on: they wait in the kernel."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def signals_unblocked() -> Iterator[None]:
    """Unblock them during the block, whose handlers also get those that came before it."""
    unblock_signals()
    try:
        yield
    finally:
        block_signals()


def hold_signals() -> None:
    """Block them, and let them do nothing where they are not blocked: in another thread, as this process ends."""
    block_signals()
    for number in SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
