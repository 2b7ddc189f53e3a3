"""The measurements of mode ``forward``: tunnels beside HAProxy's tcp mode, which has none, and beside other proxies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import costs
from clients import CONNECT, SOCKS5, Client
from costs import IDLE_TUNNELS
from model import Bar, Case, Metric, Sample, Scale
from target import Features, Target
from targets import HAPROXY, HAPROXY_SPLICE, LB, MICROSOCKS, SQUID, TINYPROXY, Running

__all__ = ["FORWARD_CASES"]

PROTOCOLS = {"CONNECT": CONNECT, "SOCKS5": SOCKS5}
LB_TCP = LB.named("lb, mode tcp")


def _proxy(target: Target, client: Client) -> Target:
    return target.with_features(Features(forward=True), client)


def _bytes(
    name: str,
    cost: Metric,
    rate: Metric,
    client: Client,
    others: tuple[Target, ...],
    run: Callable[[Running, Scale], Sample],
) -> Case:
    """A case of what passes through tunnels, beside what passes without."""
    return Case(name, (cost, rate), (_proxy(LB, client), *others), run, quick=False)


def _new(protocol: str, others: dict[Target, Client], second: Metric | None = None) -> Case:
    cost = Metric(f"CPU of a new {protocol} tunnel with one request", "µs", bar=NEW_BARS[protocol])
    metrics = (cost, Metric(f"new {protocol} tunnels", "1/s", cost=False), *([second] if second else []))
    targets = (_proxy(LB, PROTOCOLS[protocol]), *(_proxy(target, client) for target, client in others.items()))
    return Case("tunnels", metrics, targets, costs.tunnels, quick=False)


NEW_BARS = {"CONNECT": Bar(1.0, against=SQUID), "SOCKS5": Bar(2.0, against=MICROSOCKS)}

FORWARD_CASES = (
    *(
        _bytes(
            "tunnel-requests",
            Metric(f"CPU of a request, 32 kept {protocol} tunnels", "µs", bar=Bar(1.2)),
            Metric(f"requests, 32 kept {protocol} tunnels", "1/s", cost=False),
            client,
            (HAPROXY, LB_TCP),
            costs.tunnelled,
        )
        for protocol, client in PROTOCOLS.items()
    ),
    *(
        _bytes(
            "tunnel-download",
            Metric(f"CPU of a 200 MB answer through a {protocol} tunnel", "ms", bar=Bar(0.4)),
            Metric(f"200 MB answers through a {protocol} tunnel", "MB/s", cost=False),
            client,
            (HAPROXY, HAPROXY_SPLICE, LB_TCP),
            partial(costs.downloads, path="/large"),
        )
        for protocol, client in PROTOCOLS.items()
    ),
    _new("CONNECT", {SQUID: CONNECT, TINYPROXY: CONNECT}),
    _new(
        "SOCKS5",
        {MICROSOCKS: SOCKS5, SQUID: CONNECT},
        Metric("CPU of a new SOCKS5 tunnel, beside CONNECT of squid", "µs", bar=Bar(1.0, against=SQUID)),
    ),
    *(
        Case(
            "tunnel-idle",
            (Metric(f"memory of an idle {protocol} tunnel, {IDLE_TUNNELS:,} held", "KiB", bar=Bar(4, against=None)),),
            (_proxy(LB, client), *((_proxy(SQUID, client),) if client == CONNECT else ())),
            costs.idle_tunnels,
            fresh=True,
            quick=False,
        )
        for protocol, client in PROTOCOLS.items()
    ),
    Case(
        "proxied",
        (
            Metric("CPU of a request with a URL to a proxy, 32 kept connections", "µs"),
            Metric("requests with a URL to a proxy", "1/s", cost=False),
        ),
        (_proxy(LB, CONNECT), _proxy(SQUID, CONNECT)),
        partial(costs.requests, path="/small", vary="proxied"),
        quick=False,
    ),
)
