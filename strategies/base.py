"""What a strategy is. Built-ins live one a file beside this one; a user's own subclasses :class:`Strategy` too."""

from __future__ import annotations

import abc
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import ClassVar, Self

import attrs

from lb.address import Client
from lb.explain.decision import Decides, Figures
from lb.model import Server, ServerSpec

__all__ = ["Strategy", "View"]


@attrs.frozen
class View:
    """What a strategy would go by if it picked now."""

    decides: Decides
    order: Sequence[tuple[Server, Figures]]
    """The members, with what is seen of each. Unless chance decides, or nobody knows what, the first of them that is a
    candidate is the one to be chosen. ``share``, if given, is the part of new connections that a candidate gets."""
    key: Mapping[str, str | int] = attrs.field(factory=dict)
    """What of the client is hashed, and where that is."""


class Strategy(abc.ABC):
    """Answers one question: of the servers available now, which one for this client, and which next.

    The constructor takes the options of the strategy's table in the configuration as keyword arguments and
    raises ValueError for a bad one. The pool then calls :meth:`build` and :meth:`use` at start and at each change
    of the list, and keeps ``available`` right through :meth:`enable` and :meth:`disable`.
    """

    servers: tuple[Server, ...]
    """The members, in the order of the file: configured, of weight above 0."""
    available: set[Server]
    """The members that may be chosen now. Kept by the pool: read it, do not change it."""
    paced: ClassVar[bool] = False
    """True if it goes by load: that says nothing while connections are few, so a server that ramps up (``slow_start``)
    is held back from it, that is, not available, once it has had its part of the picks."""
    random: ClassVar[bool] = False
    """True if chance plays a part: two objects that are told and asked the same may choose otherwise."""
    start: float = 0.0
    """How far into the list to begin, as a part of it, where the order is a matter of turns: of several processes that
    share the traffic each begins somewhere else. Set before the first :meth:`use`."""

    def __new__(cls, *_args: object, **_options: object) -> Self:
        """Here rather than in ``__init__``, which a subclass may forget to call."""
        strategy = super().__new__(cls)
        strategy.servers = ()
        strategy.available = set()
        return strategy

    @abc.abstractmethod
    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:
        """Choose one of ``available`` that is not in ``tried``, or None.

        Called once per connection, and again per retry.
        """

    def candidates(self, tried: Collection[Server]) -> Iterator[Server]:
        """The members that may be chosen for this pick, in the order of the file."""
        return (server for server in self.servers if server in self.available and server not in tried)

    def build(self, servers: Sequence[ServerSpec]) -> Generator[None, None, object]:  # noqa: ARG002 - for overrides
        """Compute what takes long, in slices: each ``yield`` lets traffic go on. The result goes to :meth:`use`.

        Called before the list takes effect, and must not change the strategy. Needs no override where nothing takes
        long.
        """
        return None
        yield

    def use(self, servers: Sequence[Server], built: object) -> None:  # noqa: ARG002 - for overrides
        """Take this list from now on; ``servers`` pair up with the specs that ``built`` was made from.

        Called after a reload as well: what can be kept (turns, credits) should be, by server. ``available`` keeps the
        servers that stay; the pool enables the others.
        """
        self.servers = tuple(servers)
        self.available.intersection_update(self.servers)

    def enable(self, server: Server) -> None:
        """This member may be chosen from now on."""
        self.available.add(server)

    def disable(self, server: Server) -> None:
        """This member may not be chosen: down, ejected, draining or full."""
        self.available.discard(server)

    def load_changed(self, server: Server) -> None:  # noqa: B027 - most strategies need not know
        """``server.active`` has changed. For strategies that keep servers sorted by load.

        The server may have left the list already: its connections live on.
        """

    def share_changed(self, server: Server) -> None:  # noqa: B027 - most strategies need not know
        """``server.share`` of this member has changed. For strategies that keep what they made of its weight."""

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - for overrides
        """What a pick for this client would go by, if it had to choose one of these members.

        For operators: it must not change what is picked later, may take long, and is never asked on the way of a
        connection that nobody wants explained.
        """
        return View("unknown", [(server, {}) for server in self.servers])
