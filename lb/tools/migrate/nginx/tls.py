"""TLS of listeners and of pools."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lb.tools.migrate.draft import DraftTable, DraftValue
from lb.tools.migrate.nginx.scope import Scope

__all__ = ["fill_listener_tls", "fill_pool_tls"]

_OLD = {"SSLv2", "SSLv3", "TLSv1", "TLSv1.1"}


def fill_listener_tls(listener: DraftTable, servers: Sequence[Scope], directory: Path) -> None:
    """Fill the TLS of a listener from that of its servers, the default one first."""
    tls = listener.table("tls")
    pairs = [pair for each in servers for pair in _certificates(each, directory)]
    pairs = [pair for number, pair in enumerate(pairs) if pair not in pairs[:number]]
    if len(pairs) == 1:
        tls.update(pairs[0])
    elif pairs:
        tls["certificates"] = [*pairs]
    else:
        for each in servers:
            each.migration.gap(
                each.last("ssl_reject_handshake") or each.block, "a listener with TLS needs a certificate"
            )
        tls["certificate"] = ""
    for each in servers:
        _versions(tls, each)
    _clients(tls, servers, directory)


def _certificates(scope: Scope, directory: Path) -> Iterable[dict[str, DraftValue]]:
    """Yield the certificates of a server, each with its key."""
    certificates, keys = scope.all("ssl_certificate"), scope.all("ssl_certificate_key")
    for certificate, key in zip(certificates, keys, strict=False):
        scope.migration.translated(certificate)
        scope.migration.translated(key)
        if any("$" in each.args[0] or each.args[0].startswith(("data:", "engine:")) for each in (certificate, key)):
            scope.migration.gap(certificate, "certificates are files with a fixed name")
        yield {"certificate": str(directory / certificate.args[0]), "key": str(directory / key.args[0])}


def _versions(tls: DraftTable, scope: Scope) -> None:
    directive = scope.last("ssl_protocols")
    if directive is None:
        return
    old = _OLD & set(directive.args)
    if old:
        scope.migration.gap(directive, f"{' and '.join(sorted(old))} is refused: the least is TLS 1.2")
    else:
        scope.migration.translated(directive)
    if set(directive.args) == {"TLSv1.3"}:
        tls["min_version"] = "1.3"


def _clients(tls: DraftTable, servers: Sequence[Scope], directory: Path) -> None:
    """Fill mutual TLS. If one server asks for a certificate, the listener does so."""
    wanted = [each.take("ssl_verify_client") or "off" for each in servers]
    if set(wanted) == {"off"}:
        return
    tls["client_certificate"] = "required" if "on" in wanted else "optional"
    for scope, verify in zip(servers, wanted, strict=True):
        directive = scope.last("ssl_verify_client")
        if directive is not None and verify == "optional_no_ca":
            scope.migration.gap(directive, "a certificate that is shown must be of `client_ca`")
        elif directive is not None and len(set(wanted)) > 1:
            scope.migration.gap(directive, "it is one for the whole listener: the strictest counts")
        authority = scope.last("ssl_client_certificate")
        if authority is None or verify == "off":
            continue
        path = str(directory / authority.args[0])
        scope.migration.translated(authority)
        if tls.get("client_ca") not in (None, path):
            scope.migration.gap(authority, "`client_ca` is one file for the whole listener: join the two")
        else:
            tls["client_ca"] = path


def fill_pool_tls(pool: DraftTable, scope: Scope, directory: Path, *, host: str, prefix: str = "proxy") -> None:
    """Fill the TLS towards servers. ``host`` is that of the URL, which nginx takes for their name."""
    tls = pool.table("tls")
    verify = scope.is_on(f"{prefix}_ssl_verify")
    tls["verify"] = verify
    authority = scope.take(f"{prefix}_ssl_trusted_certificate")
    if authority is not None and verify:
        tls["ca"] = str(directory / authority)
    name = scope.take(f"{prefix}_ssl_name")
    sent = scope.is_on(f"{prefix}_ssl_server_name")
    if name is not None and "$" not in name and (sent or verify):
        tls["server_name"] = name
    elif (sent or verify) and "server_name" not in tls:
        tls["server_name"] = host
    for key in ("certificate", "certificate_key"):
        path = scope.take(f"{prefix}_ssl_{key}")
        if path is not None:
            tls[key.removeprefix("certificate_")] = str(directory / path)
