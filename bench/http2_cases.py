"""The measurements of HTTP/2 towards clients, beside nginx with ``http2``, and of gRPC, with ``grpc_pass``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import loads
from backends import LARGE
from clients import PLAIN, TLS
from grpc_server import MESSAGE
from model import Bar, Case, Metric, Sample, Scale
from target import Features, Target
from targets import LB, NGINX_HTTP, Running

__all__ = ["HTTP2_CASES"]

CONNECTIONS, STREAMS = 32, 10
CALLS_A_SECOND = 10_000
"""About as many as the balancer takes."""
IDLE = 2_000

PROXIES = tuple(target.with_features(Features(http=True, http2=True), PLAIN) for target in (LB, NGINX_HTTP))
CACHES = tuple(target.with_features(Features(http=True, http2=True, cache=True), PLAIN) for target in (LB, NGINX_HTTP))
GRPC = tuple(target.with_features(Features(http=True, http2=True, grpc=True), PLAIN) for target in (LB, NGINX_HTTP))
SECURE_CACHES = tuple(
    target.with_features(Features(http=True, http2=True, cache=True, tls=True), TLS) for target in (LB, NGINX_HTTP)
)


def _requests(running: Running, scale: Scale, *, path: str) -> Sample:
    """Return CPU per request in microseconds, and requests per second."""
    cpu, tls = running.cpu(), running.target.features.tls
    work = loads.h2load(
        running.ports.web, path, tls=tls, seconds=scale.seconds, connections=CONNECTIONS, streams=STREAMS
    )
    return _sample(running.cpu() - cpu, work)


def _calls(running: Running, scale: Scale) -> Sample:
    """Return CPU per unary call in microseconds, and calls per second.

    A number of them, not a time: nginx failed thousands of calls after some were cut short.
    """
    message = running.directory / "message"
    message.write_bytes(MESSAGE)
    fields = ("content-type: application/grpc", "te: trailers")
    cpu = running.cpu()
    work = loads.h2load(
        running.ports.web,
        "/bench.Echo/Unary",
        requests=CALLS_A_SECOND * scale.seconds,
        connections=CONNECTIONS,
        streams=STREAMS,
        fields=fields,
        body=message,
    )
    return _sample(running.cpu() - cpu, work)


def _sample(cpu: float, work: loads.Work) -> Sample:
    return Sample((work.cost(cpu * 1e6), work.count / work.seconds), work.problems)


def _download(running: Running, scale: Scale) -> Sample:
    """Return CPU per 200 MB on one stream in milliseconds, and megabytes per second."""
    cpu = running.cpu()
    work = loads.h2load(running.ports.web, "/large", requests=scale.downloads)
    cpu = running.cpu() - cpu
    return Sample((work.cost(cpu * 1e3), work.count * LARGE / work.seconds / 1e6), work.problems)


def _idle(running: Running, scale: Scale) -> Sample:
    """Return KiB per idle connection."""
    _requests(running, scale, path="/small")
    before = running.memory()
    with loads.http2_connections(running.ports.web, IDLE):
        return Sample(((running.memory() - before) / IDLE / 1024,))


def _case(
    name: str, what: str, limit: float, targets: tuple[Target, ...], run: Callable[[Running, Scale], Sample]
) -> Case:
    return Case(
        name,
        (
            Metric(f"CPU of {what}", "µs", bar=Bar(limit, against=NGINX_HTTP)),
            Metric(f"{what} a second", "1/s", cost=False),
        ),
        targets,
        run,
        quick=False,
    )


HTTP2_CASES = (
    _case("http2-hit", "a hit in the cache over HTTP/2, 1 KiB", 1.5, CACHES, partial(_requests, path="/kilobyte")),
    _case(
        "http2-tls-hit",
        "a hit in the cache over HTTP/2 with TLS, 1 KiB",
        1.5,
        SECURE_CACHES,
        partial(_requests, path="/kilobyte"),
    ),
    _case("http2-proxied", "a proxied request over HTTP/2", 1.75, PROXIES, partial(_requests, path="/small")),
    _case("grpc-calls", "a unary call of gRPC", 2.5, GRPC, _calls),
    Case(
        "http2-download",
        (
            Metric("CPU of a proxied 200 MB response on one stream", "ms", bar=Bar(1.5, against=NGINX_HTTP)),
            Metric("proxied 200 MB responses on one stream", "MB/s", cost=False),
        ),
        PROXIES,
        _download,
        quick=False,
    ),
    Case(
        "http2-idle",
        (Metric(f"memory of an idle connection of HTTP/2, {IDLE:,} held", "KiB", bar=Bar(40, against=None)),),
        PROXIES,
        _idle,
        fresh=True,
        quick=False,
    ),
)
