"""A hint for a file that is not TOML but the configuration of another program."""

from __future__ import annotations

import re

__all__ = ["other_format"]

_FORMATS = (
    ("a configuration of HAProxy", r"global|defaults|(frontend|backend|listen)\s+\S+"),
    ("a configuration of nginx", r"[a-z_]+\s[^=]*;|(stream|http|events|upstream\s+\S+)\s*\{"),
    ("JSON", r"\{.*|\["),
    ("YAML", r"---|[\w-]+:(\s.*)?|-\s.*"),
)
"""The name of each format, and how its first line looks."""


def other_format(text: str) -> str:
    """Return the end of a message about a text that is not TOML: ``; this looks like YAML, …``; often nothing.

    The first line decides that is neither empty nor a comment.
    """
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    first = next(filter(None, lines), "")
    for name, pattern in _FORMATS:
        if re.fullmatch(pattern, first):
            return f"; this looks like {name}, but the configuration of lb is TOML, as in examples/"
    return ""
