"""What operators say of servers, between this node and etcd: it is told, heard, and applied to the balancer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

import trio

from lb.cluster.part import BadKeys, PartKeys
from lb.cluster.said_override import SaidOverride, override_key, server_of_key
from lb.cluster.shared_overrides import KnownOverride, SharedOverrides, UntoldOverride
from lb.control.balancer import Balancer
from lb.control.overrides import Override, OverrideChange, Overrides, ServerPlace
from lb.etcd.errors import EtcdError
from lb.etcd.messages import Comparison, KeyValue, PrefixEvent, Put, RangeRequest
from lb.net.cooperate import in_turns

__all__ = ["NOT_YET", "OVERRIDES", "OverrideExchange"]

OVERRIDES = "overrides/"
"""Where their keys are, relative to the cluster's prefix."""
TELL_TIMEOUT = 1.0
"""Seconds that an operator waits until etcd has it."""
TXN_TIMEOUT = 2.0
"""Seconds that an endpoint has for a transaction before the next one is asked. A guess."""
TELL_AGAIN = 1.0
"""Seconds until etcd is asked again after a failure, unless something else is said before."""
NOT_YET = ("not joined yet",)
"""Why nothing can be told before etcd has answered for the first time."""


class OverrideExchange:
    """The overrides of a cluster at this node, which is called ``node``. ``at`` returns the time as text."""

    def __init__(
        self, shared: SharedOverrides, balancer: Balancer, node: str, at: Callable[[], str], bad_keys: BadKeys
    ) -> None:
        self.shared = shared
        self.said = {"told": 0, "not_told": 0}
        """How often operators have been answered so."""
        self._balancer = balancer
        self._node = node
        self._at = at
        self._bad_keys = bad_keys
        self._errors: tuple[str, ...] = NOT_YET  # why nothing can be told now
        self._failure: tuple[str, ...] = ()  # of the last attempt to tell
        self._told = trio.Event()  # set and replaced after each attempt
        self._untold = trio.Event()
        self._heard = trio.Event()

    # What operators say

    async def say(self, pool: str, server: str, change: OverrideChange) -> str:
        """Change an override here at once, and tell the cluster. Returns ``told``, or ``not told: `` and the reason.

        Raises KeyError if there is no such server.
        """
        await self._balancer.override(pool, server, change, self._node)
        place = pool, server
        self.shared.say(place, change, self._node, self._at(), awaited=not self._errors)
        self._untold.set()
        self._heard.set()
        failure = await self._failure_to_tell(place)
        self.said["not_told" if failure else "told"] += 1
        return f"not told: {'; '.join(failure)}" if failure else "told"

    async def _failure_to_tell(self, place: ServerPlace) -> tuple[str, ...]:
        """Wait until etcd has been told of a server. Return why it has not been, within a second; empty if it has."""
        failure = self._errors or (f"no answer in {TELL_TIMEOUT:g} s",)
        try:
            with trio.move_on_after(0 if self._errors else TELL_TIMEOUT):
                while place in self.shared.untold:
                    await self._told.wait()
                    failure = self._errors or self._failure or failure
                    if self._errors or self._failure:
                        break
        finally:
            self.shared.no_longer_awaited(place)
        return failure if place in self.shared.untold else ()

    def say_what_holds(self, before: Overrides) -> None:
        """Say what was changed at this node while it was no member, and apply what was heard by then.

        ``before`` are the overrides of when it was one. Where they hold still, the cluster may know better.
        """
        held, known = self._balancer.overrides, self.shared.all()
        for place in {**held, **before}:
            override = held.get(place, Override())
            if override not in (before.get(place, Override()), known.get(place, Override())):
                change: OverrideChange = {"drained": override.drained, "weight": override.weight}
                self.shared.say(place, change, self._node, self._at(), awaited=False)
        self._untold.set()
        self._heard.set()

    # What etcd says

    def sees(self) -> None:
        """etcd answers: what is said from now on is told."""
        self._errors = self._failure = ()
        self._untold.set()

    def lost(self, errors: tuple[str, ...]) -> None:
        """etcd is away: what is said from now on is not told before it is back."""
        self._errors = errors
        self._attempted(errors)

    async def snapshot(self, entries: Mapping[str, KeyValue]) -> None:
        """Take all keys."""
        found: dict[ServerPlace, KnownOverride] = {}
        nonsense: dict[ServerPlace, int] = {}
        async for key, entry in in_turns(entries.items()):
            place, said = self._read(key, PrefixEvent(entry))
            if said is not None and place is not None:
                found[place] = KnownOverride(said, entry.mod_revision)
            elif place is not None:
                nonsense[place] = entry.mod_revision
        self.shared.heard_all(found, nonsense)
        self._heard.set()
        self._untold.set()

    def changed(self, key: str, event: PrefixEvent) -> None:
        """Take the change of a key."""
        place, said = self._read(key, event)
        if place is None:
            return
        if said is not None or event.deleted:
            self.shared.heard(place, said, event.entry.mod_revision)
        else:
            self.shared.heard_nonsense(place, event.entry.mod_revision)
        self._heard.set()

    def _read(self, key: str, event: PrefixEvent) -> tuple[ServerPlace | None, SaidOverride | None]:
        """Return the server of a key, and what is said of it; None for what cannot be read, or is deleted."""
        place = None
        try:
            place = server_of_key(key)
            return place, None if event.deleted else SaidOverride.decoded(event.entry.value)
        except ValueError as error:
            self._bad_keys.bad(OVERRIDES + key, event.entry.value, error)
            return place, None

    # Tasks

    async def apply(self) -> NoReturn:
        """Apply to the balancer what is heard. It must have started."""
        while True:
            await self._heard.wait()
            self._heard = trio.Event()
            await self._balancer.take_overrides(self.shared.all, self._said_by)

    def _said_by(self, place: ServerPlace) -> str | None:
        said = self.shared.said(place)
        return said.node if said is not None else None

    async def tell(self, keys: PartKeys) -> NoReturn:
        """Tell etcd what is said here, one after the other, in the order in which it was said."""
        while True:
            await self._untold.wait()
            self._untold = trio.Event()
            while self.shared.untold and not self._errors:
                place, untold = next(iter(self.shared.untold.items()))
                await self._tell(keys, place, untold)
                if self.shared.untold.get(place) == untold:
                    with trio.move_on_after(TELL_AGAIN):
                        await self._untold.wait()
                        self._untold = trio.Event()

    async def _tell(self, keys: PartKeys, place: ServerPlace, untold: UntoldOverride) -> None:
        """Tell one override, in one transaction on its key. If the key has changed meanwhile, look at it."""
        key = keys.key(override_key(place))
        unchanged = Comparison(key, "MOD", "EQUAL", untold.base)
        try:
            answer = await keys.client.txn((unchanged,), (Put(key, untold.said.encoded()),), within=TXN_TIMEOUT)
            if answer.succeeded:
                self.shared.told(place, untold.said, answer.state.revision)
            else:
                found = await keys.client.range(RangeRequest(key), within=TXN_TIMEOUT)
                gone = PrefixEvent(KeyValue(key, b"", mod_revision=found.state.revision), deleted=True)
                self.changed(override_key(place), PrefixEvent(found.found[0]) if found.found else gone)
        except EtcdError as error:
            self._attempted(error.texts)
        else:
            self._attempted(())

    def _attempted(self, failure: tuple[str, ...]) -> None:
        self._failure = failure
        self._told.set()
        self._told = trio.Event()
