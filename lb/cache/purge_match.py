"""Which stored responses a purge means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

from lb.cache.cache_key import KeyTemplate
from lb.model.purge import Purge, purged_url

__all__ = ["MARK_TAG", "PurgeMatch", "purge_match"]

PurgeMatch: TypeAlias = Callable[[bytes, tuple[bytes, ...]], bool]
"""Whether what has this key and these tags is purged."""

MARK_TAG = b"\n"
"""The tag of what is stored of a key and is no response. No server can send it."""


def purge_match(what: Purge, templates: Iterable[KeyTemplate]) -> PurgeMatch:
    """Return what tells whether a response is purged. ``templates``: those that keys are made by."""
    wanted = frozenset(what.texts)
    if what.kind == "key":
        return lambda key, tags: key in wanted and MARK_TAG not in tags
    if what.kind == "tag":
        return lambda _key, tags: not wanted.isdisjoint(tags)
    urls = [purged_url(text) for text in what.texts]
    patterns = {template.pattern(url, is_prefix=what.kind == "prefix") for template in templates for url in urls}
    fits = re.compile(b"|".join(sorted(patterns))).fullmatch
    return lambda key, tags: fits(key) is not None and MARK_TAG not in tags
