"""Schedules the faults of a scenario's servers on the virtual clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial

from lb.tools.rehearse.recorder import Recorder
from lb.tools.rehearse.scenario import Does, FaultSpec
from lb.tools.rehearse.servers import Condition, VirtualServers
from lb.tools.rehearse.virtual_clock import VirtualClock

__all__ = ["inject"]

CONDITIONS: Mapping[Does, Condition] = {
    "die": "dead",
    "vanish": "unreachable",
    "hang": "hung",
    "slow": "healthy",
    "fail": "failing",
    "flap": "dead",
    "join": "healthy",
    "recover": "healthy",
}
"""Condition of a server after the fault begins; a flapping server changes it later."""


def inject(fault_specs: Iterable[FaultSpec], clock: VirtualClock, servers: VirtualServers, recorder: Recorder) -> None:
    """Schedule all faults of servers."""
    faults: dict[str, ServerFaults] = {}
    for fault_spec in fault_specs:
        for name in fault_spec.servers:
            server_faults = faults.setdefault(name, ServerFaults(name, clock, servers, recorder))
            server_faults.schedule(fault_spec)


class ServerFaults:
    """The faults of one server, named ``pool/server``. The fault that began last is in effect."""

    def __init__(self, name: str, clock: VirtualClock, servers: VirtualServers, recorder: Recorder) -> None:
        self._name = name
        self._clock = clock
        self._servers = servers
        self._recorder = recorder
        self._latest: FaultSpec | None = None

    def schedule(self, fault_spec: FaultSpec) -> None:
        if fault_spec.does == "join":
            self._become("dead")
        self._clock.at(fault_spec.at, partial(self._begin, fault_spec))
        if fault_spec.lasts != math.inf:
            self._clock.at(fault_spec.at + fault_spec.lasts, partial(self._end, fault_spec))

    def _become(self, condition: Condition, slowness: float = 1.0) -> None:
        for server in self._servers.named(self._name):
            server.become(condition, slowness)

    def _begin(self, fault_spec: FaultSpec) -> None:
        does = fault_spec.does
        self._latest = fault_spec
        self._recorder.injected(self._clock.now, self._name, does)
        self._become(CONDITIONS[does], fault_spec.by if does == "slow" else 1.0)
        if does == "flap":
            self._clock.after(fault_spec.every, partial(self._toggle, fault_spec, "healthy"))

    def _toggle(self, fault_spec: FaultSpec, condition: Condition) -> None:
        """Switch the condition of a flapping server."""
        if self._latest is fault_spec:
            self._become(condition)
            other: Condition = "dead" if condition == "healthy" else "healthy"
            self._clock.after(fault_spec.every, partial(self._toggle, fault_spec, other))

    def _end(self, fault_spec: FaultSpec) -> None:
        if self._latest is fault_spec:
            self._latest = None
            self._recorder.injected(self._clock.now, self._name, "recover")
            self._become("healthy")
