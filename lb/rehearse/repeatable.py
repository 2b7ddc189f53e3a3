"""Makes a process do the same things in the same order each time."""

from __future__ import annotations

import random
from typing import Any

import trio._core._run  # for what has no public name

__all__ = ["make_repeatable"]


def make_repeatable(seed: int) -> None:
    """From here on, for all that draws from Python's own source of randomness, and for trio.

    trio lets tasks that can go on at the same moment do so in random order, lest programs rely on one. It has a switch
    for Hypothesis, which repeats tests: since 0.14, and without a public name.
    """
    random.seed(seed)
    run: Any = trio._core._run  # noqa: SLF001 - see above
    run._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001 - the same
    run._r.seed(seed)  # noqa: SLF001 - the same
