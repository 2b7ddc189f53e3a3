"""The measurements of what a balancer does before it picks a server: server names, PROXY headers, access lists."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import costs
from clients import PROXY_V1, PROXY_V2, TLS
from model import Bar, Case, Metric, Sample, Scale
from target import Features, Target
from targets import BALANCERS, HAPROXY, LB, Running

__all__ = ["FILTER_CASES"]

one_request = partial(costs.requests, path="/small", close=True)


def _filtered(name: str, what: str, targets: tuple[Target, ...], run: Callable[[Running, Scale], Sample]) -> Case:
    return Case(
        name,
        (
            Metric(f"CPU of a connection with one request, {what}", "µs", bar=Bar(1.4)),
            Metric(f"connections, {what}", "1/s", cost=False),
        ),
        targets,
        run,
        quick=False,
    )


FILTER_CASES = (
    _filtered(
        "sni",
        "SNI routing",
        tuple(target.with_features(Features(sni=True), TLS) for target in BALANCERS),
        one_request,
    ),
    *(
        _filtered(
            f"proxy-{version}",
            f"PROXY header of version {version[1:]} from the client",
            tuple(target.with_features(Features(accept_proxy=True), client) for target in BALANCERS),
            costs.connections,
        )
        for version, client in (("v1", PROXY_V1), ("v2", PROXY_V2))
    ),
    _filtered(
        "send-proxy",
        "PROXY header of version 2 to the server",
        tuple(target.with_features(Features(send_proxy=True)) for target in (LB, HAPROXY)),
        one_request,
    ),
    _filtered(
        "allow", "access list", tuple(target.with_features(Features(allow=True)) for target in BALANCERS), one_request
    ),
)
