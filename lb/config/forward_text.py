"""Human-readable text of the keys of mode ``forward``."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from lb.config.route_text import ANY, KeyValues, cache_defaults, cache_values, differences
from lb.model import ForwardSettings

__all__ = ["forward_differences", "forward_values"]


def forward_values(settings: ForwardSettings) -> KeyValues:
    """Return the keys that differ from the default, with their values, as in the file."""
    values: KeyValues = {}
    for field in attrs.fields(ForwardSettings):
        value = getattr(settings, field.name)
        if value != field.default and field.name not in ("auth", "cache"):
            values[field.name] = ANY if value is None else value
    if settings.auth is not None:
        values["auth"] = settings.auth.name
    return values | ({} if settings.cache is None else cache_values(settings.cache))


def forward_differences(old: ForwardSettings, new: ForwardSettings) -> Iterator[tuple[str, object, object]]:
    """Yield the keys whose values differ, with both values. None if only the users or the zone changed."""
    defaults: KeyValues = {field.name: field.default for field in attrs.fields(ForwardSettings)} | {"allow_to": ANY}
    if old.cache is not None and new.cache is not None:
        defaults |= cache_defaults()
    return differences(forward_values(old), forward_values(new), defaults)
