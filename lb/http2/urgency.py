"""The urgency of a response (RFC 9218)."""

from __future__ import annotations

import re

__all__ = ["DEFAULT_URGENCY", "read_urgency"]

DEFAULT_URGENCY = 3
"""RFC 9218, section 4.1: 0 is the most urgent, 7 the least."""
_URGENCY = re.compile(rb"(?:^|,)[ \t]*u=([0-7])[ \t]*(?=[,;]|$)")


def read_urgency(value: bytes) -> int:
    """Return the urgency that a field ``priority`` says. ``incremental`` is not heeded: equal ones take turns.

    What is not valid has no meaning: RFC 9218, section 4. Of several, the last one counts (RFC 9651, section 3.2).
    """
    found = _URGENCY.findall(value)
    return int(found[-1]) if found else DEFAULT_URGENCY
