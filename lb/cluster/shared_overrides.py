"""Which override holds for a server when several nodes speak of it, and etcd may be away. Decisions without I/O.

Order is that of etcd's revisions, and never a clock. What an operator says to this node holds here at once, and is
*untold* until etcd has it. It is told in a transaction that fails if the server's key has changed since this node saw
it last. What follows from such a failure depends on whether the operator still waits for the answer:

==========  ===============  =======================================================================================
said        key has changed  then
==========  ===============  =======================================================================================
just now    by another node  it was said later: what it changes is changed in the other's override, and told again
while away  by another node  the other's override is newer, and holds
while away  lower revision   etcd was rebuilt or restored, so the other's override may be old: as if said just now
either      by this node     the answer to the transaction was lost: it is told
==========  ===============  =======================================================================================

No node deletes a key. So when one is missing from a snapshot, etcd was rebuilt or restored, and what this node knows of
that server is told again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lb.cluster.said_override import SaidOverride
from lb.control.overrides import Override, OverrideChange, Overrides, ServerPlace, changed

__all__ = ["KnownOverride", "SharedOverrides", "UntoldOverride"]

NEVER = 0
"""The revision of a key that does not exist."""


@attrs.frozen
class KnownOverride:
    """What etcd has of a server, as far as this node knows."""

    said: SaidOverride
    revision: int
    """etcd's revision of the key."""


@attrs.frozen
class UntoldOverride:
    """What was said to this node, and etcd does not have yet."""

    change: OverrideChange
    """All that was said since the last time that etcd was told."""
    said: SaidOverride
    """The override that holds here because of it."""
    base: int
    """The revision of the server's key that was known when it was said."""
    awaited: bool
    """An operator waits for the answer."""


class SharedOverrides:
    """The overrides of a cluster, as this node knows them."""

    def __init__(self) -> None:
        self._known: dict[ServerPlace, KnownOverride] = {}
        self._untold: dict[ServerPlace, UntoldOverride] = {}

    @property
    def untold(self) -> Mapping[ServerPlace, UntoldOverride]:
        """What is to be told, in the order in which it was said."""
        return self._untold

    def said(self, place: ServerPlace) -> SaidOverride | None:
        """Return what holds for a server, and who said it; None if nobody has said anything."""
        if place in self._untold:
            return self._untold[place].said
        return self._known[place].said if place in self._known else None

    def override(self, place: ServerPlace) -> Override:
        """Return the override that holds for a server."""
        said = self.said(place)
        return said.override if said is not None else Override()

    def all(self) -> Overrides:
        """Return all overrides but those that change nothing."""
        places = {place: self.override(place) for place in {**self._known, **self._untold}}
        return {place: override for place, override in places.items() if override != Override()}

    # What is said to this node

    def say(self, place: ServerPlace, change: OverrideChange, node: str, at: str, *, awaited: bool) -> None:
        """Take what an operator says to this node. It holds at once."""
        before = self._untold.get(place)
        base = before.base if before is not None else self._revision(place)
        earlier: OverrideChange = before.change if before is not None else {}
        said = SaidOverride(changed(self.override(place), change), node, at)
        self._untold[place] = UntoldOverride({**earlier, **change}, said, base, awaited)

    def told(self, place: ServerPlace, said: SaidOverride, revision: int) -> None:
        """Note that etcd has taken what was said, with this revision. The watch may have told of it, and of more."""
        is_news = revision > self._revision(place)
        if is_news:
            self._known[place] = KnownOverride(said, revision)
        untold = self._untold.get(place)
        if untold is not None and untold.said == said:
            del self._untold[place]
        elif untold is not None and is_news:  # more was said meanwhile
            self._untold[place] = attrs.evolve(untold, base=revision)

    def no_longer_awaited(self, place: ServerPlace) -> None:
        """Note that the operator got an answer before etcd was told."""
        untold = self._untold.get(place)
        if untold is not None:
            self._untold[place] = attrs.evolve(untold, awaited=False)
            self._settle(place)

    # What etcd says

    def heard(self, place: ServerPlace, said: SaidOverride | None, revision: int) -> None:
        """Take a change of a key; None: it was deleted. What is older than what is known changes nothing."""
        if revision <= self._revision(place):
            return
        if said is None:
            self._known.pop(place, None)
            self._forget(place)
        else:
            self._take(place, KnownOverride(said, revision))

    def heard_nonsense(self, place: ServerPlace, revision: int) -> None:
        """Take a change of a key to what cannot be read: what holds stays, until somebody says something else."""
        if revision > self._revision(place):
            self._know_nonsense(place, revision)

    def heard_all(self, found: Mapping[ServerPlace, KnownOverride], nonsense: Mapping[ServerPlace, int]) -> None:
        """Take all keys that there are; those that cannot be read with their revisions."""
        for place in self._known.keys() - found.keys() - nonsense.keys():
            self._tell_again(place)
        for place, revision in nonsense.items():
            self._know_nonsense(place, revision)
        for place, known in found.items():
            self._take(place, known)

    def _know_nonsense(self, place: ServerPlace, revision: int) -> None:
        said = self._known[place].said if place in self._known else SaidOverride(Override(), "", "")
        self._known[place] = KnownOverride(said, revision)
        if place in self._untold:
            self._untold[place] = attrs.evolve(self._untold[place], base=revision)

    def _take(self, place: ServerPlace, known: KnownOverride) -> None:
        self._known[place] = known
        self._settle(place)

    def _settle(self, place: ServerPlace) -> None:
        """Decide what becomes of what is untold, now that the server's key is known as it is."""
        untold, known = self._untold.get(place), self._known.get(place)
        if untold is None or known is None or known.revision == untold.base:
            return
        if known.said == untold.said:
            del self._untold[place]
        elif untold.awaited or known.revision < untold.base:
            said = attrs.evolve(untold.said, override=changed(known.said.override, untold.change))
            self._untold[place] = attrs.evolve(untold, said=said, base=known.revision)
        else:
            del self._untold[place]

    def _forget(self, place: ServerPlace) -> None:
        """Decide what becomes of what is untold, now that somebody has deleted the server's key."""
        untold = self._untold.pop(place, None)
        if untold is not None and untold.awaited:
            said = attrs.evolve(untold.said, override=changed(Override(), untold.change))
            self._untold[place] = attrs.evolve(untold, said=said, base=NEVER)

    def _tell_again(self, place: ServerPlace) -> None:
        known = self._known.pop(place)
        if place in self._untold:
            self._untold[place] = attrs.evolve(self._untold[place], base=NEVER)
        elif known.said.override != Override():
            said = known.said
            change: OverrideChange = {"drained": said.override.drained, "weight": said.override.weight}
            self._untold[place] = UntoldOverride(change, said, NEVER, awaited=False)

    def _revision(self, place: ServerPlace) -> int:
        return self._known[place].revision if place in self._known else NEVER

    # For a successor

    def as_json(self) -> list[dict[str, Any]]:
        """Return all that is known, for the successor of this process."""
        return [*map(_known_as_json, self._known.items()), *map(_untold_as_json, self._untold.items())]

    @classmethod
    def from_json(cls, read: Iterable[Mapping[str, Any]]) -> SharedOverrides:
        shared = cls()
        for each in read:
            place, said = (each["pool"], each["server"]), SaidOverride.from_json(each)
            if "revision" in each:
                shared._known[place] = KnownOverride(said, each["revision"])
            else:
                shared._untold[place] = UntoldOverride(each["change"], said, each["base"], awaited=False)
        return shared


def _known_as_json(item: tuple[ServerPlace, KnownOverride]) -> dict[str, Any]:
    place, known = item
    return {**_said_as_json(place, known.said), "revision": known.revision}


def _untold_as_json(item: tuple[ServerPlace, UntoldOverride]) -> dict[str, Any]:
    place, untold = item
    return {**_said_as_json(place, untold.said), "change": dict(untold.change), "base": untold.base}


def _said_as_json(place: ServerPlace, said: SaidOverride) -> dict[str, Any]:
    pool, server = place
    return {"pool": pool, "server": server, **attrs.asdict(said.override), "node": said.node, "at": said.at}
