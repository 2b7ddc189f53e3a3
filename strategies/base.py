"""The base class of strategies. Built-in ones have one module each in this package; plug-ins subclass it as well."""

from __future__ import annotations

import abc
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import ClassVar, Self

import attrs

from lb.model import Server, ServerSpec
from lb.model.address import Client
from lb.model.decision import Decides, Factors

__all__ = ["Strategy", "View", "pick_without", "shares_by_weight"]


@attrs.frozen
class View:
    """The inputs of a strategy's next pick."""

    decides: Decides
    order: Sequence[tuple[Server, Factors]]
    """The members, with the figures of each. The strategy picks the first candidate among them, unless ``decides`` is
    ``chance`` or ``unknown``. The optional ``share`` is the part of new connections that a candidate gets, 0 to 1."""
    key: Mapping[str, str | int] = attrs.field(factory=dict)
    """The hash key of the client or of its request, and its position on the hash table."""


class Strategy(abc.ABC):
    """Chooses one of the available servers for a client.

    The constructor takes the options of the strategy's table in the configuration as keyword arguments and
    raises ValueError for an invalid one. The pool then calls :meth:`build` and :meth:`use` at start and at each change
    of the list, and updates ``available`` through :meth:`enable` and :meth:`disable`.
    """

    servers: tuple[Server, ...]
    """The members, in the order of the file: the configured servers with a weight above 0."""
    available: set[Server]
    """The members that may be chosen now. The pool updates it; do not change it."""
    paced: ClassVar[bool] = False
    """True if the strategy picks by load. Load is no measure while connections are few, so the pool makes a server in
    slow start (``slow_start``) unavailable once it has had its share of the picks."""
    uses_weights: ClassVar[bool] = True
    """False if all weights above 0 count the same. ``lb check`` then warns of weights that differ."""
    uses_shares: ClassVar[bool] = True
    """False if it ignores ``server.share``, so that slow start and the weights of agent checks have no effect."""
    random: ClassVar[bool] = False
    """True if picks are random: two objects with the same calls may choose differently."""
    reads_requests: bool = False
    """True if it chooses by what a request holds (:class:`lb.model.request.RequestClient`). Clients of mode ``tcp``
    have none: ``lb check`` then warns of a listener of that mode."""
    start: float = 0.0
    """For strategies that take turns: the position in the list where the turns begin, 0 to 1. Each worker begins at
    another one. Set before the first :meth:`use`."""

    def __new__(cls, *_args: object, **_options: object) -> Self:
        """Set the attributes. Not in ``__init__``, because a subclass may not call it."""
        strategy = super().__new__(cls)
        strategy.servers = ()
        strategy.available = set()
        return strategy

    @abc.abstractmethod
    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:
        """Choose one of ``available`` that is not in ``tried``, or None.

        Called once per connection, and again per retry; in mode ``http`` per request, and the client is a
        :class:`lb.model.request.RequestClient`.
        """

    def candidates(self, tried: Collection[Server]) -> Iterator[Server]:
        """Return the members that may be chosen for this pick, in the order of the file."""
        return (server for server in self.servers if server in self.available and server not in tried)

    def build(self, servers: Sequence[ServerSpec]) -> Generator[None, None, object]:  # noqa: ARG002 - for overrides
        """Do expensive computations for a new list, in slices; traffic continues at each ``yield``.

        The result is passed to :meth:`use`. Called before the list takes effect; must not change the strategy.
        Override it only for expensive computations.
        """
        return None
        yield

    def stand_in(self, servers: Sequence[ServerSpec]) -> Generator[None, None, object] | None:  # noqa: ARG002 - likewise
        """Return a quick build to begin with at a start, while :meth:`build` goes on beside the traffic.

        None if :meth:`build` is quick, below a second: the start then waits for it.
        """
        return None

    def use(self, servers: Sequence[Server], built: object) -> None:  # noqa: ARG002 - for overrides
        """Use a new list; ``servers`` correspond to the specs that ``built`` was computed from.

        Also called at a reload: keep the state of servers that stay, such as turns or credits. ``available`` keeps the
        servers that stay; the pool enables the others.
        """
        self.servers = tuple(servers)
        self.available.intersection_update(self.servers)

    def enable(self, server: Server) -> None:
        """Make a member available."""
        self.available.add(server)

    def disable(self, server: Server) -> None:
        """Make a member unavailable: it is down, ejected, draining or full."""
        self.available.discard(server)

    def load_changed(self, server: Server) -> None:  # noqa: B027 - most strategies do not need it
        """React to a change of ``server.active``. For strategies that keep servers sorted by load.

        The server may have left the list already: its connections remain open.
        """

    def share_changed(self, server: Server) -> None:  # noqa: B027 - most strategies do not need it
        """React to a change of a member's ``server.share``. For strategies that cache values derived from weights."""

    def explain(self, client: Client, candidates: AbstractSet[Server]) -> View:  # noqa: ARG002 - for overrides
        """Return the inputs of a pick for this client among ``candidates``.

        For operators: it must not change later picks. It may be slow, as it is only called for connections to explain.
        """
        return View("unknown", [(server, {}) for server in self.servers])

    def expected_shares(self, candidates: AbstractSet[Server]) -> Mapping[Server, float]:  # noqa: ARG002 - for overrides
        """Return the part of the new connections that each candidate gets in the long run, 0 to 1, if all last alike.

        Empty if it is not known.
        """
        return {}


def pick_without(strategy: Strategy, tried: Collection[Server], client: Client) -> Server | None:
    """Pick with the servers in ``tried`` out of the way, for a strategy that keeps its members in an order."""
    skipped = [server for server in dict.fromkeys(tried) if server in strategy.available]
    for server in skipped:
        strategy.disable(server)
    chosen = strategy.pick(client, ())
    for server in skipped:
        strategy.enable(server)
    return chosen


def shares_by_weight(servers: Collection[Server]) -> dict[Server, float]:
    """Return each server's part of the sum of their effective weights."""
    weights = {server: server.weight * server.share for server in servers}
    total = sum(weights.values())
    return {server: weight / total for server, weight in weights.items()}
