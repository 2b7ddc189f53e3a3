"""The scenario file: reads TOML into a frozen ``Scenario``, or reports all errors at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import attrs

from lb.config.load import ConfigError, load
from lb.config.toml_file import read_toml
from lb.model import Config
from lb.model.suggestion import did_you_mean
from lb.model.table import Table
from lb.model.values import (
    Reader,
    choice,
    duration,
    duration_above_zero,
    duration_or_never,
    file_name,
    network,
    shown,
    text,
    whole_number,
)
from lb.tools.rehearse.scenario import ClientsSpec, ConductSpec, FaultSpec, NodeFaultSpec, Reload, Scenario
from lb.tools.rehearse.virtual_config import virtual_config

__all__ = ["read_scenario"]


def _more_than_zero(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"must be a number above 0, not {shown(value)}")
    return float(value)


def _one_or_more(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 1 <= value < math.inf:
        raise ValueError(f"must be a number from 1, not {shown(value)}")
    return float(value)


_CLIENTS: Mapping[str, Reader[object]] = {
    "rate": _more_than_zero,
    "session": duration_above_zero,
    "distribution": choice(ClientsSpec, "distribution"),
    "arrivals": choice(ClientsSpec, "arrivals"),
    "sources": network,
    "patience": duration_or_never,
    "begins": duration,
    "ends": duration_above_zero,
    "requests": _one_or_more,
    "pause": duration_above_zero,
}
_CONDUCT: Mapping[str, Reader[object]] = {"connect": duration_above_zero, "answer": duration}
_FAULT: Mapping[str, Reader[object]] = {
    "by": _more_than_zero,
    "every": duration_above_zero,
    "lasts": duration_above_zero,
}
_ONLY_OF = {"by": ("slow",), "every": ("flap",), "lasts": ("die", "vanish", "hang", "slow", "fail", "flap")}
"""Kinds of faults per key."""


def read_scenario(path: Path, config: Config, nodes: Sequence[str] = ()) -> Scenario:
    """Read the scenario for a configuration and balancers of these names. Raises ConfigError with all errors."""
    file = read_toml(path)
    root = Table(file.content, "", [])
    reader = _ScenarioReader(root, path, config, tuple(nodes))
    scenario = reader.scenario()
    if root.errors:
        raise ConfigError(file.located(root.errors))
    return scenario


class _ScenarioReader:
    def __init__(self, root: Table, path: Path, config: Config, nodes: tuple[str, ...]) -> None:
        self._root = root
        self._path = path
        self._nodes = nodes
        self._duration = root.value("duration", duration_above_zero) or Scenario().duration
        self._events = [root.below(content, where) for where, content in root.items("events")]
        self._reloads = [self._reload(table) for table in self._events if table.has("reload")]
        configs = [config, *(reload.config for reload in self._reloads)]
        self._listeners = list(dict.fromkeys(name for each in configs for name in each.listeners))
        pools = [pool for each in configs for pool in each.pools.values()]
        self._servers = {f"{pool.name}/{server.name}" for pool in pools for server in pool.servers}

    def scenario(self) -> Scenario:
        root = self._root
        servers = root.table("servers")
        conduct = ConductSpec(**servers.values(_CONDUCT))
        conducts = {
            name: self._conduct(servers.table(name), name, conduct)
            for name, content in servers.content.items()
            if name not in _CONDUCT and (name in self._servers or isinstance(content, dict))
        }
        servers.finish()
        clients = [self._clients(name, table) for name, table in root.tables("clients")]
        if not root.content.get("clients"):
            root.complain("at least one is needed, as in [clients.all]", "clients")
        faults = [table for table in self._events if not table.has("reload")]
        fault_specs = [self._fault(table) for table in faults if not table.has("node")]
        node_fault_specs = [self._node_fault(table) for table in faults if table.has("node")]
        values = root.values({"seed": whole_number(), "detect": duration})
        root.finish()
        return Scenario(
            duration=self._duration,
            nodes=self._nodes,
            clients=tuple(clients),
            conduct=conduct,
            conducts=conducts,
            fault_specs=tuple(fault_specs),
            node_fault_specs=tuple(node_fault_specs),
            reloads=tuple(self._reloads),
            **values,
        )

    def _conduct(self, table: Table, name: str, common: ConductSpec) -> ConductSpec:
        if name not in self._servers:
            table.complain(self._no_server(name))
        conduct = attrs.evolve(common, **table.values(_CONDUCT))
        table.finish()
        return conduct

    def _no_server(self, name: str) -> str:
        of_pools = sorted(each for each in self._servers if each.endswith(f"/{name}"))
        hint = f", did you mean {_either(of_pools)}?" if of_pools else did_you_mean(name, self._servers)
        return f"there is no server {name!r}{hint}"

    def _clients(self, name: str, table: Table) -> ClientsSpec:
        listener = table.value("listener", text)
        if listener is not None and listener not in self._listeners:
            table.complain(
                f"there is no listener {listener!r}{did_you_mean(listener, self._listeners)}", table.at("listener")
            )
        if listener is None and not table.has("listener") and len(self._listeners) > 1:
            table.complain(f"missing: one of {', '.join(self._listeners)}", table.at("listener"))
        values = table.values(_CLIENTS)
        if not table.has("rate"):
            table.complain("missing, as in rate = 200 (sessions per second)", table.at("rate"))
        table.finish()
        clients = ClientsSpec(name=name, listener=listener or self._listeners[0], **{"rate": 1.0, **values})
        if clients.begins >= self._duration:
            table.complain("must be less than the duration of the scenario", table.at("begins"))
        elif clients.begins >= clients.ends:
            table.complain("must be after 'begins'", table.at("ends"))
        return clients

    def _at(self, table: Table) -> float:
        at = table.value("at", duration)
        if not table.has("at"):
            table.complain('missing, as in at = "10m"', table.at("at"))
        elif at is not None and at >= self._duration:
            table.complain("must be less than the duration of the scenario", table.at("at"))
        return at or 0.0

    def _reload(self, table: Table) -> Reload:
        at, file = self._at(table), table.value("reload", file_name)
        table.finish()
        config = Config()
        if file is not None:
            try:
                config = virtual_config(load(self._path.parent / file))
            except ConfigError as error:
                for line in error.errors:
                    table.complain(line, table.at("reload"))
        return Reload(at, file or "", config)

    def _fault(self, table: Table) -> FaultSpec:
        at = self._at(table)
        servers = self._fault_servers(table)
        does = self._does(table, FaultSpec)
        values = table.values(_FAULT)
        for key in values:
            if does is not None and does not in _ONLY_OF[key]:
                table.complain(f"is allowed for {_either(_ONLY_OF[key])} only", table.at(key))
        table.finish()
        return FaultSpec(at=at, servers=servers, does=does or "die", **values)  # type: ignore[arg-type]  # checked by choice()

    def _node_fault(self, table: Table) -> NodeFaultSpec:
        at = self._at(table)
        nodes = self._names(table, "node")
        if table.has("server"):
            table.complain("an event is of a 'server' or of a 'node', not of both", table.at("server"))
        if not self._nodes:
            table.complain("needs several balancers: --nodes N", table.at("node"))
        for name in nodes if self._nodes else ():
            if name not in self._nodes:
                table.complain(
                    f"there is no node {name!r}; the nodes are {self._nodes[0]} to {self._nodes[-1]}", table.at("node")
                )
        does = self._does(table, NodeFaultSpec)
        lasts = table.values({"lasts": duration_above_zero})
        if lasts and does == "recover":
            table.complain("is allowed for 'die' or 'vanish' only", table.at("lasts"))
        table.finish()
        return NodeFaultSpec(at, nodes, does or "die", **lasts)  # type: ignore[arg-type]  # checked by choice()

    def _does(self, table: Table, spec: type[FaultSpec | NodeFaultSpec]) -> object:
        does = table.value("does", choice(spec, "does"))
        if not table.has("does"):
            table.complain('missing, as in does = "die"', table.at("does"))
        return does

    def _fault_servers(self, table: Table) -> tuple[str, ...]:
        if not table.has("server"):
            table.complain('missing, as in server = "pool/server"', table.at("server"))
            return ()
        names = self._names(table, "server")
        for name in names:
            if name not in self._servers:
                table.complain(self._no_server(name), table.at("server"))
        return names

    def _names(self, table: Table, key: str) -> tuple[str, ...]:
        """Return the value of a key that has one name, or a list of them."""
        content = table.content[key]
        if content == []:
            table.complain(f"must name at least one {key}", table.at(key))
        items = table.items(key) if isinstance(content, list) else [(table.at(key), content)]
        return tuple(name for where, item in items if (name := table.convert(item, text, where)) is not None)


def _either(values: Collection[str]) -> str:
    return " or ".join(map(repr, values))
