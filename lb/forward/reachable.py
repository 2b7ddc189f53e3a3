"""The addresses at which a client may reach its target: looked up, then judged one by one.

What was judged is what is connected to: a name is not looked up again in between.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable

import attrs

from lb.forward.failure import LOOP, ForwardFailure, of_refusal
from lb.forward.names import NameAnswer, NameLookUp, Names
from lb.forward.rules import Rules, TargetRefusal
from lb.forward.socks import SocksReply
from lb.forward.target import SEEN_TARGETS, ForwardTarget
from lb.model.address import IPAddress, SocketAddress
from lb.proxy.context import ConnectionContext

__all__ = ["Addresses", "Reachable"]

Addresses = tuple[SocketAddress, ...]

_UNRESOLVED = ForwardFailure(
    "resolve_failed", 502, "dns_error", SocksReply.HOST_UNREACHABLE, "cannot resolve the target's name"
)
_UNRESOLVED_IN_TIME = attrs.evolve(_UNRESOLVED, status=504, error="dns_timeout")


class Reachable:
    """What ``rules`` let the clients of a listener reach."""

    def __init__(self, context: ConnectionContext, rules: Rules) -> None:
        self._context = context
        self._names = context.of_mode(Names)
        self.rules = rules
        self._judged = functools.lru_cache(SEEN_TARGETS)(self._judge)
        self._refused = functools.lru_cache(SEEN_TARGETS)(self._refuse)
        if rules.looks_up_names:
            self._names.prepare()

    def refusal(self, target: ForwardTarget, *, tunnel: bool) -> ForwardFailure | None:
        """Return why a target is refused before a name is looked up; None if it is not."""
        return self._refused(target, tunnel)

    def _refuse(self, target: ForwardTarget, tunnel: bool) -> ForwardFailure | None:
        refusal = self.rules.judge_target(target.address or target.host, target.port, tunnel=tunnel)
        return None if refusal is None else of_refusal(refusal)

    def is_own(self, target: ForwardTarget) -> bool:
        """Return whether a target is an address that this process listens on."""
        address = target.address
        return address is not None and not self._not_own(_addresses(address, target.port))

    def at_once(self, target: ForwardTarget) -> Addresses | ForwardFailure | None:
        """Return the addresses of a target that was not refused, or why there are none; None: look it up."""
        if target.address is not None:
            return self._without_own(_addresses(target.address, target.port))
        answer = self._names.known(target.host)
        return None if answer is None else self.judge(target, answer)

    def look_up(self, target: ForwardTarget, done: Callable[[Addresses | ForwardFailure], None]) -> NameLookUp:
        """Look a target up, and call ``done`` later."""
        return self._names.look_up(target.host, lambda answer: done(self.judge(target, answer)))

    def judge(self, target: ForwardTarget, answer: NameAnswer) -> Addresses | ForwardFailure:
        """Return those addresses of a name that the rules let through, or why there are none."""
        judged = self._judged(target, answer)
        return judged if isinstance(judged, ForwardFailure) else self._without_own(judged)

    def _judge(self, target: ForwardTarget, answer: NameAnswer) -> Addresses | ForwardFailure:
        """Judge by the rules."""
        if answer.failure:
            return _UNRESOLVED_IN_TIME if answer.failure == "timeout" else _UNRESOLVED
        refusal: TargetRefusal | None = None
        left: Addresses = ()
        for address in answer.addresses:
            refused = self.rules.judge_address(target.host, address, target.port)
            if refused is None:
                left += _addresses(address, target.port)
            else:
                refusal = refusal or refused
        if not left and refusal is not None:
            return of_refusal(refusal)
        return left

    def _without_own(self, addresses: Addresses) -> Addresses | ForwardFailure:
        return self._not_own(addresses) or LOOP

    def _not_own(self, addresses: Addresses) -> Addresses:
        """Leave out what this process listens on itself: a connection to it would come back."""
        own = self._context.own_addresses.among(addresses)
        return tuple(address for address in addresses if address not in own) if own else addresses


@functools.lru_cache(SEEN_TARGETS)
def _addresses(address: IPAddress, port: int) -> Addresses:
    return (((socket.AF_INET if address.version == 4 else socket.AF_INET6), (str(address), port)),)
