"""The base class of running listener modes: ``mode = "tcp"`` and others."""

from __future__ import annotations

import abc
import socket
from collections.abc import Callable, Mapping, Sequence

from lb.model import ListenerSpec
from lb.model.address import Client
from lb.model.modes import ModeBase, load
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext
from lb.proxy.downstream import Downstream
from lb.proxy.filters import Filter

__all__ = ["Mode", "make_mode"]


class Mode(ModeBase):
    """The handling of one listener's clients. Base class of all modes.

    ``context`` is shared by all connections of the process. The mode must call ``closed()`` when an accepted connection
    has ended.
    """

    accepted: Callable[[socket.SocketType, Client], Downstream]
    """Makes the downstream of an accepted client, which the listener's filters start or let in.

    ``configure`` sets it.
    """

    @abc.abstractmethod
    def __init__(self, context: ConnectionContext, closed: Callable[[], None]) -> None: ...

    @abc.abstractmethod
    def configure(self, spec: ListenerSpec, pools: Mapping[str, Pool]) -> None:
        """Apply new settings to new connections. ``pools`` contains the pools that the settings name."""

    def drain(self) -> None:
        """The listener accepts no more clients: end those without work to finish now, and the others after it."""

    def filters(self, spec: ListenerSpec) -> Sequence[Filter]:  # noqa: ARG002 - subclasses use it
        """Return the mode's own listener filters. Clients pass them after the listener's filters."""
        return ()


def make_mode(name: str, context: ConnectionContext, closed: Callable[[], None]) -> Mode:
    """Make the mode with this name for one listener. Raises ValueError if the name is not a mode."""
    mode = load(name)
    if not issubclass(mode, Mode):
        raise ValueError(f"mode {name!r}: {mode.__name__} is not a subclass of lb.proxy.mode.Mode")  # noqa: TRY004
    return mode(context, closed)
