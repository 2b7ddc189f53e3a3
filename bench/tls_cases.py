"""The measurements of TLS: with clients, with servers, and with both. All of it is TLS 1.3."""

from __future__ import annotations

from functools import partial

import costs
from clients import PLAIN, TLS, Client
from costs import IDLE_TLS
from model import Bar, Case, Metric
from target import Features, Target
from targets import BALANCERS

__all__ = ["TLS_CASES"]


def _with(features: Features, client: Client) -> tuple[Target, ...]:
    return tuple(target.with_features(features, client) for target in BALANCERS)


WITH_CLIENTS = _with(Features(tls=True), TLS)
WITH_SERVERS = _with(Features(server_tls=True), PLAIN)
WITH_BOTH = _with(Features(tls=True, server_tls=True), TLS)


def _requests(name: str, where: str, targets: tuple[Target, ...], limit: float) -> Case:
    return Case(
        name,
        (
            Metric(f"CPU of a request, 32 kept connections, TLS {where}", "µs", bar=Bar(limit)),
            Metric(f"requests, TLS {where}", "1/s", cost=False),
        ),
        targets,
        partial(costs.requests, path="/small"),
        quick=False,
    )


def _connections(name: str, what: str, targets: tuple[Target, ...], limit: float, *, resume: bool = False) -> Case:
    return Case(
        name,
        (
            Metric(f"CPU of a connection with one request, {what}", "µs", bar=Bar(limit)),
            Metric(f"connections, {what}", "1/s", cost=False),
            Metric(f"full handshakes, {what}", "%", cost=False),
        ),
        targets,
        partial(costs.connections, resume=resume),
        quick=name == "tls-connections",
    )


TLS_CASES = (
    _requests("tls-keepalive", "with clients", WITH_CLIENTS, 1.35),
    _connections("tls-connections", "full TLS handshake with the client", WITH_CLIENTS, 1.3),
    _connections("tls-resumed", "resumed TLS handshake with the client", WITH_CLIENTS, 1.4, resume=True),
    Case(
        "tls-workers",
        (
            Metric("CPU of a connection of a client that resumes, two workers", "µs"),
            Metric("connections of clients that resume, two workers", "1/s", cost=False),
            Metric("full handshakes with clients that resume, two workers", "%", bar=Bar(5, against=None)),
        ),
        tuple(target.with_workers(2) for target in WITH_CLIENTS),
        partial(costs.connections, resume=True),
        quick=False,
    ),
    Case(
        "tls-download",
        (
            Metric("CPU of a 200 MB answer, TLS with the client", "ms", bar=Bar(1.0)),
            Metric("200 MB answers, TLS with the client", "MB/s", cost=False),
        ),
        WITH_CLIENTS,
        partial(costs.downloads, path="/large"),
        quick=False,
    ),
    Case(
        "tls-idle",
        (Metric(f"memory of an idle TLS connection, {IDLE_TLS:,} held", "KiB", bar=Bar(18, against=None)),),
        WITH_CLIENTS,
        costs.idle_memory,
        fresh=True,
        quick=False,
    ),
    _requests("tls-servers-keepalive", "with servers", WITH_SERVERS, 1.4),
    _connections("tls-servers-connections", "TLS with the server", WITH_SERVERS, 1.4),
    _requests("tls-both-keepalive", "with both", WITH_BOTH, 1.4),
    _connections("tls-both-connections", "TLS with both", WITH_BOTH, 1.4),
)
