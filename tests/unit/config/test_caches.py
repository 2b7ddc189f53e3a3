"""The tables [caches.NAME]: what they mean, and what is said of mistakes."""

from __future__ import annotations

import pytest

from lb.config.describe import describe
from lb.config.load import ConfigError, parse
from lb.model import CacheSpec
from tests.support.complaints import complaints

WEB = '[listeners.web]\nbind = ":80"\nservers = ["10.0.0.1:80"]\n'


def caches(text, directory):
    return parse(WEB + text, str(directory / "lb.toml")).caches


def errors(text, directory):
    return complaints(WEB + text, directory / "lb.toml")


def test_every_key_reaches_the_model(tmp_path):
    text = '[caches.v]\npath = "/var/cache/v"\nmax_size = "4096GiB"\nmemory = "0"\ninactive = "1h30m"\n'
    assert caches(text, tmp_path) == {"v": CacheSpec("v", "/var/cache/v", 4 << 40, 0, 5400.0)}


def test_a_cache_without_keys_is_in_memory(tmp_path):
    assert caches("[caches.v]\n", tmp_path) == {"v": CacheSpec("v", "", 1 << 30, 64 << 20, 3600.0)}


def test_a_relative_path_starts_at_the_configuration_and_need_not_exist(tmp_path):
    assert caches('[caches.v]\npath = "a/b"\n', tmp_path)["v"].path == str(tmp_path / "a" / "b")


SIZE = "must be a number of bytes like '256KiB' or '1MiB', not "


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('path = ""', "caches.v.path: must be the name of a file, not ''"),
        ('path = "lb.toml"', "caches.v.path: 'lb.toml' is not a directory"),
        ('path = "x"\nmax_size = "0"', "caches.v.max_size: must be 1048576 or more, not 0"),
        ('path = "x"\nmax_size = "1TB"', f"caches.v.max_size: {SIZE}'1TB'"),
        (f'path = "x"\nmax_size = {1 << 51}', f"caches.v.max_size: must be {1 << 50} or less, not {1 << 51}"),
        ('max_size = "1GiB"', "caches.v.max_size: has no effect without 'path'; the limit in memory is 'memory'"),
        ('memory = "10KiB"', "caches.v.memory: must be 1048576 or more, not 10240"),
        ("memory = 0", "caches.v: keeps nothing: it has no 'path', and 'memory' is 0"),
        ('inactive = "0"', "caches.v.inactive: must be more than 0, not '0'"),
        ("inactiv = 1", "caches.v.inactiv: unknown key, did you mean 'inactive'?"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_message_at_its_key(line, error, tmp_path):
    (tmp_path / "lb.toml").touch()
    assert errors(f"[caches.v]\n{line}\n", tmp_path) == [error]


@pytest.mark.parametrize(
    ("one", "other", "problem"),
    [
        ("x", "x", "is the path of the cache 'a', too"),
        ("x", "y/../x", "is the path of the cache 'a', too"),
        ("x", "link/x", "is the path of the cache 'a', too"),
        ("x", "x/y", "is in the directory of the cache 'a'"),
        ("x/y", "x", "has the directory of the cache 'a' in it"),
        ("x", "xy", ""),
    ],
)
def test_a_cache_must_not_remove_the_files_of_another(one, other, problem, tmp_path):
    (tmp_path / "link").symlink_to(".")
    text = f'[caches.a]\npath = "{one}"\n[caches.b]\npath = "{other}"\n[caches.c]\n'
    if problem:
        assert errors(text, tmp_path) == [f"caches.b.path: {problem}"]
    else:
        assert len(caches(text, tmp_path)) == 3


def test_a_circle_of_links_is_no_directory(tmp_path):
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    (error,) = errors('[caches.v]\npath = "one"\n', tmp_path)
    assert error.startswith("caches.v.path: 'one' cannot be read: ")


def test_caches_are_in_the_summary(tmp_path):
    text = '[caches.v]\npath = "/v"\nmax_size = "10GiB"\n[caches.w]\n'
    assert describe(parse(WEB + text, "lb.toml")).splitlines()[-2:] == [
        "cache v: /v up to 10GiB, memory up to 64MiB, inactive after 1h",
        "cache w: memory up to 64MiB, inactive after 1h",
    ]


HTTP = """
[listeners.web]
mode = "http"
bind = ":80"
[[listeners.web.routes]]
pool = "p"
cache = { zone = "z" }
[pools.p]
servers = ["10.0.0.1:80"]
"""
PROXY = """
[listeners.proxy]
mode = "forward"
bind = "127.0.0.1:3128"
cache = { zone = "z" }
"""


def test_a_cache_has_one_way_to_the_servers():
    text = f"[caches.z]\n{HTTP}{PROXY}"
    with pytest.raises(ConfigError, match=r"listeners\.\w+: the cache 'z' is that of the listener '\w+', too"):
        parse(text, "lb.toml")
    others = PROXY.replace("proxy]", "chain]").replace("3128", "3129").replace("cache =", 'parents = "p"\ncache =')
    with pytest.raises(ConfigError, match="which has other servers"):
        parse(f'[caches.z]\n{PROXY}{others}[pools.p]\nservers = ["10.0.0.1:3128"]\n', "lb.toml")
    same = PROXY.replace("proxy]", "other]").replace("3128", "3129")
    parse(f"[caches.z]\n{PROXY}{same}", "lb.toml")
