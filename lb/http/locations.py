"""The location of a redirect, with the variables of a request. Pure."""

from __future__ import annotations

import re

from lb.http.templates import Template, TemplateValues

__all__ = ["Location"]

_NOT_IN_URL = re.compile(rb"[^0-9A-Za-z\-._~:/?#\[\]@!$&'()*+,;=%]|%(?![0-9A-Fa-f]{2})")


class Location:
    """A URL or a path with variables: ``https://{host}{uri}``."""

    def __init__(self, text: str) -> None:
        self._template = Template(text)
        self._on_this_host = not text.startswith("//")

    def render(self, values: TemplateValues) -> bytes | None:
        """Return the location for a request; None if it needs the Host that an old client did not send."""
        if "host" in self._template.names and not values.host:
            return None
        location = _NOT_IN_URL.sub(_escape, self._template.render(values))
        if location.startswith(b"//") and self._on_this_host:
            location = b"/" + location.lstrip(b"/")  # what the path of a request says must not become a host
        return location


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
