"""``http_access`` with its acls: who may come, and where to. Nothing is opened that Squid keeps closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from lb.tools.migrate.draft import DraftTable
from lb.tools.migrate.migration import Directive, Migration
from lb.tools.migrate.squid.reading import file_values

__all__ = ["AccessRules"]

_Kind = Literal["source", "target", "port", "connect", "auth", "manager", "always", "unknown"]
_LOOPBACK = ("127.0.0.0/8", "0.0.0.0/8", "::1", "::")
_SERVICES = (22, 23, 25, 53, 110, 139, 143, 445, 465, 587, 993, 995)
"""Ports of ssh, telnet, mail, names and files, which requests for pages have no business with."""
_LARGEST = 65_535
_THIS_HOST = ["127.0.0.0/8", "::1"]
_NOWHERE = "nowhere.invalid"
"""A target that is none: the rules leave nothing."""
_EVERYBODY = ["0.0.0.0/0", "::/0"]


@attrs.frozen
class SquidAcl:
    """What an acl is about, and its values as lb.toml has them."""

    kind: _Kind
    values: tuple[str, ...] = ()
    nearest: str = ""


_Term: TypeAlias = tuple[bool, SquidAcl]
"""Whether it is negated, and the acl."""

_PREDEFINED = {
    "all": SquidAcl("always"),
    "localhost": SquidAcl("source", tuple(_THIS_HOST)),
    "to_localhost": SquidAcl("target", _LOOPBACK),
    "to_linklocal": SquidAcl("target", ("169.254.0.0/16", "fe80::/10")),
    "manager": SquidAcl("manager"),
    "CONNECT": SquidAcl("connect"),
}


@attrs.frozen
class _Allowed:
    """One ``http_access allow``."""

    line: Directive
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    needs_user: bool


@attrs.define
class AccessRules:
    """Reads the rules, and writes them into a listener."""

    migration: Migration
    root: Directive
    directory: Path
    _acls: dict[str, SquidAcl] = attrs.field(factory=dict)
    _allowed: list[_Allowed] = attrs.field(factory=list)
    _denied: list[str] = attrs.field(factory=list)
    _only_from: list[str] | None = None
    _denied_targets: list[str] = attrs.field(factory=list)
    _only_to: list[str] | None = None
    _tunnels: list[str] | None = None
    _safe: list[str] | None = None
    needs_user: bool = False

    def read(self) -> None:
        """Read ``http_access``; what comes after a rule for all is never reached."""
        rules = self.root.below("http_access")
        is_open = bool(rules) and rules[-1].args[:1] == ("deny",)
        for number, line in enumerate(rules):
            terms = self._terms(line)
            if not terms:
                self._for_all(line)
                is_open = False
                for each in rules[number + 1 :]:
                    self.migration.not_needed(each, "a rule before it is for all")
                break
            if any(acl.kind == "manager" and not negated for negated, acl in terms):
                self.migration.not_needed(line, "`[admin]` is an address of its own")
            elif line.args[0] == "deny":
                self._deny(line, terms)
            else:
                self._allow(line, terms)
        if is_open:
            self._allowed.append(_Allowed(rules[-1], (), (), needs_user=False))

    # Acls

    def _terms(self, line: Directive) -> list[_Term]:
        """Return the terms of a rule, without those that are always true."""
        found = [(name.startswith("!"), self._acl(name.lstrip("!"))) for name in line.args[1:]]
        return [(negated, acl) for negated, acl in found if acl.kind != "always" or negated]

    def _acl(self, name: str) -> SquidAcl:
        if name not in self._acls:
            lines = [each for each in self.root.below("acl") if each.args[:1] == (name,)]
            self._acls[name] = self._read(lines) if lines else _PREDEFINED.get(name, SquidAcl("unknown"))
        return self._acls[name]

    def _read(self, lines: Sequence[Directive]) -> SquidAcl:
        parts = []
        for each in lines:
            try:
                values = file_values(each.args[2:], self.directory)
            except ValueError as error:
                self.migration.gap(each, str(error))
                return SquidAcl("unknown", nearest=str(error))
            part = _acl_of(each.args[1], values)
            if part.kind == "unknown":
                self.migration.gap(each, part.nearest)
                return part
            parts.append(part)
            self.migration.translated(each)
        return SquidAcl(parts[0].kind, tuple(value for part in parts for value in part.values))

    # Rules

    def _for_all(self, line: Directive) -> None:
        self.migration.translated(line)
        if line.args[0] == "allow":
            self._allowed.append(_Allowed(line, (), (), needs_user=False))

    def _deny(self, line: Directive, terms: Sequence[_Term]) -> None:
        self.migration.translated(line)
        kinds = {acl.kind for _, acl in terms}
        if kinds == {"connect", "port"}:
            self._of_tunnels(line, terms)
            return
        if len(terms) > 1:
            self._deny_both(line, terms)
            return
        negated, acl = terms[0]
        if negated:
            self._deny_others(line, acl)
        else:
            self._deny_these(line, acl)

    def _deny_others(self, line: Directive, acl: SquidAcl) -> None:
        match acl.kind:
            case "source":
                self._only_from = _both(self._only_from, acl.values)
            case "target":
                self._only_to = _both(self._only_to, acl.values)
            case "auth":
                self.needs_user = True
            case "port":
                self._safe = [*acl.values]
            case _:
                self._not_known(line, [(True, acl)])

    def _deny_these(self, line: Directive, acl: SquidAcl) -> None:
        match acl.kind:
            case "source":
                self._denied += acl.values
            case "target":
                self._denied_targets += acl.values
            case "port":
                self._denied_targets += [f"*:{port}" for port in acl.values if "-" not in port]
            case "connect":
                self._tunnels = []
            case _:
                self._not_known(line, [(False, acl)])

    def _of_tunnels(self, line: Directive, terms: Sequence[_Term]) -> None:
        ports = next((each for each in terms if each[1].kind == "port"), None)
        if ports is None or not ports[0] or (True, _PREDEFINED["CONNECT"]) in terms:
            self.migration.gap(line, "`connect_ports` are those that tunnels may lead to")
        else:
            self._tunnels = [*ports[1].values]
            self.migration.translated(line, "listeners.NAME.connect_ports")

    def _deny_both(self, line: Directive, terms: Sequence[_Term]) -> None:
        """Read a rule about some clients and some targets: it holds for all clients here."""
        targets = [acl for negated, acl in terms if acl.kind == "target" and not negated]
        if targets:
            self._denied_targets += targets[0].values
            self.migration.gap(line, "`deny_to` is for all clients: until you decide, all are refused there")
        else:
            self._not_known(line, terms)

    def _not_known(self, line: Directive, terms: Sequence[_Term]) -> None:
        nearest = next((acl.nearest for _, acl in terms if acl.nearest), "`allow`, `deny_to`, `allow_to` and `auth`")
        if any(negated for negated, _ in terms):
            self._only_from = _both(self._only_from, _THIS_HOST)
            nearest += ". Until you decide, only this host may come"
        self.migration.gap(line, nearest)

    def _allow(self, line: Directive, terms: Sequence[_Term]) -> None:
        sources: list[str] = []
        targets: list[str] = []
        for negated, acl in terms:
            if negated and acl.kind == "target":
                self._denied_targets += acl.values
            elif negated or acl.kind not in ("source", "target", "auth"):
                self.migration.gap(line, acl.nearest or "`allow`, `allow_to` and `auth`; it is left out")
                return
            elif acl.kind == "source":
                sources += acl.values
            elif acl.kind == "target":
                targets += acl.values
        needs_user = any(acl.kind == "auth" for _, acl in terms)
        self.migration.translated(line)
        self._allowed.append(_Allowed(line, tuple(sources), tuple(targets), needs_user))

    # The listener

    def fill(self, listener: DraftTable) -> None:
        """Write them: the rules that a listener can have together."""
        kept = self._kept()
        self.needs_user = self.needs_user or any(each.needs_user for each in kept)
        self._sources(listener, kept)
        if self._denied:
            listener["deny"] = [*dict.fromkeys(self._denied)]
        self._ports(listener)
        targets = _union([each.targets for each in kept])
        if self._only_to is not None:
            targets = _both(targets, self._only_to)
        if targets is not None:
            listener["allow_to"] = [*dict.fromkeys(targets)] or [_NOWHERE]
        if self._denied_targets:
            listener["deny_to"] = [*dict.fromkeys(self._denied_targets)]

    def _sources(self, listener: DraftTable, kept: Sequence[_Allowed]) -> None:
        sources = _union([each.sources for each in kept])
        if self._only_from is not None:
            sources = _both(sources, self._only_from)
        if not kept or sources == []:
            listener["allow"] = [*_THIS_HOST]
            listener.note("no rule lets clients in but from this host")
        elif sources is not None:
            listener["allow"] = [*dict.fromkeys(sources)]
        elif not self.needs_user:
            listener["allow"] = [*_EVERYBODY]

    def _kept(self) -> list[_Allowed]:
        """Return the rules that go together; the others, which need a listener of their own, are gaps."""
        with_user = any(each.needs_user for each in self._allowed)
        anywhere = any(not each.targets for each in self._allowed)
        kept: list[_Allowed] = []
        for each in self._allowed:
            if with_user and not each.needs_user:
                note = "all must log in, also those: a listener of its own for them"
                self.migration.translated(each.line, note=note)
            elif (anywhere and each.targets) or (kept and not anywhere and each.sources != kept[0].sources):
                self.migration.gap(each.line, "`allow_to` is for all clients: a listener of its own for these")
            else:
                kept.append(each)
        return kept

    def _ports(self, listener: DraftTable) -> None:
        if self._tunnels is None:
            listener["connect_ports"] = "any"
        else:
            listener["connect_ports"] = [port for each in self._tunnels for port in _numbers(each)]
        if self._safe is not None:
            safe = {port for each in self._safe for port in _numbers(each)}
            tunnels = {port for each in self._tunnels or () for port in _numbers(each)}
            self._denied_targets += [f"*:{port}" for port in _SERVICES if port not in safe | tunnels]
            note = "requests with a URL may go to any port but those of other services in `deny_to`"
            line = next(each for each in self.root.below("http_access") if self._is_about_ports(each))
            self.migration.translated(line, "listeners.NAME.deny_to", note)

    def _is_about_ports(self, line: Directive) -> bool:
        return any(negated and acl.kind == "port" for negated, acl in self._terms(line))


def _union(lists: Sequence[Sequence[str]]) -> list[str] | None:
    """Return what is in any of the lists; None, which is all, if one is empty or there is none."""
    return [each for found in lists for each in found] if lists and all(lists) else None


def _both(known: list[str] | None, more: Sequence[str]) -> list[str]:
    """Return what is in both lists; the new one if there was none."""
    if known is None:
        return [*more]
    narrow = [each for each in known if _is_within(each, more)]
    return [*narrow, *(each for each in more if each not in narrow and _is_within(each, known))]


def _is_within(text: str, others: Sequence[str]) -> bool:
    """Whether a network is a part of one of others, or a name is among them."""
    if text in others:
        return True
    try:
        network = ip_network(text)
    except ValueError:
        return any(text.endswith(each[1:]) for each in others if each.startswith("*."))
    return any(_holds(each, network) for each in others)


def _holds(text: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        other = ip_network(text)
    except ValueError:
        return False
    first, last = int(network.network_address), int(network.broadcast_address)
    within = int(other.network_address) <= first and last <= int(other.broadcast_address)
    return other.version == network.version and within


def _numbers(text: str) -> range:
    low, _, high = text.partition("-")
    return range(int(low), min(int(high or low), _LARGEST) + 1)


def _acl_of(kind: str, values: Sequence[str]) -> SquidAcl:
    match kind:
        case "src":
            return SquidAcl("source", tuple(network for each in values for network in _networks(each)))
        case "dst":
            return SquidAcl("target", tuple(network for each in values for network in _networks(each)))
        case "dstdomain":
            return SquidAcl("target", tuple(name for each in values if each != "-n" for name in _names(each)))
        case "port":
            return SquidAcl("port", tuple(values))
        case "method" if values == ["CONNECT"]:
            return SquidAcl("connect")
        case "proxy_auth" if values == ["REQUIRED"]:
            return SquidAcl("auth")
        case "proto" if values == ["cache_object"]:
            return SquidAcl("manager")
    return SquidAcl("unknown", nearest=_NEAREST.get(kind, "`allow` knows networks, `allow_to` and `deny_to` targets"))


_NEAREST: Mapping[str, str] = {
    "proxy_auth": "`auth` lets in all users of a file: another listener with another file",
    "time": "rules hold at any time: a timer of the system can exchange the file, and reload",
    "url_regex": "`deny_to` knows hosts, networks and ports, not paths",
    "urlpath_regex": "`deny_to` knows hosts, networks and ports, not paths",
    "dstdom_regex": '`deny_to` knows names and "*.example.com"',
    "maxconn": "`max_per_source` of the listener",
    "external": "`auth` with a file of users",
    "arp": "`allow` knows addresses",
    "browser": "fields of requests are not judged",
    "rep_mime_type": "responses are not judged",
}


def _networks(text: str) -> list[str]:
    if text == "all":
        return [*_EVERYBODY]
    if "-" in text:
        raise ValueError(f"{text}: a range of addresses; write it as networks")
    address, _, mask = text.partition("/")
    if mask.count(".") == 3:
        number = sum(int(part).bit_count() for part in mask.split("."))
        return [f"{address}/{number}"]
    return [text]


def _names(text: str) -> list[str]:
    name = text.lower().lstrip(".")
    return [name, f"*.{name}"] if text.startswith(".") else [name]
