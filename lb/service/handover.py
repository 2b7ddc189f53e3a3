"""The handover of an upgrade, as JSON, since predecessor and successor may be of different versions.

A document has the balancer's secret, and lists the descriptors that the successor inherits. One of them is a channel
for these messages:

===========  ===========================  =========================================================================
sender       message                      meaning
===========  ===========================  =========================================================================
successor    ``{"want": "health"}``       sent before it prepares the start, and again right before it serves; the
                                          reply is ``{"health": …, "overrides": …, "sources": …, "cluster": …}``
successor    ``{"ready": [places]}``      it serves, and has taken over these listening sockets
successor    ``{"failed": "why"}``        it cannot take over
predecessor  ``{"left": true,             it no longer accepts clients; the announced addresses that stand, and
             "announced": {…}}``          their local routes, are the successor's
===========  ===========================  =========================================================================

Unknown keys are ignored, so a later version may add some. Incompatible changes need another ``FORMAT``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from lb.model.address import Address
from lb.model.binds import Place

__all__ = ["HandoverDocument", "HandoverError", "place_as_json", "place_from_json"]

FORMAT = 1


class HandoverError(Exception):
    """The handover document is incompatible. The message is one line."""


@attrs.frozen
class HandoverDocument:
    """The inherited descriptors, by number."""

    channel: int
    sockets: Mapping[Place, Collection[int]]
    """Sockets of listeners."""
    given: Mapping[int, str]
    """Sockets from the service manager, with their names."""
    opener: int | None = None
    """Socket to the file opener of a balancer that has dropped its privileges."""
    secret: bytes = attrs.field(default=b"", repr=False)
    """For what clients bring back: TLS session tickets, sticky cookies. A version without it: empty."""

    def as_json(self) -> bytes:
        sockets = [{**place_as_json(place), "fds": list(fds)} for place, fds in self.sockets.items()]
        given = [{"fd": fd, "name": name} for fd, name in self.given.items()]
        document = {"format": FORMAT, "channel": self.channel, "sockets": sockets, "given": given}
        return json.dumps({**document, "opener": self.opener, "secret": self.secret.hex()}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> HandoverDocument:
        """Read a document. Raises HandoverError if it has another format."""
        read = json.loads(text)
        if read["format"] != FORMAT:
            raise HandoverError(f"the running version uses handover format {read['format']}, this one needs {FORMAT}")
        return cls(
            read["channel"],
            {place_from_json(each): tuple(each["fds"]) for each in read["sockets"]},
            {each["fd"]: each["name"] for each in read["given"]},
            read.get("opener"),
            bytes.fromhex(read.get("secret", "")),
        )


def place_as_json(place: Place) -> dict[str, str]:
    listener, address = place
    return {"listener": listener, "bind": address.text}


def place_from_json(read: Mapping[str, Any]) -> Place:
    return read["listener"], Address.parse(read["bind"])
