"""The endpoints of a service, as its EndpointSlices have them (discovery.k8s.io/v1). No I/O.

Fields and their defaults are those of Kubernetes' API reference: an unset ``ready`` is true, an unset ``serving`` is
what ``ready`` is, an unset ``terminating`` is false.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import attrs

from lb.model.address import Address

__all__ = ["ServiceEndpoint", "ServiceEndpoints", "SliceDocument", "read_slice"]

SliceDocument: TypeAlias = Mapping[str, Any]
"""An EndpointSlice as JSON has it."""

IpFamily: TypeAlias = Literal["IPv4", "IPv6", "FQDN"]
MOST_SLICE_ERRORS = 10
"""Maximum lines of errors."""


@attrs.frozen(cache_hash=True)
class ServiceEndpoint:
    """Where one pod, or another thing that the service leads to, is reached."""

    name: str
    """The pod's name; without a pod, the address and port."""
    family: IpFamily
    host: str
    port: int
    ready: bool = True
    """It takes new connections."""
    draining: bool = False
    """It is about to end, and still serves."""
    zone: str = ""
    for_zones: tuple[str, ...] = ()
    """The zones that the control plane wants it to serve: hints of topology-aware routing; mostly none."""

    def is_near(self, zone: str) -> bool:
        """Return whether clients of a zone should rather go here than elsewhere."""
        return zone in self.for_zones if self.for_zones else zone == self.zone


def read_slice(document: SliceDocument, port: str | int) -> tuple[ServiceEndpoint, ...] | None:
    """Return the endpoints of a slice; None if it does not have the port.

    ``port`` is the name of a port of the service, or a number at the pods; empty = the only one there is. Raises
    KeyError, TypeError, ValueError or AttributeError for what is no EndpointSlice.
    """
    numbers = {
        int(each["port"])
        for each in document.get("ports") or ()
        if each.get("protocol", "TCP") == "TCP" and each.get("port") and _is_port(each, port)
    }
    if len(numbers) != 1:
        return None
    (number,) = numbers
    family = document["addressType"]
    return tuple(_endpoint(each, family, number) for each in document.get("endpoints") or ())


def _is_port(found: Mapping[str, Any], wanted: str | int) -> bool:
    if isinstance(wanted, int):
        return bool(found["port"] == wanted)
    return not wanted or (found.get("name") or "") == wanted


def _endpoint(document: Mapping[str, Any], family: IpFamily, port: int) -> ServiceEndpoint:
    host = str(document["addresses"][0])  # the others mean nothing, says the API; kube-proxy ignores them
    if family != "FQDN":
        host = ipaddress.ip_address(host).compressed
    conditions = document.get("conditions") or {}
    ready = conditions.get("ready") is not False
    is_serving = conditions.get("serving") is True  # unset means what ready is, and then it does not matter
    pod = document.get("targetRef") or {}
    hints = (document.get("hints") or {}).get("forZones") or ()
    return ServiceEndpoint(
        str(pod["name"]) if pod.get("kind") == "Pod" and pod.get("name") else Address.of(host, port).text,
        family,
        host,
        port,
        ready=ready,
        draining=not ready and is_serving and conditions.get("terminating") is True,
        zone=str(document.get("zone") or ""),
        for_zones=tuple(str(each["name"]) for each in hints),
    )


class ServiceEndpoints:
    """The endpoints of a service: of all its slices, each pod once."""

    def __init__(self, port: str | int, family: Literal["any", "ipv4", "ipv6"] = "any") -> None:
        self._port = port
        self._families = {"any": ("IPv4", "IPv6", "FQDN"), "ipv4": ("IPv4",), "ipv6": ("IPv6",)}[family]
        self._slices: dict[str, tuple[ServiceEndpoint, ...]] = {}
        self._without_port: dict[str, SliceDocument] = {}
        self._errors: dict[str, str] = {}

    def put(self, document: SliceDocument) -> None:
        """Take a slice, new or changed. One that cannot be read leaves what it was before."""
        name = str(document["metadata"]["name"])
        self._errors.pop(name, None)
        self._without_port.pop(name, None)
        try:
            found = read_slice(document, self._port)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            self._errors[name] = f"EndpointSlice {name}: cannot be read: {type(error).__name__}: {error}"
            return
        if found is None:
            self._without_port[name] = document
        self._slices[name] = found or ()

    def remove(self, name: str) -> None:
        for slices in (self._slices, self._without_port, self._errors):
            slices.pop(name, None)

    def keep(self, names: Iterable[str]) -> None:
        """Remove all slices but these."""
        for name in {*self._slices, *self._errors}.difference(names):
            self.remove(name)

    @property
    def endpoints(self) -> tuple[ServiceEndpoint, ...]:
        """The endpoints to use, by name. Those that are about to end are ready as long as no other one is.

        A pod with addresses of several families, or in several slices, is there once: ready rather than not, then by
        the order of the families.
        """
        found: dict[str, ServiceEndpoint] = {}
        for endpoint in sorted(self._usable(), key=self._rank, reverse=True):
            found[endpoint.name] = endpoint  # the best one comes last
        in_order = [found[name] for name in sorted(found)]
        if not any(each.ready for each in in_order):
            return tuple(attrs.evolve(each, ready=True, draining=False) for each in in_order)
        return tuple(in_order)

    def _usable(self) -> Iterable[ServiceEndpoint]:
        for endpoints in self._slices.values():
            yield from (each for each in endpoints if each.family in self._families and (each.ready or each.draining))

    def _rank(self, endpoint: ServiceEndpoint) -> tuple[bool, int, str, int]:
        return not endpoint.ready, self._families.index(endpoint.family), endpoint.host, endpoint.port

    @property
    def errors(self) -> tuple[str, ...]:
        """What is wrong with the slices, at most MOST_SLICE_ERRORS lines."""
        errors = [self._errors[name] for name in sorted(self._errors)]
        if not self._slices and not errors:  # a service without pods has a slice without endpoints
            return ("there is no EndpointSlice of it: is this its name, and has it a selector?",)
        missing = [each for each in self._without_port.values() if each.get("endpoints")]
        if missing and not any(self._slices.values()):
            errors.append(self._missing_port(missing))
        if len(errors) > MOST_SLICE_ERRORS:
            return (*errors[: MOST_SLICE_ERRORS - 1], f"{len(errors) - MOST_SLICE_ERRORS + 1} more errors")
        return tuple(errors)

    def _missing_port(self, slices: Iterable[SliceDocument]) -> str:
        """Say that no slice has the port, and which there are."""
        ports = [port for each in slices for port in each.get("ports") or ()]
        known = sorted({f"{port.get('name') or 'without a name'} ({port.get('port')})" for port in ports})
        there = f"there are: {', '.join(known)}" if known else "there is none"
        return f"it has no port {self._port!r} of TCP; {there}" if self._port else f"'port' is needed; {there}"
