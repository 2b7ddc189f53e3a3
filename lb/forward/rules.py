"""Which targets clients may reach: ports, ``deny_to``, addresses that are not globally reachable, ``allow_to``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, TypeAlias

import attrs

from lb.model.address import IPAddress
from lb.model.forward import ForwardSettings, TargetRule
from lb.model.reachability import embedded_ipv4, globally_reachable, plain_address

__all__ = ["RefusalKind", "Rules", "TargetRefusal"]

RefusalKind: TypeAlias = Literal["port", "deny_to", "private", "allow_to"]


@attrs.frozen
class TargetRefusal:
    """Why a target may not be reached."""

    kind: RefusalKind
    text: str
    """The key with the rule, for operators: ``deny_to "*.example.com"``. Clients are told the kind only."""


class _RuleList:
    """Rules by name and by network. A search costs one look-up per label of a name, or per prefix length in use."""

    def __init__(self, rules: Iterable[TargetRule]) -> None:
        self._by_name: dict[str, list[TargetRule]] = {}
        self._by_prefix: dict[int, dict[int, dict[int, list[TargetRule]]]] = {4: {}, 6: {}}
        self._network_ports: set[int] = set()
        for rule in rules:
            if rule.network is None:
                self._by_name.setdefault(rule.host, []).append(rule)
            else:
                self._network_ports.add(rule.port)
                width = rule.network.max_prefixlen - rule.network.prefixlen
                prefixes = self._by_prefix[rule.network.version].setdefault(width, {})
                prefixes.setdefault(int(rule.network.network_address) >> width, []).append(rule)

    def for_name(self, host: str, port: int) -> TargetRule | None:
        """Return a rule that has this name, a wildcard for it, or ``*``."""
        if not self._by_name:
            return None
        return next((rule for key in _keys(host) for rule in self._by_name.get(key, ()) if _has_port(rule, port)), None)

    def for_address(self, address: IPAddress, port: int) -> TargetRule | None:
        """Return a rule whose network has this address."""
        number = int(address)
        for width, prefixes in self._by_prefix[address.version].items():
            for rule in prefixes.get(number >> width, ()):
                if _has_port(rule, port):
                    return rule
        return None

    def has_network_for(self, port: int) -> bool:
        """Return whether an address could have a rule at this port."""
        return not self._network_ports.isdisjoint((0, port))


def _keys(host: str) -> Iterator[str]:
    """Yield ``a.example.com``, ``*.example.com``, ``*.com``, ``*`` for the first of these."""
    yield host
    while host:
        host = host.partition(".")[2]
        if host:
            yield f"*.{host}"
    yield "*"


def _has_port(rule: TargetRule, port: int) -> bool:
    return rule.port in (0, port)


class Rules:
    """The rules of a listener. What ``deny_to`` has is refused first, then what is not globally reachable.

    ``allow_to`` opens none of these: it says what of the rest may be reached.
    """

    def __init__(self, settings: ForwardSettings) -> None:
        self._ports = settings.connect_ports
        self._private = settings.private
        self._deny = _RuleList(settings.deny_to)
        self._allow = _RuleList(settings.allow_to)
        self._none_denied = not settings.deny_to
        self._all_allowed = not settings.allow_to
        self.looks_up_names = not settings.parents
        """Parents look names up themselves."""

    def judge_target(self, host: str | IPAddress, port: int, *, tunnel: bool) -> TargetRefusal | None:
        """Judge what can be judged before a name is looked up; None: not refused so far. An address is judged whole.

        Names are in lower case, without a dot at the end. The port counts for tunnels only. With parents, which look
        names up themselves, a name is judged whole too: only rules of ``allow_to`` with a name allow it.
        """
        if tunnel and self._ports is not None and port not in self._ports:
            return TargetRefusal("port", f"connect_ports = [{', '.join(map(str, self._ports))}]")
        if not isinstance(host, str):
            return self.judge_address(None, host, port)
        denied = self._deny.for_name(host, port)
        if denied is not None:
            return _denied(denied)
        if self._all_allowed or self._allow.for_name(host, port) is not None:
            return None
        return None if self.looks_up_names and self._allow.has_network_for(port) else _NOT_ALLOWED

    def judge_address(self, host: str | None, address: IPAddress, port: int) -> TargetRefusal | None:
        """Judge an address of a name, which :meth:`judge_target` has not refused, or an address without a name."""
        address = plain_address(address)
        denied = self._denying(address, port)
        if denied is not None:
            return _denied(denied)
        if not self._private and not globally_reachable(address):
            return TargetRefusal("private", "private = false: the address is not globally reachable")
        if self._all_allowed or self.allowing(host, address, port) is not None:
            return None
        return _NOT_ALLOWED

    def allowing(self, host: str | None, address: IPAddress, port: int) -> TargetRule | None:
        """Return the rule of ``allow_to`` that has a target; None if there is none."""
        by_name = self._allow.for_name(host or "", port)
        return by_name or self._allow.for_address(plain_address(address), port)

    def _denying(self, address: IPAddress, port: int) -> TargetRule | None:
        """Return the rule of ``deny_to`` that has an address, or another one that it stands for."""
        if self._none_denied:
            return None
        by_name = self._deny.for_name("", port)
        others = (_THIS_HOST[address.version],) if address.is_unspecified else embedded_ipv4(address)
        found = (self._deny.for_address(each, port) for each in (address, *others))
        return by_name or next(filter(None, found), None)


_THIS_HOST: Mapping[int, IPAddress] = {4: IPv4Address("127.0.0.1"), 6: IPv6Address("::1")}
"""Where a connect to the unspecified address leads."""
_NOT_ALLOWED = TargetRefusal("allow_to", "allow_to has no rule for it")


def _denied(rule: TargetRule) -> TargetRefusal:
    return TargetRefusal("deny_to", f'deny_to "{rule.text}"')
