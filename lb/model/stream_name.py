"""What live streams may be called. Names become parts of URLs and of files' names: nothing there has a meaning."""

from __future__ import annotations

import re

__all__ = ["STREAM_NAME_PATTERN", "STREAM_NAME_RULE", "is_stream_name"]

STREAM_NAME_PATTERN = "[0-9A-Z_a-z@:=+,~-][0-9A-Z_a-z@:=+,~.-]{0,127}"
STREAM_NAME_RULE = "up to 128 ASCII letters, digits and _ @ : = + , ~ - . and no '.' at its begin"
"""The rule in words, for messages."""


def is_stream_name(name: str) -> bool:
    """Return whether a stream may have this name."""
    return re.fullmatch(STREAM_NAME_PATTERN, name) is not None
