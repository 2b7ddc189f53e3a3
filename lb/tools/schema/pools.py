"""The shape of ``[pools.NAME]``: servers, health checks, strategy."""

from __future__ import annotations

from healthcheck import registry as probes
from lb.config.etcd import ETCD_SOURCE_TABLE
from lb.config.health import CHECK_KEYS, HEALTH_KEYS, WITHOUT_TLS
from lb.config.kubernetes import KUBERNETES_TABLE
from lb.config.pool_http import POOL_HTTP_TABLE, STICKY_TABLE
from lb.config.pool_proxy import PROXY_TABLE
from lb.config.pools import OUTLIER_KEYS, PASSIVE_KEYS, POOL_KEYS, SERVER_KEYS, dns_name, name_of_server, nameserver
from lb.config.tls import POOL_TLS_TABLE
from lb.model import DnsSource
from lb.model.shape import (
    NOWHERE,
    Keys,
    Shape,
    given,
    list_of,
    one_or_list,
    or_boolean,
    shape_of,
    table_of,
    when,
)
from lb.model.values import choice, duration, file_name, ip_address, server_address, whole_number
from lb.tools.schema.kinds import kind_name, of_kinds, options_table
from strategies import registry as strategies

__all__ = ["SERVERS_TABLE", "pool_table"]


_SERVER_KEYS: Keys = {
    "address": server_address(None),
    "name": name_of_server(None),
    **SERVER_KEYS,
    "check_address": ip_address,
    "dns": dns_name,
    "port": whole_number(least=1, most=65_535),
    "family": choice(DnsSource, "family"),
    "hold": duration,
}
_OF_DNS_ALONE = ("dns", "port", "family", "hold")
_NOT_OF_DNS = ("address", "name", "check_address")
_SRV = given(dns={"pattern": "^_"})
SERVERS_TABLE: Shape = list_of(
    {
        **table_of(
            _SERVER_KEYS,
            rules=[
                {
                    "if": {"required": ["dns"]},
                    "then": {"properties": dict.fromkeys(_NOT_OF_DNS, False)},
                    "else": {"required": ["address"], "properties": dict.fromkeys(_OF_DNS_ALONE, False)},
                },
                when(_SRV, {"properties": {"port": NOWHERE, "weight": NOWHERE}}),
                when(given(dns={"not": {"pattern": "^_"}}), {"required": ["port"]}),
            ],
        ),
        "type": ["string", "object"],
        "pattern": shape_of(server_address(None))["pattern"],
    },
    least=1,
)
_POOL_KEYS: Keys = {
    **POOL_KEYS,
    "servers": SERVERS_TABLE,
    "servers_file": file_name,
    "etcd": ETCD_SOURCE_TABLE,
    "kubernetes": KUBERNETES_TABLE,
    "nameservers": list_of(nameserver),
    "passive": table_of(
        PASSIVE_KEYS,
        rules=[when(given(failures={"const": 0}), {"properties": {"statuses": {"maxItems": 0}}})],
    ),
    "outlier": or_boolean(table_of(OUTLIER_KEYS), False, True),
    "source": one_or_list(ip_address),
    "http": POOL_HTTP_TABLE,
    "sticky": STICKY_TABLE,
    "tls": POOL_TLS_TABLE,
    "proxy": PROXY_TABLE,
}
"""Without ``strategy`` and ``health``, which depend on plug-ins."""
_POOL_RULES: tuple[Shape, ...] = (
    {"anyOf": [{"required": ["servers"]}, given(servers_file={"minLength": 1}), given(etcd={}), given(kubernetes={})]},
    when({"not": given(send_proxy={"const": "v2"})}, {"properties": {"proxy_tlvs": {"maxItems": 0}}}),
)


def pool_table() -> Shape:
    """Return the shape of a pool, with the options of the strategies and probes that are installed."""
    keys: Keys = {**_POOL_KEYS, "strategy": _strategy(), "health": or_boolean(_health(), False)}
    return table_of(keys, rules=_POOL_RULES)


def _strategy() -> Shape:
    """Return the shape of ``strategy``: a name, or a table with a name and options."""
    names = strategies.names()
    common = table_of({"name": kind_name(names)}, required=["name"])
    table = of_kinds("name", None, common, {each: options_table(strategies.load(each)) for each in names})
    return {"anyOf": [kind_name(names), table]}


def _health() -> Shape:
    """Return the shape of ``health``: with one probe and its options, or with several ``checks``."""
    several = table_of({**dict.fromkeys((*HEALTH_KEYS, "tls", "checks"), True), "probe": NOWHERE})
    one = _checked({**HEALTH_KEYS, "checks": list_of(_checked(CHECK_KEYS), least=1)})
    rules = one["allOf"]
    assert isinstance(rules, list)  # noqa: S101 - of of_kinds
    of_an_agent = given(probe={"const": "agent"})
    alone = when(
        {"anyOf": [of_an_agent, given(checks={"type": "array", "contains": of_an_agent})]},
        {"properties": {"share": {"const": False}}},
    )
    return {**one, "allOf": [{"if": given(checks={}), "then": several, "else": {"allOf": rules}}, alone]}


def _checked(keys: Keys) -> Shape:
    """Return the shape of a table with a probe and its options."""
    names = probes.names()
    without_tls = given(probe={"enum": list(WITHOUT_TLS)})
    common = table_of(
        {**keys, "tls": POOL_TLS_TABLE, "probe": kind_name(names)},
        rules=[when(without_tls, {"properties": {"tls": {"enum": [False, {}]}}})],
    )
    return of_kinds("probe", "tcp", common, {each: options_table(probes.load(each)) for each in names})
