"""Read where etcd is: the table ``[pools.NAME.etcd]``, and those of other sections with the same keys."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from lb.config.secret_file import secret_in_file
from lb.config.tls import ca_certificates, read_certificate
from lb.model import EtcdSource, EtcdSpec, Secret
from lb.model.address import Address
from lb.model.shape import HOST_PATTERN, PORT_PATTERN, Keys, given, list_of, shaped, table_of, when, whole
from lb.model.table import Table
from lb.model.values import duration, file_name, shown, text

__all__ = ["ETCD_KEYS", "ETCD_RULES", "ETCD_SOURCE_TABLE", "etcd_endpoint", "read_etcd", "read_etcd_source"]

_SCHEMES = ("http", "https")
_TOGETHER = (("user", "password_file"), ("password_file", "user"))
"""Keys of a login, each with the one that it needs."""


def read_etcd(table: Table, directory: Path, prefix: str = "") -> EtcdSpec | None:
    """Read where etcd is, without finishing the table. ``prefix`` is the default; without one it must be given.

    Errors are added to the table; None if there is no endpoint or no prefix. Paths are relative to ``directory``.
    """
    endpoints = table.each("endpoints", etcd_endpoint)
    if not table.has("endpoints") or table.content["endpoints"] == []:
        table.complain('missing, as in endpoints = ["http://10.0.0.1:2379"]', table.at("endpoints"))
    found = table.value("prefix", _prefix) if table.has("prefix") else prefix
    if found == "":
        table.complain('missing, as in prefix = "/trio-lb/pools/web/"', table.at("prefix"))
    ca = table.value("ca", ca_certificates(directory))
    mutual = table.has("certificate") or table.has("key")
    certificate = read_certificate(table, directory) if mutual else None
    user, password = _login(table, directory)
    if importlib.util.find_spec("httpx") is None:
        table.complain("needs httpx: install trio-lb with the extra 'etcd', as in pip install 'trio-lb[etcd]'")
    if endpoints and not any(each.startswith("https:") for each in endpoints):
        for key in ("ca", "certificate"):
            if table.has(key):
                table.complain("has no effect without an endpoint that begins with https://", table.at(key))
    return EtcdSpec(endpoints, found, ca, certificate, user, password) if endpoints and found else None


def read_etcd_source(pool: Table, directory: Path) -> EtcdSource | None:
    """Read ``[pools.<name>.etcd]``; None if it is absent or not valid."""
    if not pool.has("etcd"):
        return None
    table = pool.table("etcd")
    if not isinstance(pool.content["etcd"], dict):
        return None
    spec = read_etcd(table, directory)
    values = table.values({"hold": duration})
    file = table.value("file", file_name)
    table.finish()
    if spec is None:
        return None
    return EtcdSource(spec, file=str(directory / file) if file else "", directory=str(directory), **values)


@shaped({"type": "string", "pattern": whole(rf"https?://{HOST_PATTERN}:{PORT_PATTERN}/?")})
def etcd_endpoint(value: object) -> str:
    """Read the URL of an endpoint: http or https, a host and a port."""
    given = text(value)
    scheme, _, place = given.partition("://")
    try:
        address = Address.parse(place.removesuffix("/"))
    except ValueError:
        address = None
    if scheme not in _SCHEMES or address is None or not (address.host and address.port):
        found = "one with a login: use 'user' and 'password_file'" if "@" in place else shown(given)
        raise ValueError(f"must be a URL with a port like 'http://10.0.0.1:2379', not {found}")
    return given.removesuffix("/")


@shaped({"type": "string", "pattern": r"^[^\x00-\x1f\x7f]*/$"})
def _prefix(value: object) -> str:
    prefix = text(value)
    if not prefix.isprintable():
        raise ValueError(f"must not hold control characters, like {shown(prefix)}")
    if not prefix:
        raise ValueError("must not be empty: it would take all keys along")
    if not prefix.endswith("/"):
        raise ValueError(f"must end with '/', as in {shown(prefix + '/')}: it would take other keys along")
    return prefix


def _login(table: Table, directory: Path) -> tuple[str, Secret | None]:
    """Read ``user`` and ``password_file``, which belong together."""
    user = table.value("user", text) or ""
    password = table.value("password_file", secret_in_file(directory))
    for key, other in _TOGETHER:
        if table.has(key) and not table.has(other):
            table.complain(f"missing, {key!r} has no effect without it", table.at(other))
    return (user, Secret(password)) if user and password else ("", None)


ETCD_KEYS: Keys = {
    "endpoints": list_of(etcd_endpoint, least=1),
    "prefix": _prefix,
    "ca": text,
    "certificate": text,
    "key": text,
    "user": text,
    "password_file": file_name,
}
ETCD_RULES = [when(given(**{key: {}}), {"required": [other]}) for key, other in _TOGETHER]
"""What holds between the keys of a table with ETCD_KEYS."""
ETCD_SOURCE_TABLE = table_of(
    {**ETCD_KEYS, "hold": duration, "file": file_name}, required=["endpoints", "prefix"], rules=ETCD_RULES
)
