"""Counters are there from zero, and never too many of them."""

from __future__ import annotations

import attrs

from lb.admin.exposition import exposition
from lb.admin.zeros import MOST_IDLE_POOLS, MOST_IDLE_ROUTES, with_zeros
from lb.config.load import parse
from lb.dataplane.stats import Connects, Counters
from tests.unit.admin.test_exposition import values

SITE = """
[listeners.web]
mode = "http"
bind = ":1"
pool = "site"
[[listeners.web.routes]]
name = "api"
path = "/api"
pool = "api"
[listeners.db]
bind = ":2"
pool = "db"
[listeners.out]
mode = "forward"
bind = "127.0.0.1:3"
[pools.site]
servers = ["10.0.0.1:80"]
[pools.api]
servers = ["10.0.0.2:80"]
[pools.db]
servers = ["10.0.0.3:80"]
"""


def lines(figures, config, servers=()):
    text = "".join(exposition(attrs.evolve(values(), figures=with_zeros(figures, config, servers))))
    return text.splitlines()


def test_what_has_not_happened_yet_is_zero():
    found = lines(Counters(), parse(SITE, "lb.toml"), [("db", "10.0.0.3:80")])
    assert {
        'lb_http_requests_total{listener="web",route="api",status="5xx"} 0.0',
        'lb_http_requests_total{listener="web",route="site",status="2xx"} 0.0',
        'lb_http_requests_total{listener="web",route="",status="4xx"} 0.0',
        'lb_http_request_seconds_count{listener="web",route="api"} 0.0',
        'lb_http_retries_total{pool="api"} 0.0',
        'lb_retries_total{pool="db"} 0.0',
        'lb_connect_seconds_bucket{le="+Inf",pool="db"} 0.0',
        'lb_failed_connects_total{pool="db",server="10.0.0.3:80"} 0.0',
        'lb_forward_total{listener="out",protocol="connect",result="timeout"} 0.0',
        'lb_forward_total{listener="out",protocol="socks5",result="ok"} 0.0',
    } <= {*found}
    assert not [line for line in found if 'lb_http_retries_total{pool="db"}' in line], "it gets no requests"


def test_what_has_happened_stays():
    figures = Counters(
        failed_connects={("db", "a"): 5}, connects={"db": Connects(retries=7)}, request_retries={"api": 2}
    )
    figures.note_forward("out", "connect", "ok", b"example.com:443")
    found = lines(figures, parse(SITE, "lb.toml"), [("db", "a")])
    assert {
        'lb_failed_connects_total{pool="db",server="a"} 5.0',
        'lb_retries_total{pool="db"} 7.0',
        'lb_http_retries_total{pool="api"} 2.0',
        'lb_forward_total{listener="out",protocol="connect",result="ok"} 1.0',
    } <= {*found}
    assert len(found) == len({*found}), "no series is there twice"
    assert figures.forwarded["out"].results == {("connect", "ok"): 1}, "the counters themselves have no zeros"


def test_many_pools_and_routes_take_a_bounded_room():
    many = 3 * MOST_IDLE_POOLS
    routes = "".join(f'[[listeners.web.routes]]\npath = "/{n}"\npool = "p{n}"\n' for n in range(many))
    pools = "".join(f'[pools.p{n}]\nservers = ["10.0.0.1:80"]\n' for n in range(many))
    config = parse(f'[listeners.web]\nmode = "http"\nbind = ":1"\n{routes}{pools}', "lb.toml")
    figures = with_zeros(Counters(), config, [(f"p{n}", "10.0.0.1:80") for n in range(5_000)])
    assert (len(figures.connects), len(figures.requests)) == (MOST_IDLE_POOLS, MOST_IDLE_ROUTES)
    text = "".join(exposition(attrs.evolve(values(), figures=figures)))
    assert len(text) < 4_500_000
