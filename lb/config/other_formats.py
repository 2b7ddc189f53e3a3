"""A hint for a file that is not TOML but the configuration of another program."""

from __future__ import annotations

import re

__all__ = ["other_format"]

_FORMATS = (
    ("a configuration of HAProxy", r"global|defaults|(frontend|backend|listen)\s+\S+"),
    ("a configuration of nginx", r"[a-z_]+\s[^=]*;|(stream|http|events|upstream\s+\S+)\s*\{"),
    ("a configuration of Squid", r"(acl|http_port|http_access|cache_dir|cache_peer|visible_hostname)\s+\S.*"),
    ("JSON", r"\{.*|\["),
    ("YAML", r"---|[\w-]+:(\s.*)?|-\s.*"),
)
"""The name of each format, and how its first line looks."""
_MIGRATED = "a configuration of "
"""How the names of those begin that ``lb migrate`` reads."""


def other_format(text: str) -> str:
    """Return the end of a message about a text that is not TOML: ``; this looks like YAML, …``; often nothing.

    The first line decides that is neither empty nor a comment.
    """
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    first = next(filter(None, lines), "")
    for name, pattern in _FORMATS:
        if re.fullmatch(pattern, first):
            hint = "lb migrate translates it" if name.startswith(_MIGRATED) else "as in examples/"
            return f"; this looks like {name}, but the configuration of lb is TOML: {hint}"
    return ""
