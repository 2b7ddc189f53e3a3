"""Read ``[cluster]``."""

from __future__ import annotations

from pathlib import Path

from lb.config.etcd import ETCD_KEYS, ETCD_RULES, read_etcd
from lb.model import ClusterSpec
from lb.model.shape import table_of
from lb.model.table import Table
from lb.model.values import name
from lb.net.own_name import own_name

__all__ = ["CLUSTER_TABLE", "cluster_prefix", "read_cluster"]


def cluster_prefix(cluster: str) -> str:
    """Return where the keys of a cluster are in etcd, unless its ``prefix`` says otherwise."""
    return f"/trio-lb/cluster/{cluster}/"


def read_cluster(root: Table, directory: Path) -> ClusterSpec | None:
    """Read the table; None if it is absent or not valid. Paths are relative to ``directory``."""
    if not root.has("cluster"):
        return None
    table = root.table("cluster")
    if not root.has("admin"):
        table.complain("needs an [admin] table: operators speak to a node over its admin endpoint")
    cluster = table.value("name", name)
    if not table.has("name"):
        table.complain('missing, as in name = "edge": all nodes of a cluster have it in common', table.at("name"))
    node = _node(table)
    if not table.has("etcd"):
        table.complain('missing, as in etcd = { endpoints = ["http://10.0.0.1:2379"] }', table.at("etcd"))
    below = table.table("etcd")
    etcd = read_etcd(below, directory, cluster_prefix(cluster or "?")) if table.has("etcd") else None
    below.finish()
    table.finish()
    return ClusterSpec(cluster, node, etcd) if cluster and node and etcd is not None else None


def _node(table: Table) -> str | None:
    if table.has("node"):
        return table.value("node", name)
    given, origin = own_name()
    try:
        return name(given)
    except ValueError as error:
        table.complain(f"{origin} is no name of a node: {error}", table.at("node"))
        return None


CLUSTER_TABLE = table_of(
    {"name": name, "node": name, "etcd": table_of(ETCD_KEYS, required=["endpoints"], rules=ETCD_RULES)},
    required=["name", "etcd"],
)
