"""The keys of a route's cache: what they mean, and what is said of mistakes."""

from __future__ import annotations

import subprocess
import sys

import attrs
import pytest

from lb.config.describe import describe
from lb.config.load import parse
from lb.model import CacheSpec, RouteCache
from lb.model.address import Networks
from tests.support.complaints import complaints

START = """
[caches.videos]
[pools.web]
servers = ["10.0.0.1:80"]
[listeners.www]
mode = "http"
bind = ":80"
[[listeners.www.routes]]
"""
EVERYTHING = """
zone = "videos"
valid = { 200 = "1h", 404 = "0", any = "1m" }
use_stale = ["error", "http_503"]
status_header = "X-Cache-Status"
key = "{host}{path}{header:Accept}"
collapse = false
background_update = false
revalidate = false
slice = "4MiB"
min_uses = 2
max_object = "10GiB"
bypass = ["cookie:session", "header:Authorization", "query:a b"]
no_store = ["query:fresh"]
ignore = ["Set-Cookie", "cache-control"]
obey_client = true
purge = ["10.0.0.0/8"]
"""
PLACE = "listeners.www.routes[0].cache"


def text(cache, target='pool = "web"'):
    return f"{START}{target}\n[listeners.www.routes.cache]\n{cache}\n"


def cache_of(cache):
    (route,) = parse(text(cache), "lb.toml").listeners["www"].settings.routes
    return route.cache


def errors(cache, target='pool = "web"'):
    return complaints(text(cache, target))


def test_every_key_reaches_the_model():
    assert cache_of(EVERYTHING) == RouteCache(
        CacheSpec("videos"),
        ((200, 3600.0), (404, 0.0), (None, 60.0)),
        use_stale=frozenset(("error", "http_503")),
        status_header="X-Cache-Status",
        key="{host}{path}{header:Accept}",
        collapse=False,
        background_update=False,
        revalidate=False,
        slice=4 << 20,
        min_uses=2,
        max_object=10 << 30,
        bypass=("cookie:session", "header:Authorization", "query:a b"),
        no_store=("query:fresh",),
        ignore=frozenset(("set-cookie", "cache-control")),
        obey_client=True,
        purge=Networks(("10.0.0.0/8",)),
    )


def test_every_key_of_the_model_is_in_the_text_that_has_everything():
    found, least = cache_of(EVERYTHING), cache_of('zone = "videos"')
    same = {
        field.name for field in attrs.fields(RouteCache) if getattr(found, field.name) == getattr(least, field.name)
    }
    assert same == {"zone"}


def test_the_zone_alone_takes_every_default():
    assert cache_of('zone = "videos"') == RouteCache(CacheSpec("videos"))


def test_an_empty_table_is_no_cache():
    assert cache_of("") is None


def test_lists_may_be_empty_and_off_is_zero():
    found = cache_of('zone = "videos"\nuse_stale = []\nslice = "0"\nstatus_header = ""')
    assert (found.use_stale, found.slice, found.status_header) == (frozenset(), 0, "")


REASONS = (
    "must be one of error, timeout, updating, http_500, http_502, http_503, http_504, http_403, http_404, http_429"
)
FIELDS = "cache-control, cdn-cache-control, expires, set-cookie, vary, x-accel-expires"
NONE = "there is no variable"
VARIABLES = "{scheme}, {host}, {uri}, {path}, {query}, {method}, {argument:NAME}, {header:NAME}, {cookie:NAME}"
CONDITIONS = "must be cookie:NAME, header:NAME or query:NAME, not "


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("valid = 1", "valid: must be a table, not 1"),
        ('valid = { 20 = "1h" }', "valid.20: must be a status from 200 to 599 or any, not '20'"),
        ('valid = { "2xx" = "1h" }', "valid.2xx: must be a status from 200 to 599 or any, not '2xx'"),
        ('valid = { 100 = "1h" }', "valid.100: must be a status from 200 to 599 or any, not '100'"),
        ('valid = { an = "1h" }', "valid.an: must be a status from 200 to 599 or any, not 'an', did you mean 'any'?"),
        ('valid = { 200 = "1d" }', "valid.200: must be a duration like '250ms', '2s' or '1m30s', not '1d'"),
        ('use_stale = ["http_505"]', f"use_stale[0]: {REASONS}, not 'http_505', did you mean 'http_504'?"),
        ('use_stale = ["off"]', f"use_stale[0]: {REASONS}, not 'off'"),
        ('status_header = "X Y"', "status_header: must be the name of a header field, not 'X Y'"),
        (
            'status_header = "Connection"',
            "status_header: 'Connection' is about the connection or the length, and cannot be changed",
        ),
        ('key = "{hots}"', f"key: there is no variable {{hots}} here, did you mean 'host'?; known: {VARIABLES}"),
        ('key = "{uri}{client_ip}"', f"key: there is no variable {{client_ip}} here; known: {VARIABLES}"),
        ('key = "{header}"', f"key: {NONE} {{header}} here, did you mean 'header:NAME'?; known: {VARIABLES}"),
        ('key = "{uri"', "key: has a '{' without a '}'"),
        ('key = "x"', "key: must hold a variable like {uri}, or all requests would get the same response"),
        ('key = ""', "key: must hold a variable like {uri}, or all requests would get the same response"),
        ('key = "{uri}\\u0000"', "key: must not hold control characters"),
        ('slice = "1KiB"', "slice: must be 4096 or more, not 1024"),
        ('slice = "2GiB"', "slice: must be 1073741824 or less, not 2147483648"),
        ("min_uses = 0", "min_uses: must be 1 or more, not 0"),
        ('max_object = "x"', "max_object: must be a number of bytes like '256KiB' or '1MiB', not 'x'"),
        ('bypass = ["session"]', f"bypass[0]: {CONDITIONS}'session'"),
        ('bypass = ["cokie:a"]', f"bypass[0]: {CONDITIONS}'cokie:a', did you mean 'cookie:NAME'?"),
        ('no_store = ["cookie:"]', f"no_store[0]: {CONDITIONS}'cookie:'"),
        ('no_store = ["header:a b"]', "no_store[0]: 'a b' is no name of a header"),
        ('ignore = ["Cookie"]', f"ignore[0]: must be one of {FIELDS}, not 'cookie', did you mean 'set-cookie'?"),
        ('purge = ["10.0.0.1/8"]', "purge[0]: '10.0.0.1/8' has bits set beyond its length, did you mean '10.0.0.0/8'?"),
        ("collaps = true", "collaps: unknown key, did you mean 'collapse'?"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_message_at_its_key(line, error):
    assert errors(f'zone = "videos"\n{line}') == [f"{PLACE}.{error}"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("collapse = true", 'missing, as in zone = "videos"'),
        ('zone = "video"', "there is no cache 'video', did you mean 'videos'?"),
        ('zone = "xyz"', "there is no cache 'xyz', as in [caches.xyz]"),
        ("zone = 1", "must be a string, not 1"),
    ],
)
def test_a_zone_must_exist(line, error):
    assert errors(line) == [f"{PLACE}.zone: {error}"]


def test_all_mistakes_are_reported_at_once():
    assert [error.partition(":")[0] for error in errors('zone = "x"\nkey = "x"\nvalid = { 1 = "x" }\npurge = "x"')] == [
        f"{PLACE}.{key}" for key in ("zone", "key", "purge", "valid.1", "valid.1")
    ]


def test_a_route_without_a_server_has_nothing_to_keep():
    assert errors('zone = "videos"', 'respond = "x"') == [f"{PLACE}: has no effect: no server gets the request"]


def test_the_cache_of_a_route_is_in_the_summary():
    lines = describe(parse(text('zone = "videos"\nvalid = { 200 = "1h" }\npurge = ["::1"]'), "lb.toml")).splitlines()
    assert "  /  path /, pool web, cache.zone videos, cache.valid.200 1h, cache.purge ::1" in lines


def test_a_listener_without_a_cache_loads_nothing_of_it():
    program = f"import sys, lb.config.load; lb.config.load.parse({text('')!r}, 'lb.toml'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert not [name for name in loaded.split() if name.startswith("lb.cache")]
