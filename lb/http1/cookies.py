"""The Cookie field of a request (RFC 6265, section 4.2)."""

from __future__ import annotations

__all__ = ["cookie_value"]


def cookie_value(cookies: bytes, name: bytes) -> bytes | None:
    """Return the value of the first cookie of this name in the value of a Cookie field; None if there is none.

    Names differ by case. Quotes are a part of the value, as for browsers. Searches instead of splitting, as there may
    be many cookies and one is wanted.
    """
    sought = name + b"="
    at = cookies.find(sought)
    while at >= 0:
        before = cookies[:at].rstrip(b" \t")
        if not before or before.endswith(b";"):
            return cookies[at + len(sought) :].partition(b";")[0].strip(b" \t")
        at = cookies.find(sought, at + 1)
    return None
