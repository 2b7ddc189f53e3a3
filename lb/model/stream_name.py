"""What live streams may be called. Names become parts of URLs and of files' names: nothing there has a meaning."""

from __future__ import annotations

import re

__all__ = ["STREAM_NAME_RULE", "is_stream_name"]

_NAME = re.compile(r"[\w@:=+,~-][\w@:=+,~.-]{0,127}", re.ASCII)
STREAM_NAME_RULE = "up to 128 ASCII letters, digits and _ @ : = + , ~ - . and no '.' at its begin"
"""The rule in words, for messages."""


def is_stream_name(name: str) -> bool:
    """Return whether a stream may have this name."""
    return _NAME.fullmatch(name) is not None
