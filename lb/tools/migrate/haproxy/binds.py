"""``bind`` lines as listeners: those with TLS and those without are two, and so are those with a PROXY header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from lb.tools.migrate.draft import DraftTable, DraftValue
from lb.tools.migrate.haproxy.acl_tests import NoCounterpartError, values_of_file
from lb.tools.migrate.haproxy.proxies import Proxy
from lb.tools.migrate.haproxy.values import bound_addresses
from lb.tools.migrate.migration import Directive, Migration

__all__ = ["BindGroup", "TlsDefaults", "bind_groups", "fill_binds"]

_WITH_ARGUMENT = {
    *("crt", "crt-list", "ca-file", "verify", "alpn", "npn", "ciphers", "ciphersuites", "curves", "ecdhe", "mode"),
    *("user", "group", "uid", "gid", "maxconn", "backlog", "name", "id", "interface", "ssl-min-ver", "ssl-max-ver"),
    *(
        "process",
        "thread",
        "shards",
        "level",
        "nice",
        "tcp-ut",
        "mss",
        "namespace",
        "crl-file",
        "ca-sign-file",
        "proto",
    ),
    *("severity-output", "expose-fd", "ca-verify-file", "crt-ignore-err", "ca-ignore-err", "tls-ticket-keys", "label"),
    *("guid-prefix", "quic-cc-algo", "sigalgs", "client-sigalgs", "default-crt", "nbconn"),
}
_USED = {
    *("ssl", "crt", "crt-list", "ca-file", "verify", "alpn", "accept-proxy", "v4v6", "v6only", "transparent", "mode"),
    *("user", "group", "uid", "gid", "backlog", "ssl-min-ver", "default-crt"),
}
_NOT_NEEDED = re.compile(
    r"npn|ciphers|ciphersuites|curves|ecdhe|name|id|ssl-max-ver|process|thread|shards|level|nice|tfo|defer-accept"
    r"|no-sslv3|no-tlsv1[01]|no-tls-tickets|tls-ticket-keys|prefer-client-ciphers|force-tlsv12|generate-certificates"
    r"|allow-0rtt|tcp-ut|mss|expose-fd|severity-output|strict-sni|no-ca-names|crt-ignore-err|ca-ignore-err|proto|sigalgs"
)


@attrs.frozen
class TlsDefaults:
    """What ``global`` says of certificates."""

    certificates: str = ""
    """``crt-base``"""
    authorities: str = ""
    """``ca-base``"""
    min_version: Literal["", "1.3"] = ""


@attrs.define
class BindGroup:
    """The ``bind`` lines that become one listener."""

    is_tls: bool
    is_behind_proxy: bool
    binds: list[tuple[Directive, Mapping[str, list[str]]]] = attrs.field(factory=list)
    addresses: list[str] = attrs.field(factory=list)

    @property
    def port(self) -> str:
        """The port, if there is one only."""
        ports = {each.rpartition(":")[2] for each in self.addresses if not each.startswith("unix:")}
        return next(iter(ports)) if len(ports) == 1 else ""

    @property
    def facts(self) -> frozenset[str]:
        """What is true of all requests of the listener."""
        ports = {f"port {each.rpartition(':')[2]}" for each in self.addresses}
        return frozenset({*ports, *({"tls"} if self.is_tls else ())})


def bind_groups(proxy: Proxy, *, by_port: bool) -> list[BindGroup]:
    """Return the listeners that the lines of a proxy make; with ``by_port``, one for each port."""
    found: dict[tuple[bool, bool, str], BindGroup] = {}
    for each in proxy.own("bind"):
        options = _options(each.args[1:])
        addresses = bound_addresses(each.args[0], both_families="v4v6" in options) if each.args else None
        proxy.migration.translated(each)
        if addresses is None:
            proxy.migration.gap(each, "`bind` is an address and a port, or a Unix socket")
            continue
        _rest(each, options, proxy.migration)
        for address in addresses:
            at = ("ssl" in options, "accept-proxy" in options, address.rpartition(":")[2] if by_port else "")
            group = found.setdefault(at, BindGroup(*at[:2]))
            group.addresses.append(address)
            if (each, options) not in group.binds:
                group.binds.append((each, options))
    return [*found.values()]


def _options(words: Sequence[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    rest = [*words]
    while rest:
        word = rest.pop(0)
        found.setdefault(word, []).extend([rest.pop(0)] if word in _WITH_ARGUMENT and rest else [])
    return found


def _rest(bind: Directive, options: Iterable[str], migration: Migration) -> None:
    unknown = [each for each in options if each not in _USED and not _NOT_NEEDED.fullmatch(each)]
    if unknown:
        migration.gap(bind, f"{', '.join(unknown)}: `max_connections` and `accept_proxy` of the listener come nearest")


def fill_binds(listener: DraftTable, group: BindGroup, proxy: Proxy, defaults: TlsDefaults, directory: Path) -> None:
    """Write the addresses of a listener, and its TLS."""
    listener["bind"] = group.addresses[0] if len(group.addresses) == 1 else [*group.addresses]
    if group.is_behind_proxy:
        listener["accept_proxy"] = True
    for bind, options in group.binds:
        if "transparent" in options:
            listener["freebind"] = True
        if options.get("proto") == ["h2"] and proxy.is_http and not group.is_tls:
            listener["h2c"] = True
        for name, key in (("mode", "socket_mode"), ("backlog", "backlog")):
            if options.get(name):
                listener[key] = int(options[name][0]) if name == "backlog" else options[name][0].zfill(4)
        user = (options.get("user") or options.get("uid") or [""])[0]
        owner = ":".join(filter(None, (user, *(options.get("group") or options.get("gid") or [])[:1])))
        if owner:
            listener["socket_owner"] = owner if user else f":{owner}"
        if group.is_tls:
            try:
                _tls(listener.table("tls"), options, defaults, directory, is_http=proxy.is_http)
            except NoCounterpartError as error:
                proxy.migration.gap(bind, str(error))


def _tls(
    tls: DraftTable, options: Mapping[str, list[str]], defaults: TlsDefaults, directory: Path, *, is_http: bool
) -> None:
    files = [
        path_below(defaults.certificates, each) for each in options.get("default-crt", []) + options.get("crt", [])
    ]
    for each in options.get("crt-list", []):
        lines = values_of_file(directory / each)
        files += [path_below(defaults.certificates, line.split()[0]) for line in lines]
    known = [*_certificates(tls), *(found for each in files for found in _expanded(each, directory))]
    unique = [*dict.fromkeys(known)]
    if len(unique) == 1:
        tls["certificate"] = unique[0]
    elif unique:
        tls.keys.pop("certificate", None)
        tls["certificates"] = [{"certificate": each} for each in unique]
    version = (options.get("ssl-min-ver") or [""])[0].removeprefix("TLSv")
    if "1.3" in (version, defaults.min_version):
        tls["min_version"] = "1.3"
    if options.get("ca-file"):
        tls["client_ca"] = path_below(defaults.authorities, options["ca-file"][0])
        verify = (options.get("verify") or ["required"])[0]
        tls["client_certificate"] = verify if verify in ("none", "optional") else "required"
    if options.get("alpn") and not is_http:
        tls["alpn"] = [*options["alpn"][0].split(",")]


def _certificates(tls: DraftTable) -> list[str]:
    """Return the certificates that other lines gave."""
    one = tls.get("certificate")
    several = tls.get("certificates")
    found: list[DraftValue] = several if isinstance(several, list) else []
    return [str(one)] if one else [str(each["certificate"]) for each in found if isinstance(each, dict)]


def _expanded(path: str, directory: Path) -> list[str]:
    """Return the files of a directory of certificates, or the file. Raises NoCounterpartError."""
    at = directory / path
    if at.is_dir():
        return [str(each) for each in sorted(at.iterdir()) if each.is_file() and each.suffix not in (".ocsp", ".sctl")]
    if path.endswith("/"):
        raise NoCounterpartError(f"name the files of {path} in `certificates`")
    return [path]


def path_below(base: str, path: str) -> str:
    """Return a path below ``crt-base`` or ``ca-base``."""
    return path if path.startswith("/") or not base else f"{base.rstrip('/')}/{path}"
