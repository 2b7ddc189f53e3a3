"""What a request for the overview asks for: :class:`OverviewQuery`."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from lb.admin.messages import HttpError, check_parameters
from lb.model.values import shown

__all__ = ["OverviewQuery"]

PARAMETERS = {"pool", "search", "trouble", "sort", "page"}
SORTS = {
    "state", "name", "servers", "available", "active", "total", "rate", "failed", "weight", "change",
}  # fmt: skip
MAX_SEARCH = 200
"""Maximum characters of a search."""
MAX_PAGE = 1_000_000


@attrs.frozen
class OverviewQuery:
    """What is wanted of the overview."""

    pool: str | None = None
    """This pool alone, with its servers."""
    words: tuple[str, ...] = ()
    """In lower case; each must be in what is found."""
    trouble: bool = False
    """Only what is not well."""
    sort: str = ""
    """What to sort by; empty = the list's own order."""
    descending: bool = False
    page: int = 1

    @classmethod
    def parse(cls, query: Mapping[str, list[str]]) -> OverviewQuery:
        """Read the parameters of a request. Raises HttpError 400."""
        check_parameters(query, PARAMETERS)
        values = {key: each[-1] for key, each in query.items()}
        search, trouble, sort = (values.get(key, "") for key in ("search", "trouble", "sort"))
        if len(search) > MAX_SEARCH:
            raise HttpError(400, f"search may have {MAX_SEARCH} characters at most")
        if trouble not in ("", "0", "1"):
            raise HttpError(400, f"trouble must be 0 or 1, not {shown(trouble)}")
        key = sort.removeprefix("-")
        if sort and key not in SORTS:
            raise HttpError(400, f"sort must be one of {', '.join(sorted(SORTS))}, with or without a - before it")
        page = _page(values.get("page", "1"))
        return cls(values.get("pool"), tuple(search.lower().split()), trouble == "1", key, sort.startswith("-"), page)


def _page(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 8 and 0 < int(text) <= MAX_PAGE):
        raise HttpError(400, f"page must be a whole number from 1 on, not {shown(text)}")
    return int(text)
