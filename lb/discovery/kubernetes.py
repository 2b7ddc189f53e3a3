"""Discovery in Kubernetes: the endpoints of a service."""

from __future__ import annotations

import os
from typing import NoReturn

import attrs
import trio

from lb.discovery.source import Findings
from lb.kubernetes.api_server import ApiServer
from lb.kubernetes.endpoints import ServiceEndpoint, ServiceEndpoints, SliceDocument
from lb.kubernetes.follower import SliceFollower
from lb.kubernetes.watch_lines import WatchEvent
from lb.model import ServerSpec
from lb.model.address import Address
from lb.model.kubernetes import KubernetesSource

__all__ = ["KubernetesServers", "servers_of_endpoints"]

NEAR_WEIGHT = 10
"""Weight of a server in the preferred zone; the others have 1. A guess: near servers take nearly all, and more of them
are needed before the others notice. Hash tables grow with weights."""
AFTER_BUG = 1.0
"""Seconds before another attempt after a bug of a library."""


@attrs.frozen
class KubernetesServers:
    """Servers in Kubernetes. Implements :class:`lb.discovery.source.Source`."""

    source: KubernetesSource

    @property
    def where(self) -> str:
        return f"in {str(self.source).partition(' ')[2]}"

    @property
    def asked(self) -> str:
        return self.source.api or "the API server"

    async def watch(self, findings: Findings) -> NoReturn:
        while True:
            server = ApiServer(self.source)
            observer = _Slices(self.source, findings)
            try:
                await SliceFollower(server, observer).run()
            except Exception as exception:  # noqa: BLE001 - a library that fails must not end the balancer
                findings.fault(exception)
                observer.lost(type(exception).__name__)
            finally:
                await server.close()
            await trio.sleep(AFTER_BUG)

    def read(self) -> None:
        """Return None: it takes the network."""


class _Slices:
    """Passes on the servers of a service. Implements :class:`lb.kubernetes.follower.SliceObserver`."""

    def __init__(self, source: KubernetesSource, findings: Findings) -> None:
        self._source = source
        self._zone = os.environ.get("LB_ZONE", "") if source.prefer_zone is True else str(source.prefer_zone or "")
        self._findings = findings
        self._endpoints = ServiceEndpoints(source.port, source.family)
        self._not_watched = ""

    def listed(self, slices: list[SliceDocument]) -> None:
        for document in slices:
            self._endpoints.put(document)
        self._endpoints.keep(document["metadata"]["name"] for document in slices)
        self._found()

    def changed(self, events: list[WatchEvent]) -> None:
        for event in events:
            if event.kind == "DELETED":
                self._endpoints.remove(event.document["metadata"]["name"])
            elif event.kind != "BOOKMARK":
                self._endpoints.put(event.document)
        if any(event.kind != "BOOKMARK" for event in events):
            self._found()

    def watching(self) -> None:
        if self._not_watched:
            self._not_watched = ""
            self._found()

    def not_watched(self, error: str) -> None:
        self._not_watched = error
        self._found()

    def lost(self, error: str) -> None:
        self._findings.found(None, (error,))

    def _found(self) -> None:
        errors = (*self._endpoints.errors, *filter(None, (self._not_watched,)))
        servers = servers_of_endpoints(self._endpoints.endpoints, self._zone)
        self._findings.found(servers, errors, hold_all=self._source.hold)


def servers_of_endpoints(endpoints: tuple[ServiceEndpoint, ...], zone: str) -> tuple[ServerSpec, ...]:
    """Return a server for each endpoint. Those near a zone weigh more, if there are ready ones."""
    near = {each.name for each in endpoints if zone and each.is_near(zone)}
    if not any(each.name in near and each.ready for each in endpoints):
        near = set()
    return tuple(
        ServerSpec(
            each.name,
            Address.parse(f"[{each.host}]:{each.port}" if ":" in each.host else f"{each.host}:{each.port}"),
            weight=NEAR_WEIGHT if each.name in near else 1,
            drained=each.draining,
        )
        for each in endpoints
    )
