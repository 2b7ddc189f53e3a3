"""The look-up of a name's IPv6 and IPv4 addresses at the same time, as in RFC 8305, section 3."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import attrs
import trio

from lb.model.address import IPAddress
from lb.net.errors import UnresolvedError
from lb.net.resolver import RESOLUTION_DELAY

__all__ = ["AddressKind", "BothFamilies", "FoundAddresses"]

AddressKind: TypeAlias = Literal["AAAA", "A"]

DISCARD_PORT = 9
"""A port to look for a route to. Nothing is sent there."""


@attrs.frozen
class FoundAddresses:
    """Addresses of a name, possibly none, and the seconds that they are valid for."""

    addresses: tuple[IPAddress, ...]
    ttl: float


class BothFamilies:
    """The look-up of one name. ``ask`` looks for one family, and raises UnresolvedError.

    ``found`` is called once or twice: with the addresses of one family if the other's are late, and with all.
    """

    def __init__(
        self, ask: Callable[[AddressKind], Awaitable[FoundAddresses]], found: Callable[[FoundAddresses], None]
    ) -> None:
        self._ask = ask
        self._found = found
        self._answers: dict[AddressKind, FoundAddresses] = {}
        self._errors: dict[AddressKind, UnresolvedError] = {}

    async def run(self) -> None:
        """Look the name up. Raises UnresolvedError if it has no address."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_one, "AAAA", nursery.cancel_scope)
            nursery.start_soon(self._ask_one, "A", nursery.cancel_scope)
        if not self._tell():
            raise self._error()

    async def _ask_one(self, kind: AddressKind, all_known: trio.CancelScope) -> None:
        try:
            answer = await self._ask(kind)
        except UnresolvedError as error:
            self._errors[kind] = error
            # Some name servers deny the name when asked for AAAA, though it has A records (RFC 4074, section 4.2).
            if kind == "A" and error.kind == "not_found":
                all_known.cancel()
        else:
            self._answers[kind] = answer
            if len(self._answers) + len(self._errors) < 2 and _has_route(answer.addresses):
                await trio.sleep(RESOLUTION_DELAY)
                self._tell()
                return
        if len(self._answers) + len(self._errors) == 2:
            all_known.cancel()

    def _tell(self) -> bool:
        """Tell the addresses that are known. Return False if there are none."""
        answers = [answer for kind in ("AAAA", "A") if (answer := self._answers.get(kind)) and answer.addresses]
        if not answers:
            return False
        addresses = tuple(address for answer in answers for address in answer.addresses)
        self._found(FoundAddresses(addresses, min(answer.ttl for answer in answers)))
        return True

    def _error(self) -> UnresolvedError:
        return self._errors.get("A") or self._errors.get("AAAA") or UnresolvedError("not_found", "it has no address")


def _has_route(addresses: tuple[IPAddress, ...]) -> bool:
    """Return whether this host can send to the first address. Without, its family is of no use without the other."""
    if not addresses:
        return False
    family = socket.AF_INET if addresses[0].version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(addresses[0]), DISCARD_PORT))
    except OSError:
        return False
    return True
