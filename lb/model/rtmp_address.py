"""Where streams are pushed to and pulled from: ``rtmp://host/app/name``."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

import attrs

from lb.model.address import Address

__all__ = ["RtmpAddress", "read_rtmp_address", "rtmp_template"]

_PORTS = {"rtmp": 1935, "rtmps": 443}
_VARIABLE = re.compile(r"\{(\w*)\}?|\}")


@attrs.frozen
class RtmpAddress:
    """``name`` may have arguments behind it, a key among them; with some services the name itself is the key.

    So neither is ever shown. As configured, ``app`` and ``name`` may hold ``{app}`` and ``{name}``.
    """

    tls: bool
    host: str
    port: int
    app: str
    name: str = attrs.field(repr=False)

    @property
    def app_url(self) -> str:
        """The URL without the stream's name, as ``connect`` wants it, and as it is shown."""
        scheme = "rtmps" if self.tls else "rtmp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[scheme] else f":{self.port}"
        return f"{scheme}://{host}{port}/{self.app}"

    @property
    def server(self) -> Address:
        return Address.of(self.host, self.port)

    def of_stream(self, app: str, name: str) -> RtmpAddress:
        """Return the address with the names of a stream in place of the variables."""

        def filled(text: str) -> str:
            return _VARIABLE.sub(lambda found: {"app": app, "name": name}[found[1]], text)

        return attrs.evolve(self, app=filled(self.app), name=filled(self.name))


def read_rtmp_address(text: str) -> RtmpAddress:
    """Read a URL: the last part of its path is the stream's name, what is before it the application.

    Raises ValueError, whose text tells nothing of the URL: it may hold a key.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("the URL has characters that need an escape, as in %20")
    url = urlsplit(text)
    port = _PORTS.get(url.scheme)
    if port is None:
        raise ValueError("the URL begins with neither rtmp:// nor rtmps://")
    app, _, name = url.path.strip("/").rpartition("/")
    if not url.hostname or not app or not name:
        raise ValueError("the URL is not rtmp://host/app/name")
    if url.username is not None:
        raise ValueError("the URL has a user in it, which RTMP does not know")
    if "#" in text:
        raise ValueError("the URL has a '#' in it, behind which nothing is sent: write %23")
    arguments = f"?{url.query}" if url.query else ""
    address = RtmpAddress(url.scheme == "rtmps", url.hostname, _port(url) or port, app, name + arguments)
    try:
        Address.parse(address.server.text)
    except ValueError:
        raise ValueError("the host of the URL is not a name or an address") from None
    return address


def rtmp_template(text: str) -> RtmpAddress:
    """Read a URL in which ``{app}`` and ``{name}`` stand for those of a stream. Raises ValueError likewise."""
    for found in _VARIABLE.finditer(text):
        if found[0] not in ("{app}", "{name}"):
            raise ValueError("the URL has a brace that is not of {app} or {name}")
    return read_rtmp_address(text)


def _port(url: SplitResult) -> int | None:
    try:
        port = url.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the port of the URL is not a number from 1 to 65535")
    return port
