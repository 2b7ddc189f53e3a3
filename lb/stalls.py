"""What the interpreter does by itself that would make all traffic wait, and how it is kept short."""

from __future__ import annotations

import gc
import sys

__all__ = ["keep_garbage_collection_short", "keep_threads_short"]

SWITCH_INTERVAL = 0.0005
"""Seconds that a thread beside the traffic may compute before the traffic gets the interpreter back.

Each system call of the traffic gives it away, and a request makes four: with Python's 5 ms a request that met a
configuration being read took 20 ms, with this it takes 2.
"""


def keep_threads_short() -> None:
    """Before threads run beside the traffic, which read configurations and look up names."""
    sys.setswitchinterval(SWITCH_INTERVAL)


def keep_garbage_collection_short() -> None:
    """Once the first configuration is in use: what is there now is there to stay, so look at it no more.

    A full collection looks at all that may hold others: 25 ms with what a start loads and 1,000 servers. Servers and
    configurations that a reload replaces hold no circles, so they are freed as before.
    """
    gc.freeze()
