"""URLs that are asked or told something: hooks."""

from __future__ import annotations

from urllib.parse import urlsplit

from lb.model.address import Address
from lb.model.shape import shaped

__all__ = ["hook_url"]


@shaped({"type": "string", "pattern": '^(?:https?://[!"$-~]+)?$'})
def hook_url(value: object) -> str:
    """Read a URL of http or https; "" is none. Raises ValueError, whose text does not show it: it may hold a login."""
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004 - as all readers of values
    if not value:
        return ""
    good = value.isascii() and value.isprintable() and " " not in value
    if good:
        try:
            url = urlsplit(value)
            host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
            good = url.scheme in ("http", "https") and bool(host) and "#" not in value and url.port != 0
            Address.parse(f"{host}:{url.port or 80}")
        except ValueError:
            good = False
    if not good:
        raise ValueError("must be a URL like 'http://127.0.0.1:9091/publish'")
    return value
