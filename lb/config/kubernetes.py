"""Read which service of Kubernetes has the servers of a pool: the table ``[pools.NAME.kubernetes]``."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from lb.config.tls import ca_certificates
from lb.model.address import Address
from lb.model.kubernetes import KubernetesSource
from lb.model.shape import NOWHERE, given, shaped, table_of, when, whole
from lb.model.table import Table
from lb.model.values import Reader, choice, duration, file_name, shown, text

__all__ = ["KUBERNETES_TABLE", "read_kubernetes_source"]

_LABEL = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SERVICE = re.compile(rf"(?:(?P<namespace>{_LABEL})/)?(?P<name>{_LABEL})")
_PORT_NAME = re.compile(_LABEL)
_LAST_PORT = 65535
_LOCAL = r"^http://(?:localhost|127\.[0-9.]+|\[[0:]*:0*1\])(?:[:/]|$)"


def read_kubernetes_source(pool: Table, directory: Path) -> KubernetesSource | None:
    """Read ``[pools.<name>.kubernetes]``; None if it is absent or not valid. Paths are relative to ``directory``."""
    if not pool.has("kubernetes"):
        return None
    table = pool.table("kubernetes")
    if not isinstance(pool.content["kubernetes"], dict):
        return None
    service = table.value("service", _service)
    if not table.has("service"):
        table.complain('missing, as in service = "default/web"', table.at("service"))
    readers: Mapping[str, Reader[object]] = {
        "port": _port,
        "api": _api,
        "ca": ca_certificates(directory),
        "family": choice(KubernetesSource, "family"),
        "prefer_zone": _zone,
        "hold": duration,
    }
    values = table.values(readers)
    token_file = table.value("token_file", file_name)
    table.finish()
    _check(table, str(values.get("api", "")))
    if service is None:
        return None
    namespace, name = service
    token = str(directory / token_file) if token_file else ""
    return KubernetesSource(name, namespace, token_file=token, **values)


def _check(table: Table, api: str) -> None:
    if importlib.util.find_spec("httpx") is None:
        table.complain("needs httpx: install trio-lb with the extra 'kubernetes'")
    if api.startswith("http:"):
        if table.has("ca"):
            table.complain("has no effect without an 'api' that begins with https://", table.at("ca"))
        if table.has("token_file") and not Address.parse(_place(api)).is_local:
            table.complain("a token is sent by https only, or to this host", table.at("token_file"))


@shaped({"type": "string", "pattern": whole(rf"(?:{_LABEL}/)?{_LABEL}")})
def _service(value: object) -> tuple[str, str]:
    """Return the namespace, which may be empty, and the name."""
    match = _SERVICE.fullmatch(text(value))
    if match is None:
        raise ValueError(f"must be a service as 'namespace/name', or 'name' in the own namespace, not {shown(value)}")
    return match["namespace"] or "", match["name"]


@shaped({"type": ["string", "integer"], "pattern": whole(f"(?:{_LABEL})?"), "minimum": 1, "maximum": _LAST_PORT})
def _port(value: object) -> str | int:
    """Read the name of a port, or a number."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LAST_PORT:
        return value
    if isinstance(value, str) and (not value or _PORT_NAME.fullmatch(value)):
        return value
    raise ValueError(f"must be the name of a port like 'http', or a number from 1 to {_LAST_PORT}, not {shown(value)}")


@shaped({"type": ["string", "boolean"]})
def _zone(value: object) -> str | bool:
    """Read the name of a zone; True = the one that the environment says."""
    if not isinstance(value, str | bool):
        raise ValueError(f"must be the name of a zone, or true, not {shown(value)}")  # noqa: TRY004 - a value of the file
    return value


def _place(url: str) -> str:
    """Return host and port of a URL."""
    scheme, _, rest = url.partition("://")
    place = rest.partition("/")[0]
    return place if re.search(":[0-9]+$", place) else f"{place}:{'443' if scheme == 'https' else '80'}"


@shaped({"type": "string", "pattern": whole("(?:https?://[^@?# ]+)?")})
def _api(value: object) -> str:
    """Read the URL of the API server: http or https, a host, a port and a path, the last two if needed."""
    given = text(value)
    if not given:
        return ""
    good = given.startswith(("https://", "http://")) and given.isprintable() and not {"@", "?", "#", " "} & {*given}
    try:
        good = good and bool(Address.parse(_place(given)).host)
    except ValueError:
        good = False
    if not good:
        found = "one with a login: use 'token_file'" if "@" in given else shown(given)
        raise ValueError(f"must be a URL like 'https://10.0.0.1:6443', not {found}")
    return given.removesuffix("/")


KUBERNETES_TABLE = table_of(
    {
        "service": _service,
        "port": _port,
        "api": _api,
        "token_file": file_name,
        "ca": text,
        "family": choice(KubernetesSource, "family"),
        "prefer_zone": _zone,
        "hold": duration,
    },
    required=["service"],
    rules=[
        when(given(api={"pattern": "^http:"}), {"properties": {"ca": NOWHERE}}),
        when(given(api={"pattern": "^http:", "not": {"pattern": _LOCAL}}), {"properties": {"token_file": NOWHERE}}),
    ],
)
