"""The announced addresses of a running balancer: they stand while it can serve. It follows the configuration.

A start calls :meth:`Announcer.begin`, :meth:`Announcer.watch` and :meth:`Announcer.run`; the end of the process, for
whatever reason, :meth:`Announcer.close`. One process at a time owns the addresses: the successor of an upgrade takes
them over.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, TypeVarTuple

import trio

from lb.announce.rule import AnnounceRule
from lb.announce.standing import AnnounceError, InterfacePlace, Standing, check_interface, places_of
from lb.control.balancer import Balancer
from lb.control.readiness import out_of_service, unproven
from lb.events import AnnounceDown, AnnounceFailed, AnnounceUp, Sink
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
        self._left_over: tuple[InterfacePlace, ...] = ()
        """Addresses of a process that was killed, which were removed at the start."""
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
        self._owns = not beside_predecessor
        if self._owns and self.spec is not None:
            try:
                self._left_over = self._standing.begin(self.spec)
            except OSError as error:
                addresses = ", ".join(map(str, self.spec.addresses))
                raise AnnounceError(f"announce: cannot prepare {addresses}: {describe_error(error)}") from error

    def close(self) -> None:
        """Remove what this process owns: at its end, whatever the reason. Raises OSError."""
        if self._owns:
            self._standing.end()

    # While the balancer runs

    def watch(self, balancer: Balancer, sink: Sink) -> None:
        """Name the balancer whose readiness decides, and who hears the events."""
        self._balancer, self._sink = balancer, sink

    async def run(self) -> NoReturn:
        """Follow the readiness of the balancer, which serves from now on."""
        self._report(self._left_over, (), _not_ready(*self._in_the_way()))
        while True:
            change = self._balancer.readiness.next_change
            async with self._acting:
                await self._judge()
            with trio.move_on_at(self._due):
                await change.wait()

    async def check(self, spec: AnnounceSpec | None) -> None:
        """Check that the addresses of another configuration can be set. Raises AnnounceError."""
        if spec is not None and spec != self.spec:
            await self._in_thread(check_interface, spec)

    async def follow(self, spec: AnnounceSpec | None) -> None:
        """Use another table, which :meth:`check` has passed. Addresses that it has as well are not touched."""
        if spec == self.spec:
            return
        async with self._acting:
            if spec is None or self.spec is None:
                self._rule = AnnounceRule(0)
            self.spec = spec
            self._rule.rise = spec.rise if spec is not None else 0
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
        return self._retry if self._leaving else min(self._rule.due, self._retry)

    async def _judge(self) -> None:
        if not self._owns:
            return
        if self.spec is None or self._leaving:  # the kernel may have refused to remove what stood
            await self._have((), STOPPING)
            return
        in_the_way = self._in_the_way()
        stands = self._rule.decide(*in_the_way, trio.current_time())
        await self._have(places_of(self.spec) if stands else (), _not_ready(*in_the_way))

    def _in_the_way(self) -> tuple[list[str], list[str]]:
        """Return the pools that are out of service, and those that are unproven."""
        pools = self._balancer.shown_pools
        return out_of_service(pools), unproven(pools)

    async def _have(self, places: Collection[InterfacePlace], reason: str) -> None:
        """Have these addresses stand, and no others. Those that still are configured go for this reason."""
        self._retry = math.inf
        before = self._standing.places
        try:
            if not self._standing.has(places, self.spec):
                await self._in_thread(self._standing.change, places, self.spec)
        except OSError as error:
            self._failed(error)
        else:
            self._failing = False
        self._note_up()
        self._report(before, self._standing.places, reason)

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

    def _report(self, before: Collection[InterfacePlace], after: Collection[InterfacePlace], reason: str) -> None:
        configured = places_of(self.spec)
        for interface, addresses in _by_interface([place for place in after if place not in before]):
            self._sink(AnnounceUp(addresses, interface))
        gone = [place for place in before if place not in after]
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
