"""The configurations in ``examples/`` for tests: the same but for addresses, ports and intervals."""

from __future__ import annotations

from tests.support.balancer import QUICK_CHECKS, with_workers
from tests.support.paths import EXAMPLES

__all__ = ["adapted"]


def adapted(name, *changes):
    """Return an example with these texts replaced, each of which must be in it. Its hosts become 127.0.0.11, .12, …"""
    text = (EXAMPLES / f"{name}.toml").read_text()
    for old, new in (("10.0.0.", "127.0.0."), *changes):
        assert old in text, old
        text = text.replace(old, new)
    return with_workers(text)


def quick(interval):
    """Return the change of a check's interval that lets a test proceed at once."""
    return f'interval = "{interval}"', QUICK_CHECKS
