"""The announced addresses of a running balancer: they stand while it can serve. It follows the configuration.

A start calls :meth:`Announcer.begin`, :meth:`Announcer.watch` and :meth:`Announcer.run`; the end of the process, for
whatever reason, :meth:`Announcer.close`. One process at a time owns the addresses: the successor of an upgrade takes
them over.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NoReturn, TypeVarTuple

import trio

from lb.announce.address_watch import AddressWatch, WatchedNames
from lb.announce.contest import Contest
from lb.announce.rule import AnnounceRule
from lb.announce.standing import AnnounceError, InterfacePlace, Standing, check_interface, places_of
from lb.control.balancer import Balancer
from lb.control.readiness import out_of_service, unproven
from lb.events import AnnounceChanged, AnnounceDown, AnnounceFailed, AnnounceUp, Sink
from lb.model import AnnounceSpec
from lb.net.errors import describe_error
from lb.net.threads import Threads

__all__ = ["Announcer"]

Ts = TypeVarTuple("Ts")
RETRY_DELAY = 1.0
"""Seconds until another try after the kernel has refused a change."""
NOT_READY, STOPPING, REMOVED = "not ready", "stopping", "removed"
"""Why addresses go."""


class Announcer:
    """Sets and removes the addresses of ``[announce]``; without that table it does nothing."""

    def __init__(self, spec: AnnounceSpec | None) -> None:
        self.spec = spec
        """The table in use."""
        self.up = False
        """Whether all addresses stand."""
        self.since = time.time()
        """When :attr:`up` last changed; seconds since the epoch."""
        self._rule = AnnounceRule(spec.rise if spec is not None else 0)
        self._standing = Standing()
        self._told: tuple[InterfacePlace, ...] = ()
        """The addresses that stand by what was told."""
        self._contests: defaultdict[InterfacePlace, Contest] = defaultdict(Contest)
        self._is_stale = False
        """Somebody else may have changed something."""
        self._takes_over = False
        """Addresses that stand already are from a process that was killed."""
        self._watch: AddressWatch | None = None
        self._watching = trio.Event()
        self._owns = False
        self._leaving = False
        self._failing = False
        self._retry = math.inf
        self._acting = trio.Lock()
        self._threads = Threads(1)
        self._balancer: Balancer
        self._sink: Sink

    @property
    def standing(self) -> dict[str, bool]:
        """Whether each configured address stands."""
        return {str(address): (name, address) in self._standing.places for name, address in places_of(self.spec)}

    # Without trio: the begin and the end of a process

    def begin(self, *, beside_predecessor: bool) -> None:
        """Check that addresses can be set. Unless a predecessor serves, own them, and remove what was left of them.

        Raises AnnounceError.
        """
        if self.spec is not None:
            check_interface(self.spec)
            self._open_watch()
        self._owns = not beside_predecessor
        if self._owns and self.spec is not None:
            try:
                self._told = self._standing.begin(self.spec)  # removed: that is to be told
            except OSError as error:
                addresses = ", ".join(map(str, self.spec.addresses))
                raise AnnounceError(f"announce: cannot prepare {addresses}: {describe_error(error)}") from error

    def close(self) -> None:
        """Remove what this process owns: at its end, whatever the reason. Raises OSError."""
        if self._watch is not None:
            self._watch.close()
        if self._owns:
            self._standing.end(self.spec)

    def _open_watch(self) -> None:
        """Hear of changes by others from now on, for good. Raises AnnounceError."""
        if self._watch is None:
            try:
                self._watch = AddressWatch()
            except OSError as error:
                raise AnnounceError(f"announce: cannot watch the addresses: {describe_error(error)}") from error
            self._watching.set()

    # While the balancer runs

    def watch(self, balancer: Balancer, sink: Sink) -> None:
        """Name the balancer whose readiness decides, and who hears the events."""
        self._balancer, self._sink = balancer, sink

    async def run(self) -> NoReturn:
        """Follow the readiness of the balancer, which serves from now on."""
        self._report(_not_ready(*self._in_the_way()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notice)
            while True:
                change = self._balancer.readiness.next_change
                async with self._acting:
                    await self._judge()
                with trio.move_on_at(self._due):
                    await change.wait()

    async def _notice(self) -> NoReturn:
        """Hear of changes by others, once there is something to announce. Some may have come before."""
        await self._watching.wait()
        assert self._watch is not None  # noqa: S101 - the event says so
        while True:
            self._is_stale = True
            self._balancer.readiness.changed()
            await self._watch.changed(self._watched)

    def _watched(self) -> WatchedNames:
        places = {*places_of(self.spec), *self._standing.places}
        interfaces = {"lo", *(interface for interface, _ in places)}  # routes go by the first
        return WatchedNames(interfaces, {address.ip.packed for _, address in places})

    async def check(self, spec: AnnounceSpec | None) -> None:
        """Check that the addresses of another configuration can be set. Raises AnnounceError."""
        if spec is not None and spec != self.spec:
            await self._in_thread(check_interface, spec)
            self._open_watch()

    async def follow(self, spec: AnnounceSpec | None) -> None:
        """Use another table, which :meth:`check` has passed. Addresses that it has as well are not touched."""
        if spec == self.spec:
            return
        async with self._acting:
            if spec is None or self.spec is None:
                self._rule = AnnounceRule(0)
            self.spec = spec
            self._rule.rise = spec.rise if spec is not None else 0
            self._is_stale = self._takes_over = True
            for place in self._contests.keys() - places_of(spec):
                del self._contests[place]
            await self._judge()
        self._balancer.readiness.changed()  # the rule may be due earlier now

    async def leave(self) -> None:
        """Remove the addresses, as this process was told to stop. The local routes stay until it ends."""
        async with self._acting:
            self._leaving = True
            if self._owns:
                await self._have((), STOPPING)

    async def hand_over(self) -> Mapping[str, object]:
        """Leave everything as it is to a successor. Returns what it has to know, for :meth:`take_over`."""
        async with self._acting:
            self._owns = False
            return self._standing.as_json()

    async def take_over(self, predecessor: Mapping[str, Any]) -> None:
        """Own what a predecessor has handed over; if it had nothing, begin as if there had been none."""
        self._owns, self._standing = True, Standing.from_json(predecessor)
        self._told = self._standing.places
        if self.spec is not None and not self._standing.places:
            try:
                await self._in_thread(self._standing.begin, self.spec)
            except OSError as error:
                self._failed(error)
        self._note_up()
        self._rule = AnnounceRule(self._rule.rise, stands=bool(self._standing.places))
        if self._leaving:  # it was told to stop meanwhile
            await self.leave()

    @property
    def _due(self) -> float:
        """When to judge again though nothing has changed."""
        if not self._owns:
            return math.inf
        now = trio.current_time()
        contests = (contest.due(now) for contest in self._contests.values())
        return min(self._retry, math.inf if self._leaving else self._rule.due, *contests)

    async def _judge(self) -> None:
        if not self._owns:
            return
        places: tuple[InterfacePlace, ...] = ()
        reason = STOPPING  # also for what the kernel has refused to remove
        if self.spec is not None and not self._leaving:
            in_the_way = self._in_the_way()
            reason = _not_ready(*in_the_way)
            if self._rule.decide(*in_the_way, trio.current_time()):
                places = places_of(self.spec)
        self._retry = math.inf
        if self._is_stale:
            await self._look(places)
        await self._have(places, reason)

    async def _look(self, wanted: Collection[InterfacePlace]) -> None:
        """Take note of what others have changed."""
        before = self._standing.places
        try:
            await self._in_thread(self._standing.look, self.spec)
        except OSError as error:
            self._failed(error)
        else:
            self._is_stale = False
        after = self._standing.places
        came = [place for place in after if place not in before and place not in wanted]
        gone = [place for place in before if place not in after and place in wanted]
        if self._takes_over:
            self._takes_over = False
            self._told += tuple(came)
        else:
            self._contest(came, "set")
        self._contest(gone, "removed")

    def _contest(self, places: Collection[InterfacePlace], change: Literal["set", "removed"]) -> None:
        """Take changes by others, which are undone in a moment."""
        now, is_wanted = trio.current_time(), change == "removed"
        pauses = {place: self._contests[place].changed(now, is_wanted=is_wanted) for place in places}
        told = [place for place in places if self._contests[place].is_told]
        for interface, addresses in _by_interface(told):
            undone_in = max(pauses[place] for place in told if place[0] == interface)
            self._sink(AnnounceChanged(addresses, interface, change, undone_in))
        self._told = tuple(place for place in self._told if place not in told) + (() if is_wanted else tuple(told))

    def _in_the_way(self) -> tuple[list[str], list[str]]:
        """Return the pools that are out of service, and those that are unproven."""
        pools = self._balancer.shown_pools
        return out_of_service(pools), unproven(pools)

    async def _have(self, places: Collection[InterfacePlace], reason: str) -> None:
        """Have these addresses stand, and no others. Those that still are configured go for this reason.

        What others have changed just now stays for a moment.
        """
        stand = [
            place
            for place in dict.fromkeys((*places, *self._standing.places))
            if self._is_to_stand(place, place in places)
        ]
        try:
            if not self._standing.has(stand, self.spec):
                await self._in_thread(self._standing.change, stand, self.spec)
        except OSError as error:
            self._failed(error)
        else:
            self._failing &= self._is_stale  # a look may have failed
        self._note_up()
        self._report(reason)

    def _is_to_stand(self, place: InterfacePlace, is_wanted: bool) -> bool:
        contest = self._contests.get(place)
        if contest is not None and contest.waits(trio.current_time(), is_wanted=is_wanted):
            return place in self._standing.places
        return is_wanted

    def _note_up(self) -> None:
        up = self.spec is not None and {*places_of(self.spec)} <= {*self._standing.places}
        if up != self.up:
            self.up, self.since = up, time.time()

    def _failed(self, error: OSError) -> None:
        self._retry = trio.current_time() + RETRY_DELAY
        if not self._failing and self.spec is not None:
            self._failing = True
            addresses = tuple(map(str, self.spec.addresses))
            self._sink(AnnounceFailed(addresses, self.spec.interface, describe_error(error)))

    def _report(self, reason: str) -> None:
        """Tell what has changed since this was told, but for addresses that others change again and again."""
        now, after, configured = trio.current_time(), self._standing.places, places_of(self.spec)
        quiet = {place for place, contest in self._contests.items() if contest.is_quiet(now)}
        came = [place for place in after if place not in self._told and place not in quiet]
        gone = [place for place in self._told if place not in after and place not in quiet]
        self._told = tuple(place for place in (*self._told, *came) if place not in gone)
        for interface, addresses in _by_interface(came):
            self._sink(AnnounceUp(addresses, interface))
        for interface, addresses in _by_interface([place for place in gone if place not in configured]):
            self._sink(AnnounceDown(addresses, interface, REMOVED))
        for interface, addresses in _by_interface([place for place in gone if place in configured]):
            self._sink(AnnounceDown(addresses, interface, reason))

    async def _in_thread(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call what blocks. It is never abandoned: what it sets must be known at the end of the process."""
        with trio.CancelScope(shield=True):
            await self._threads.run(function, *args)


def _not_ready(without: Collection[str], untested: Collection[str]) -> str:
    """Return why the addresses do not stand, if they do not. The arguments are the pools that are in the way."""
    names = without or untested
    return f"{NOT_READY}: {', '.join(names)}" if names else NOT_READY


def _by_interface(places: Collection[InterfacePlace]) -> list[tuple[str, tuple[str, ...]]]:
    """Return interfaces with their addresses, as events have them."""
    return [
        (interface, tuple(str(address) for each, address in places if each == interface))
        for interface in dict.fromkeys(interface for interface, _ in places)
    ]
