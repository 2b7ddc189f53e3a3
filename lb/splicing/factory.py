"""Which splicer runs here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from lb.splicing.descriptors import Descriptors
from lb.splicing.splicer import Splicer
from lb.splicing.trio_splicer import TrioSplicer

__all__ = ["make_splicer"]


def make_splicer(
    descriptors: Descriptors, fault: Callable[[str, Exception], None], *, dedicated: bool = False
) -> Splicer:
    """The fast splicer where the system has what it takes, else the portable one.

    ``dedicated``: the process does nothing but to balance, so its other tasks may wait a millisecond.
    ``LB_SPLICER=portable`` in the environment asks for the portable one: to compare, and for the tests.
    """
    if sys.platform == "linux" and os.environ.get("LB_SPLICER") != "portable":
        from lb.splicing.epoll_relay import RelayContext  # noqa: PLC0415 - these exist on Linux only
        from lb.splicing.epoll_splicer import EpollSplicer  # noqa: PLC0415
        from lb.splicing.pipes import PipePool  # noqa: PLC0415

        return EpollSplicer(relays=RelayContext(PipePool(descriptors)), fault=fault, dedicated=dedicated)
    return TrioSplicer(fault=fault)
