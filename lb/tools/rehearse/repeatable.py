"""Makes a process deterministic."""

from __future__ import annotations

import random
from typing import Any

import trio._core._run  # has no public name

__all__ = ["make_repeatable"]


def make_repeatable(seed: int) -> None:
    """Make Python's ``random`` module and trio's scheduling deterministic from now on.

    trio runs tasks that are runnable at the same time in random order, so that programs do not depend on one. Since
    0.14 it has a switch for Hypothesis, which repeats tests. The switch has no public name.
    """
    random.seed(seed)
    run: Any = trio._core._run  # noqa: SLF001 - see above
    run._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001 - the same
    run._r.seed(seed)  # noqa: SLF001 - the same
