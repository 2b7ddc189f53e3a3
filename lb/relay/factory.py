"""The choice of the splicer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from lb.net.descriptors import Descriptors
from lb.relay.portable_splicer import PortableSplicer
from lb.relay.splicer import Splicer

__all__ = ["has_fast_splicer", "make_splicer"]


def has_fast_splicer() -> bool:
    """Return True if :func:`make_splicer` returns the fast splicer."""
    return sys.platform == "linux" and os.environ.get("LB_SPLICER") != "portable"


def make_splicer(
    descriptors: Descriptors, fault: Callable[[str, Exception], None], *, dedicated: bool = False
) -> Splicer:
    """Return the fast splicer on Linux, the portable one on other systems.

    ``dedicated``: the process only balances, so its other tasks may wait a millisecond.
    ``LB_SPLICER=portable`` in the environment selects the portable one, for comparisons and tests.
    """
    if sys.platform == "linux" and has_fast_splicer():
        from lb.relay.epoll_loop import EpollLoop, TurnState  # noqa: PLC0415 - these exist on Linux only
        from lb.relay.epoll_splicer import EpollSplicer  # noqa: PLC0415
        from lb.relay.pipes import PipePool  # noqa: PLC0415

        turn = TurnState(PipePool(descriptors))
        return EpollSplicer(EpollLoop(turn=turn, fault=fault, dedicated=dedicated))
    return PortableSplicer(fault=fault)
