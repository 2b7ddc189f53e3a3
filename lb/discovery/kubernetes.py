"""Discovery in Kubernetes: the endpoints of a service."""

from __future__ import annotations

import os
from collections.abc import Generator
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
from lb.net.cooperate import done_at_once, done_in_turns, in_turns

__all__ = ["KubernetesServers"]

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
        zone = os.environ.get("LB_ZONE", "") if source.prefer_zone is True else str(source.prefer_zone or "")
        self._servers = _Servers(zone)
        self._findings = findings
        self._endpoints = ServiceEndpoints(source.port, source.family)
        self._not_watched = ""

    async def listed(self, slices: list[SliceDocument]) -> None:
        async for document in in_turns(slices):
            self._endpoints.put(document)
        self._endpoints.keep(document["metadata"]["name"] for document in slices)
        self._report(await done_in_turns(self._servers.making(self._endpoints.endpoints)))

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
        self._report(done_at_once(self._servers.making(self._endpoints.endpoints)))

    def _report(self, servers: tuple[ServerSpec, ...]) -> None:
        errors = (*self._endpoints.errors, *filter(None, (self._not_watched,)))
        self._findings.found(servers, errors, hold_all=self._source.hold)


class _Servers:
    """Makes servers of endpoints. What stays is the same object, so that a change compares most by identity."""

    def __init__(self, zone: str) -> None:
        self._zone = zone
        self._made: dict[tuple[ServiceEndpoint, bool], ServerSpec] = {}

    def making(self, endpoints: tuple[ServiceEndpoint, ...]) -> Generator[None, None, tuple[ServerSpec, ...]]:
        """Return a server for each endpoint, in steps. Those near the zone weigh more, if there are ready ones."""
        near = {each for each in endpoints if self._zone and each.is_near(self._zone)}
        if not any(each.ready for each in near):
            near = set()
        made = {}
        for key in ((each, each in near) for each in endpoints):
            if key in self._made:
                made[key] = self._made[key]
            else:
                made[key] = _server(*key)
                yield
        self._made = made
        return tuple(made.values())


def _server(endpoint: ServiceEndpoint, near: bool) -> ServerSpec:
    return ServerSpec(
        endpoint.name,
        Address.parse(Address.of(endpoint.host, endpoint.port).text),
        weight=NEAR_WEIGHT if near else 1,
        drained=endpoint.draining,
    )
