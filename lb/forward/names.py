"""The addresses of host names that clients ask for: looked up once for all who ask, and kept as long as they are valid.

A name server that does not answer stalls only those who ask for its names: look-ups run side by side, and where there
are too many, the oldest gives way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol

import attrs
import trio

from lb.forward.both_families import FoundAddresses
from lb.model.address import IPAddress
from lb.net.errors import UnresolvedError, UnresolvedKind, describe_error
from lb.net.resolver import LOOK_UP_TIMEOUT
from lb.net.shared_calls import SharedCalls
from lb.net.threads import Threads
from lb.proxy.context import ConnectionContext
from lb.relay.epoll_splicer import EpollSplicer

__all__ = ["NameAnswer", "NameLookUp", "NameSource", "Names", "name_source"]

SHORTEST_TTL, LONGEST_TTL = 1.0, 3600.0
"""Bounds of the seconds that addresses are kept."""
KEPT_FAILURES: dict[UnresolvedKind, float] = {"not_found": 10.0, "timeout": 1.0, "failed": 1.0}
"""Seconds that a failure is kept. A name server that fails may recover soon; many clients must not ask it each time."""
MOST_KEPT_NAMES = 10_000
"""Names that are kept. Those that nobody has asked for the longest are forgotten first."""
MOST_ADDRESSES = 32
"""Addresses of one name that are kept. A guess: nobody tries more before the time to connect is over."""
MOST_LOOK_UPS = 256
"""Look-ups at the same time."""
SOCKETS = 2
"""Sockets of a look-up: one for each family."""
GIVES_WAY = 1.0
"""Seconds after which a look-up gives way to a new one. A guess: nearly all names are answered sooner."""
TOO_MANY_LOOK_UPS = "too many look-ups"


@attrs.frozen(eq=False)
class NameAnswer:
    """What is known of a host name: addresses, or why there are none."""

    addresses: tuple[IPAddress, ...]
    """In the order of preference."""
    until: float
    """When it is no longer valid, by the clock of the process."""
    error: str = ""
    """For people: ``no such name``."""
    failure: Literal["", UnresolvedKind] = ""


class NameSource(Protocol):
    """Who knows addresses."""

    async def look_up(self, host: str, found: Callable[[FoundAddresses], None]) -> None:
        """Call ``found`` with the addresses, and again with all of them if more come later. Raises OSError if none do.

        An UnresolvedError tells which kind of failure it is.
        """


name_source: trio.lowlevel.RunVar[NameSource | None] = trio.lowlevel.RunVar("name_source", None)
"""Who is asked in place of the system. Tests and the demo set it."""


class NameLookUp:
    """One who waits for the addresses of a name."""

    __slots__ = ("_done",)

    def __init__(self, done: Callable[[NameAnswer], None]) -> None:
        self._done: Callable[[NameAnswer], None] | None = done

    def cancel(self) -> None:
        """Wait no longer: ``done`` is not called any more."""
        self._done = None

    def tell(self, answer: NameAnswer) -> None:
        """Hand over the answer."""
        done, self._done = self._done, None
        if done is not None:
            done(answer)


@attrs.define(eq=False)
class _UnderWay:
    """A look-up of a name."""

    host: str
    since: float
    scope: trio.CancelScope
    waiting: list[NameLookUp] = attrs.field(factory=list)
    answer: NameAnswer | None = None
    """The first answer: the addresses of one family, or all."""


class Names:
    """The host names that this process knows. All listeners share it: ``context.of_mode(Names)``."""

    def __init__(self, context: ConnectionContext) -> None:
        assert isinstance(context.splicer, EpollSplicer)  # noqa: S101 - the mode works on nothing else
        self._loop = context.splicer.loop
        self._clock = context.clock
        self._descriptors = context.descriptors
        self._answers: OrderedDict[str, NameAnswer] = OrderedDict()
        """By host. Those asked for lately come last."""
        self._unanswered: dict[str, _UnderWay] = {}
        """Look-ups without an answer yet, by host."""
        self._under_way: dict[_UnderWay, None] = {}
        """All look-ups, oldest first. Some have an answer, and wait for addresses of the other family."""
        self._source = name_source.get()
        self._loading: SharedCalls[None, NameSource] = SharedCalls()

    def prepare(self) -> None:
        """Load what look-ups need, so that the first one does not wait for it."""
        if self._source is None:
            self._loop.spawn(self._prepare)

    async def _prepare(self) -> None:
        try:
            await self._loaded()
        except Exception as exception:  # noqa: BLE001 - the first look-up tries again, and fails alone
            self._loop.fault("look-up of a name", exception)

    def known(self, host: str) -> NameAnswer | None:
        """Return what is known of a name, if it is still valid. A failure is known too.

        ``host`` is in lower case, without the final dot.
        """
        answer = self._answers.get(host)
        if answer is None or answer.until <= self._clock():
            return None
        self._answers.move_to_end(host)
        return answer

    def look_up(self, host: str, done: Callable[[NameAnswer], None]) -> NameLookUp:
        """Look a name up that is not :meth:`known`, and call ``done`` once, later."""
        look_up = NameLookUp(done)
        under_way = self._unanswered.get(host)
        if under_way is not None:
            under_way.waiting.append(look_up)
        elif self._make_room():
            self._begin(host, look_up)
        else:
            self._loop.spawn(partial(self._refuse, look_up))
        return look_up

    def _make_room(self) -> bool:
        """Return True if one more look-up may begin; the oldest ends for it if it has had its time."""
        if len(self._under_way) < MOST_LOOK_UPS and self._descriptors.has(SOCKETS):
            return True
        oldest = next(iter(self._under_way), None)
        if oldest is None or self._clock() - oldest.since < GIVES_WAY:
            return False
        self._end(oldest)
        oldest.scope.cancel()
        return True

    async def _refuse(self, look_up: NameLookUp) -> None:
        self._tell([look_up], NameAnswer((), self._clock(), TOO_MANY_LOOK_UPS, "failed"))

    def _begin(self, host: str, look_up: NameLookUp) -> None:
        now = self._clock()
        under_way = _UnderWay(host, now, trio.CancelScope(deadline=now + LOOK_UP_TIMEOUT), [look_up])
        self._unanswered[host] = under_way
        self._under_way[under_way] = None
        self._descriptors.take(SOCKETS)
        self._loop.spawn(partial(self._run, under_way))

    async def _run(self, under_way: _UnderWay) -> None:
        error: OSError = UnresolvedError("timeout", f"no answer in {LOOK_UP_TIMEOUT:g} s")
        with under_way.scope:
            try:
                source = self._source or await self._loaded()
                await source.look_up(under_way.host, partial(self._found, under_way))
            except OSError as raised:
                error = raised
            except Exception as exception:  # noqa: BLE001 - a library that fails on an answer must only fail this look-up
                self._loop.fault("look-up of a name", exception)
                error = UnresolvedError("failed", type(exception).__name__)
        gave_way = under_way not in self._under_way
        self._end(under_way)
        if under_way.answer is None:
            self._failed(under_way, error, gave_way=gave_way)

    async def _loaded(self) -> NameSource:
        """Return the source, loaded once whoever asks."""
        return await self._loading.run(None, self._load)

    async def _load(self) -> NameSource:
        if self._source is not None:
            return self._source

        def load() -> NameSource:
            from lb.forward.system_names import SystemNames  # noqa: PLC0415 - dnspython takes 60 ms, and more if busy

            return SystemNames()

        self._source = await Threads(1).run(load)
        return self._source

    def _end(self, under_way: _UnderWay) -> None:
        if under_way in self._under_way:
            del self._under_way[under_way]
            self._descriptors.give(SOCKETS)

    def _found(self, under_way: _UnderWay, found: FoundAddresses) -> None:
        ttl = min(max(found.ttl, SHORTEST_TTL), LONGEST_TTL)
        answer = NameAnswer(found.addresses[:MOST_ADDRESSES], self._clock() + ttl)
        if under_way.answer is None:
            self._keep(under_way.host, answer)
            self._answered(under_way, answer)
        elif self._answers.get(under_way.host) is under_way.answer:
            self._answers[under_way.host] = answer

    def _failed(self, under_way: _UnderWay, error: OSError, *, gave_way: bool) -> None:
        now = self._clock()
        if gave_way:
            answer = NameAnswer((), now, TOO_MANY_LOOK_UPS, "failed")
        else:
            failure: UnresolvedKind = error.kind if isinstance(error, UnresolvedError) else "failed"
            answer = NameAnswer((), now + KEPT_FAILURES[failure], describe_error(error), failure)
            self._keep(under_way.host, answer)
        self._answered(under_way, answer)

    def _keep(self, host: str, answer: NameAnswer) -> None:
        self._answers[host] = answer
        self._answers.move_to_end(host)
        if len(self._answers) > MOST_KEPT_NAMES:
            self._answers.popitem(last=False)

    def _answered(self, under_way: _UnderWay, answer: NameAnswer) -> None:
        under_way.answer = answer
        del self._unanswered[under_way.host]
        self._tell(under_way.waiting, answer)

    def _tell(self, waiting: list[NameLookUp], answer: NameAnswer) -> None:
        self._loop.refresh()
        for look_up in waiting:
            try:
                look_up.tell(answer)
            except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
                self._loop.fault("look-up of a name", exception)
