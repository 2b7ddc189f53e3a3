"""Keys that name another table: ``auth`` names users, ``cache`` a zone."""

from __future__ import annotations

from lb.model import RouteCache, UsersSpec
from lb.model.modes import References
from lb.model.suggestion import did_you_mean
from lb.model.table import Table
from lb.model.values import shown, text

__all__ = ["auth_of", "cache_of"]


def auth_of(table: Table, references: References) -> UsersSpec | None:
    """Read ``auth``, the name of users; None if it is absent or names none."""
    users = table.value("auth", text)
    if users is None or users in references.users:
        return None if users is None else references.users[users]
    hint = did_you_mean(users, references.users)
    table.complain(f"there are no users {shown(users)}{hint or f', as in [users.{users}]'}", table.at("auth"))
    return None


def cache_of(table: Table, references: References) -> RouteCache | None:
    """Read the table ``cache``; None if it is absent, empty or has no valid zone."""
    if not (table.has("cache") and table.content["cache"]):
        return None  # an empty table is no cache
    from lb.http.cache_settings import read_route_cache  # noqa: PLC0415 - a process without caches loads none of it

    return read_route_cache(table.table("cache"), references)
