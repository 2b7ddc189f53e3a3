"""The measurements, and the limits that the balancer must meet."""

from __future__ import annotations

from functools import partial

import costs
import socket_memory
import waits
from configurations import HAPROXY_BALANCE
from costs import GIB, IDLE_FOR_MEMORY, IDLE_FOR_SPEED
from dashboard import DASHBOARD
from film_cases import FILM_CASES
from filter_cases import FILTER_CASES
from forward_cases import FORWARD_CASES
from http2_cases import HTTP2_CASES
from http_cases import HTTP_CASES
from live_cases import LIVE_CASES
from model import Bar, Case, Metric, Scale
from target import FEW, MANY, STRATEGIES, Target
from targets import BALANCERS, DIRECT, HAPROXY, HAPROXY_SPLICE, LB, NGINX
from tls_cases import TLS_CASES

__all__ = ["CASES", "FULL", "QUICK"]

FULL = Scale(rounds=5, seconds=2, ping_seconds=2.0, downloads=5, upload=GIB)
QUICK = Scale(rounds=1, seconds=1, ping_seconds=0.3, downloads=2, upload=GIB // 4)

SPLICING = (LB, HAPROXY, HAPROXY_SPLICE, NGINX)
REPLACED = 20
READ = 8_000_000
RELOADED = ("round-robin", "consistent-hash, maglev", "consistent-hash, ketama")
PARTS = ("median", "99th percentile", "longest")

TRAFFIC = (
    Case(
        "keepalive",
        (
            Metric("CPU of a request, 32 kept connections", "µs", bar=Bar(1.05)),
            Metric("requests", "1/s", cost=False),
        ),
        (*BALANCERS, DIRECT),
        partial(costs.requests, path="/small"),
    ),
    Case(
        "connections",
        (
            Metric("CPU of a connection with one request, 32 at a time", "µs", bar=Bar(1.25)),
            Metric("connections", "1/s", cost=False),
        ),
        (*BALANCERS, DIRECT),
        partial(costs.requests, path="/small", close=True),
    ),
    Case(
        "connections-logged",
        (
            Metric("CPU of a connection with one request and a log line", "µs", bar=Bar(1.25)),
            Metric("connections with log lines", "1/s", cost=False),
        ),
        tuple(target.with_log() for target in BALANCERS),
        partial(costs.requests, path="/small", close=True, logs=True),
    ),
    Case(
        "medium",
        (
            Metric("CPU of a 64 KiB answer, 32 kept connections", "µs", bar=Bar(0.80)),
            Metric("64 KiB answers", "1/s", cost=False),
        ),
        (*SPLICING, DIRECT),
        partial(costs.requests, path="/medium"),
    ),
    Case(
        "download",
        (
            Metric("CPU of a 200 MB answer, sent by sendfile", "ms", bar=Bar(0.40)),
            Metric("200 MB answers, sent by sendfile", "MB/s", cost=False),
        ),
        (*SPLICING, DIRECT),
        partial(costs.downloads, path="/large"),
    ),
    Case(
        "download",
        (
            Metric("CPU of a 200 MB answer, sent by copying", "ms", bar=Bar(0.50)),
            Metric("200 MB answers, sent by copying", "MB/s", cost=False),
        ),
        (*SPLICING, DIRECT),
        partial(costs.downloads, path="/large-copied"),
        quick=False,
    ),
    Case(
        "upload",
        (
            Metric("CPU of 1 GiB uploaded, sent by sendfile", "ms", bar=Bar(0.40)),
            Metric("1 GiB uploads, sent by sendfile", "MB/s", cost=False),
        ),
        (*SPLICING, DIRECT),
        partial(costs.upload, from_file=True),
    ),
    Case(
        "upload",
        (
            Metric("CPU of 1 GiB uploaded, sent by copying", "ms", bar=Bar(0.40)),
            Metric("1 GiB uploads, sent by copying", "MB/s", cost=False),
        ),
        (*SPLICING, DIRECT),
        partial(costs.upload, from_file=False),
        quick=False,
    ),
    Case(
        "idle",
        (
            Metric(f"memory of an idle connection, {IDLE_FOR_MEMORY:,} held", "KiB", bar=Bar(1.0)),
            Metric(
                f"CPU of a request beside {IDLE_FOR_SPEED:,} idle connections ÷ beside none",
                "times",
                bar=Bar(1.10, against=None),
            ),
        ),
        BALANCERS,
        costs.idle,
        fresh=True,
    ),
    Case(
        "latency",
        (
            Metric("latency added at one connection, median", "µs", above_direct=True, bar=Bar(1.15)),
            Metric("latency added at one connection, 99th percentile", "µs", above_direct=True, bar=Bar(1.15)),
            Metric("latency at one connection, median", "µs", cost=False),
            Metric("latency at one connection, 99th percentile", "µs", cost=False),
            Metric("CPU of a request at one connection", "µs", bar=Bar(1.35)),
        ),
        (*BALANCERS, DIRECT),
        waits.latency,
    ),
)


def _beside(count: int) -> str:
    return f"beside {count} download{'s' if count > 1 else ''}"


FAIRNESS = Case(
    "fairness",
    (
        *(
            metric
            for count in waits.DOWNLOADERS
            for metric in (
                Metric(f"rise of the 99th percentile of a wait {_beside(count)}", "µs", bar=Bar(1.0)),
                Metric(f"99th percentile of a wait {_beside(count)} ÷ alone", "times"),
            )
        ),
        *(Metric(f"wait alone, {part}", "µs", cost=False) for part in PARTS),
        *(
            metric
            for count in waits.DOWNLOADERS
            for metric in (
                *(Metric(f"wait {_beside(count)}, {part}", "µs", cost=False) for part in PARTS),
                Metric(f"{count} download{'s' if count > 1 else ''} meanwhile", "MB/s", cost=False),
                Metric(f"the balancer's core meanwhile, {count}", "% busy", cost=False),
            )
        ),
    ),
    SPLICING,
    waits.fairness,
)


def _many_servers(strategy: str) -> Case:
    haproxy = (HAPROXY.with_strategy(strategy),) if strategy in HAPROXY_BALANCE else ()
    return Case(
        "many-servers",
        (
            Metric(
                f"CPU of a connection with {MANY:,} servers ÷ with {FEW}, {strategy}",
                "times",
                bar=Bar(1.10, against=None),
            ),
            Metric(f"with {FEW}, {strategy}", "µs", cost=False),
            Metric(f"with {MANY:,}, {strategy}", "µs", cost=False),
        ),
        (LB.with_strategy(strategy), *haproxy),
        costs.cost_of_many,
        quick=strategy == "weighted",  # one of the more expensive picks
    )


def _reload(name: str, strategy: str, replaced: int, limit: float) -> Case:
    which = f"of {replaced} of {MANY:,} servers, {strategy}"
    return Case(
        name,
        (
            Metric(f"longest wait around a reload {which}", "ms", bar=Bar(limit, against=None, always=True)),
            Metric(f"longest of as many waits without a reload {which}", "ms", cost=False),
            Metric(f"SIGHUP until the new servers are in use, {which}", "ms", cost=False),
        ),
        (LB.with_strategy(strategy),),
        partial(waits.reload, replaced=replaced),
        repeat=5,
        quick=name == "reload" and strategy == "round-robin",
    )


STARTUP = (
    Case(
        "startup",
        (Metric("start to the first served request", "s", bar=Bar(0.6, against=None)),),
        BALANCERS,
        waits.startup,
        fresh=True,
        repeat=2,
    ),
    Case(
        "startup",
        (Metric("modules that Python loads by then", "", cost=False),),
        (LB.listing_imports(),),
        waits.imports,
        fresh=True,
    ),
)


def _workers(work: str, unit: str, limit: float, *, close: bool) -> tuple[Case, Case]:
    """Return the case of the balancer, and that of HAProxy, without a limit."""

    def case(name: str, target: Target, bar: Bar | None) -> Case:
        return Case(
            name,
            (
                Metric(f"CPU of {work}, all cores", "µs", bar=bar),
                Metric(f"{unit}, all cores", "1/s", cost=False),
            ),
            (target.with_workers(2), target.with_workers(1)),
            partial(costs.requests, path="/small", close=close),
            quick=bar is not None and not close,
        )

    return case("workers", LB, Bar(limit, against=LB.with_workers(1))), case("workers-haproxy", HAPROXY, None)


def _checks(check: str) -> Case:
    return Case(
        f"checks-{check}",
        (
            Metric(f"CPU of active checks of {MANY:,} servers each 2 s, {check}", "% of a core", bar=Bar(2.0)),
            Metric(f"active checks, {check}", "1/s", cost=False),
        ),
        (LB.with_checks(check), HAPROXY.with_checks(check)),
        costs.checks,
        fresh=True,
        quick=False,
    )


def _unread(client: str, read: int) -> Case:
    return Case(
        "socket-memory",
        (Metric(f"kernel's buffers for a client that {client}", "MiB", bar=Bar(4, against=None)),),
        SPLICING,
        partial(socket_memory.unread, read=read),
        quick=False,
    )


SCRAPE_WAITS = Case(
    "scrape-waits",
    (
        Metric(
            f"longest wait while metrics and status of {MANY:,} servers are read",
            "ms",
            bar=Bar(5, against=None, always=True),
        ),
        Metric("longest of as many waits without that", "ms", cost=False),
    ),
    (LB.with_strategy("round-robin").with_admin(),),
    waits.beside_scrapes,
    quick=False,
)


def _watched(work: str, watched: Target, plain: Target, *, close: bool) -> Case:
    return Case(
        "watched",
        (
            Metric(f"CPU of {work}, [admin] asked for metrics each 5 s", "µs", bar=Bar(1.02, against=plain)),
            Metric(f"{work.removeprefix('a ')}s, [admin] asked for metrics each 5 s", "1/s", cost=False),
            Metric(f"CPU of an answer to that, after {work}", "ms", cost=False),
        ),
        (watched, plain),
        partial(costs.scraped, close=close, logs=plain.logs),
        quick=False,
    )


WATCHED = (
    _watched("a request", LB.with_admin(), LB, close=False),
    _watched("a logged connection", LB.with_log().with_admin(), LB.with_log(), close=True),
)

CASES = (
    *TRAFFIC,
    *HTTP_CASES,
    *HTTP2_CASES,
    *TLS_CASES,
    *FILTER_CASES,
    *FORWARD_CASES,
    *LIVE_CASES,
    *FILM_CASES,
    *map(_checks, ("tcp", "http")),
    _unread("reads nothing", 0),
    _unread(f"reads {READ // 1_000_000} MB, then stops", READ),
    *WATCHED,
    SCRAPE_WAITS,
    DASHBOARD,
    FAIRNESS,
    *map(_many_servers, STRATEGIES),
    *(_reload("reload", strategy, MANY // 2, 20) for strategy in RELOADED),
    *(_reload("reload-few", strategy, REPLACED, 10) for strategy in RELOADED),
    *STARTUP,
    *_workers("a request", "requests", 1.05, close=False),
    *_workers("a connection with one request", "connections", 1.10, close=True),
)
