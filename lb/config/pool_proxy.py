"""Read ``[pools.NAME.proxy]``: the login at the servers of a pool that are proxies."""

from __future__ import annotations

from pathlib import Path

from lb.config.secret_file import secret_in_file
from lb.model import ProxyLogin, Secret
from lb.model.shape import given, other_than, shape_of, shaped, table_of, when
from lb.model.table import Table
from lb.model.values import shown, text

__all__ = ["PROXY_TABLE", "read_proxy_login"]

_LONGEST_USER = 255


def read_proxy_login(pool: Table, directory: Path) -> ProxyLogin | None:
    """Read ``proxy``; None if it has neither user nor password. Paths are relative to ``directory``."""
    table = pool.table("proxy")
    user = table.value("user", _user)
    given = [key for key in ("user", "password_file") if table.content.get(key, "") != ""]
    password = table.value("password_file", secret_in_file(directory)) if "password_file" in given else None
    table.known.add("password_file")
    table.finish()
    if len(given) == 1:
        missing = "password_file" if given == ["user"] else "user"
        table.complain(f"missing, {given[0]!r} has no effect without it", table.at(missing))
    return ProxyLogin(user, Secret(password)) if user and password else None


@shaped({"type": "string", "pattern": r"^[^:\x00-\x1f\x7f]*$", "maxLength": _LONGEST_USER})
def _user(value: object) -> str:
    """Read a user name of Basic authentication: RFC 7617, section 2."""
    user = text(value)
    if ":" in user or len(user) > _LONGEST_USER or not (user.isprintable() or not user):
        raise ValueError(f"must have at most {_LONGEST_USER} printable characters without ':', not {shown(user)}")
    return user


PROXY_TABLE = table_of(
    {"user": _user, "password_file": shape_of(text)},
    rules=[
        when(given(user=other_than("")), given(password_file=other_than(""))),
        when(given(password_file=other_than("")), given(user=other_than(""))),
    ],
)
