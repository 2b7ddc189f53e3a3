"""Regular expressions about hosts and paths that stand for a few names or prefixes. Pure."""

from __future__ import annotations

import re

__all__ = ["hosts_of_regex", "paths_of_pattern", "prefix_change"]

_NAME = r"(?:[a-z0-9-]|\\?\.)+"
_ANY_LABEL = r"(?:\.\*|\.\+|\[[^\]]+\][*+]|\(\.[*+]\)|\(\[[^\]]+\][*+]\))"
_PATH = r"/[\w./~%-]*"


def hosts_of_regex(text: str) -> tuple[str, ...] | None:
    """Return the hosts and wildcards that a regular expression means; None if that is not clear."""
    text = text.lower()
    if match := re.fullmatch(rf"\^?\(([a-z0-9-]+)(\\?\.)\)\?({_NAME})\$", text):
        name = _plain(match[3])
        return (name, f"{match[1]}.{name}")
    if match := re.fullmatch(rf"(?:\^?{_ANY_LABEL})?\\\.({_NAME})\$", text):
        return (f"*.{_plain(match[1])}",)
    if match := re.fullmatch(rf"\^({_NAME})\$", text):
        return (_plain(match[1]),)
    return None


def paths_of_pattern(text: str) -> tuple[str, ...] | None:
    """Return the prefixes, or the paths with ``=``, that a regular expression means; None if that is not clear."""
    if match := re.fullmatch(
        rf"\^({_PATH}?)\(([\w./|-]+)\)(/?)(?:\.\*)?", text.replace("\\.", ".").replace("(?:", "(")
    ):
        return tuple(f"{match[1]}{each}{match[3]}" for each in match[2].split("|"))
    plain = text.replace("\\.", ".").replace("\\/", "/")
    if match := re.fullmatch(rf"\^({_PATH})(\$?)(?:\.\*\$?)?", plain):
        return (f"={match[1]}" if match[2] else match[1],)
    if match := re.fullmatch(rf"\^({_PATH})(?:\(/\|\$\)|\(/\.\*\)\?\$?)", plain):
        return (match[1],)
    return None


def _plain(text: str) -> str:
    return text.replace("\\", "")


def prefix_change(pattern: str, replacement: str) -> tuple[str, str] | None:
    """Return the prefix that a regular expression takes off a path, and the one that it puts there; None if it does
    something else."""
    plain = pattern.replace("\\/", "/").replace("[/]", "/").removesuffix("$")
    match = re.fullmatch(rf"\^?({_PATH}?)/?(?:\(/\|\$\)|\(/\)\?|/\?)?(?:\(/?\.\*\)\??)?", plain)
    new = re.fullmatch(rf"({_PATH}?|)/?(?:(?:\\|\$\{{?)[0-9]\}}?)*/?", replacement)
    if match is None or new is None or not match[1].strip("/"):
        return None
    return match[1].rstrip("/"), new[1].rstrip("/")
