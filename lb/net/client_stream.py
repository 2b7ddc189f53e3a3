"""Connections of the balancer's own, as streams of trio: to the first address that accepts, with TLS or without."""

from __future__ import annotations

import errno
import math
import ssl

import trio

from lb.model.address import SocketAddress
from lb.net.tcp import is_self_connected

__all__ = ["agree_on_tls", "connect_to_first", "error_behind"]

NEXT_ADDRESS = 1.0
"""Seconds of a connect to an address that is not the last."""


async def connect_to_first(targets: tuple[SocketAddress, ...]) -> trio.SocketStream:
    """Connect to the first address that accepts, in the time that the caller gives. Raises OSError if none does."""
    failure = OSError(errno.EHOSTUNREACH, "no address")
    for number, (family, target) in enumerate(targets, 1):
        sock = trio.socket.socket(family)
        try:
            with trio.fail_after(NEXT_ADDRESS if number < len(targets) else math.inf):
                await sock.connect(target)
            if not is_self_connected(sock, target):
                return trio.SocketStream(sock)
            sock.close()
            failure = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        except trio.TooSlowError:
            sock.close()
            failure = TimeoutError(errno.ETIMEDOUT, "timed out")
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


async def agree_on_tls(
    plain: trio.SocketStream, context: ssl.SSLContext, host: str
) -> trio.SSLStream[trio.SocketStream]:
    """Agree on TLS with a server of this name. Raises OSError; then, as if cancelled, the connection is closed."""
    stream = trio.SSLStream(plain, context, server_hostname=host, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException as error:
        plain.socket.close()
        if isinstance(error, trio.BrokenResourceError):
            raise error_behind(error) from error
        raise
    return stream


def error_behind(error: trio.BrokenResourceError) -> OSError:
    """Return the error of the socket or of TLS behind trio's."""
    cause = error.__cause__
    return cause if isinstance(cause, OSError) else ConnectionResetError(errno.ECONNRESET, "connection reset")
