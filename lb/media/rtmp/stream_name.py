"""What a client names when it asks for a stream: ``show?key=secret`` of the application ``live``."""

from __future__ import annotations

from urllib.parse import parse_qs

import attrs

from lb.media.rtmp.errors import ProtocolError
from lb.model.stream_name import STREAM_NAME_RULE, is_stream_name

__all__ = ["StreamName", "read_application", "read_stream_name"]

_MAX_ARGUMENTS = 32
_MAX_APPLICATION = 128


@attrs.frozen
class StreamName:
    """``key``: the argument of that name behind the stream's name, else behind the application's; "" without one."""

    app: str
    name: str
    key: str = attrs.field(repr=False)


def read_application(given: str) -> str:
    """Return the application without arguments and slashes around it."""
    return given.partition("?")[0].strip("/")


def read_stream_name(given_app: str, given_name: str) -> StreamName:
    """Read what stands in ``connect`` and in ``publish`` or ``play``. Raises ProtocolError."""
    name, _, arguments = given_name.partition("?")
    name = name.strip("/")
    if not is_stream_name(name):
        raise ProtocolError(f"a stream's name has {STREAM_NAME_RULE}")
    key = _key(arguments) or _key(given_app.partition("?")[2])
    app = read_application(given_app)
    if len(app) > _MAX_APPLICATION:
        raise ProtocolError(f"an application's name is longer than {_MAX_APPLICATION} characters", "limit")
    return StreamName(app, name, key)


def _key(arguments: str) -> str:
    try:
        return parse_qs(arguments, max_num_fields=_MAX_ARGUMENTS).get("key", [""])[0]
    except ValueError:
        raise ProtocolError(f"a stream's name has more than {_MAX_ARGUMENTS} arguments", "limit") from None
