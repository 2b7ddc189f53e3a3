"""The listener modes by name: built in, installed (entry points ``lb.modes``) or ``module:Name``.

A mode is a subclass of :class:`lb.proxy.mode.Mode`. This module holds the part that the configuration needs.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from lb.model.address import Client
from lb.model.cache import CacheSpec
from lb.model.explained_request import AskedRequest, RoutedRequest
from lb.model.explained_target import AskedTarget, JudgedTarget
from lb.model.http import UsersSpec
from lb.model.listener import ListenerSpec, ModeSettings
from lb.model.media import MediaSpec
from lb.model.plugin import Registry
from lb.model.pool import PoolSpec
from lb.model.shape import Shape
from lb.model.suggestion import did_you_mean
from lb.model.table import Table
from lb.model.values import shown

__all__ = ["ModeBase", "References", "complain_of_no_pool", "load", "names"]


@attrs.frozen
class References:
    """What the keys of a listener may refer to."""

    pools: Mapping[str, PoolSpec]
    users: Mapping[str, UsersSpec]
    directory: Path
    """The directory of the configuration file. Relative paths start there."""
    caches: Mapping[str, CacheSpec] = attrs.field(factory=dict)
    media: MediaSpec = attrs.field(factory=MediaSpec)


def complain_of_no_pool(table: Table, key: str, given: str, pools: Iterable[str]) -> None:
    """Report that a key names a pool that is not there."""
    table.complain(f"there is no pool {shown(given)}{did_you_mean(given, pools)}", table.at(key))


class ModeBase(abc.ABC):
    """The part of a mode that the configuration needs."""

    alpn: tuple[str, ...] = ()
    """The protocols that listeners with TLS offer, unless their configuration says others."""

    @classmethod
    @abc.abstractmethod
    def read_settings(cls, listener: str, table: Table, references: References) -> ModeSettings:
        """Read the mode's own keys from the table ``[listeners.<listener>]``; report errors with ``table.complain``.

        The caller reads the keys that all listeners have; the table reports unknown keys.
        """

    @classmethod
    def table(cls) -> Shape | None:
        """Return the shape of a table with the mode's own keys, for ``lb schema``; None for any keys."""
        return None

    @classmethod
    def explain_request(
        cls,
        listener: ListenerSpec,
        peer: Client,  # noqa: ARG003 - subclasses use it
        asked: AskedRequest,  # noqa: ARG003
        pools: Mapping[str, PoolSpec],  # noqa: ARG003
        secret: bytes | None,  # noqa: ARG003
    ) -> RoutedRequest:
        """Return what a listener of this mode would do with a request of a peer, for ``lb explain``.

        ``secret`` is the balancer's, for what clients bring back; None if it is not known.

        Raises ValueError if it is no request, and LookupError if the mode knows no requests.
        """
        raise LookupError(f"the listener {listener.name!r} has mode {listener.mode!r}, which reads no requests")

    @classmethod
    async def explain_target(cls, listener: ListenerSpec, asked: AskedTarget) -> JudgedTarget:  # noqa: ARG003 - the same
        """Return whether a client of a listener of this mode reaches a target that it names, for ``lb explain``.

        Raises ValueError if it is no target, and LookupError if the clients of the mode name none.
        """
        raise LookupError(f"the listener {listener.name!r} has mode {listener.mode!r}, whose clients name no targets")


_REGISTRY = Registry(
    kind="mode",
    base=ModeBase,  # type: ignore[type-abstract]  # any subclass of it
    group="lb.modes",
    built_in={
        "tcp": "lb.tcp.mode:TcpMode",
        "http": "lb.http.mode:HttpMode",
        "forward": "lb.forward.mode:ForwardMode",
        "rtmp": "lb.tcp.rtmp_mode:RtmpMode",
    },
)

load = _REGISTRY.load
names = _REGISTRY.names
