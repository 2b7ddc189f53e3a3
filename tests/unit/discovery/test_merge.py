"""A configuration with discovered servers."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from lb.config.load import parse
from lb.control.plan import plan
from lb.discovery.dns import DnsServers
from lb.discovery.dns_records import servers_at
from lb.discovery.file import FileServers
from lb.discovery.known import Known, SourceKey
from lb.discovery.merge import complete
from lb.discovery.sources import sources
from lb.model import ServerSpec
from lb.model.address import Address

TEXT = """
[listeners.web]
bind = ":1"
[listeners.short]
bind = ":2"
servers = [{ dns = "short.internal", port = 80 }]
[pools.web]
servers = [
  "10.0.0.1:80",
  { dns = "web.internal", port = 80, weight = 3, max_connections = 9 },
  { dns = "_x._tcp.web", backup = true },
]
servers_file = "list"
nameservers = ["127.0.0.1:5353"]
[pools.other]
servers = ["10.0.0.9:80"]
"""
CONFIG = parse(TEXT, "dir/lb.toml")
DNS = SourceKey("web", "dns web.internal:80")
SRV = SourceKey("web", "dns _x._tcp.web")
FILE = SourceKey("web", "file dir/list")
SHORT = SourceKey("short", "dns short.internal:80")


def spec(text, **more):
    return ServerSpec(text, Address.parse(text), **more)


def test_all_sources_are_named_with_the_way_to_look():
    servers = (Address.parse("127.0.0.1:5353"),)
    assert sources(CONFIG) == {
        DNS: DnsServers("web.internal", 80, servers),
        SRV: DnsServers("_x._tcp.web", 0, servers),
        FILE: FileServers("dir/list"),
        SHORT: DnsServers("short.internal", 80, ()),
    }


def test_servers_that_are_found_follow_those_that_are_listed_with_what_their_source_says():
    found = {
        FILE: Known((spec("10.0.0.4:80", weight=7), spec("10.0.0.3:80"))),
        SRV: Known((spec("10.0.0.3:80", weight=5),)),
        DNS: Known(servers_at(80, ["10.0.0.1", "10.0.0.2"])),
        SHORT: Known(servers_at(80, ["10.0.0.2"])),
    }
    config = complete(CONFIG, found)
    assert config.pools["web"].servers == (
        spec("10.0.0.1:80"),
        spec("10.0.0.2:80", weight=3, max_connections=9),
        spec("10.0.0.3:80", weight=5, backup=True),
        spec("10.0.0.4:80", weight=7),
    )
    assert config.pools["short"].servers == (spec("10.0.0.2:80"),)


def test_pools_without_sources_are_not_touched():
    assert complete(CONFIG, {}).pools["other"] is CONFIG.pools["other"]


def test_nothing_found_leaves_what_is_written():
    assert complete(CONFIG, {}) == CONFIG


SETS = st.lists(st.integers(1, 20).map(lambda last: f"10.0.1.{last}"), max_size=8)


@given(SETS, SETS, SETS)
def test_only_what_comes_and_goes_is_in_the_plan(before, after, file):
    in_file = Known(tuple(spec(f"{host}:81") for host in dict.fromkeys(file)))
    old = complete(CONFIG, {DNS: Known(servers_at(80, before)), FILE: in_file})
    new = complete(CONFIG, {FILE: in_file, DNS: Known(servers_at(80, after))})
    steps = plan(old, new)
    assert set(steps.added) == {f"web/{host}:80" for host in set(after) - set(before)}
    assert set(steps.removed) == {f"web/{host}:80" for host in set(before) - set(after)}
    assert steps.changed == ()
    assert steps.is_empty == (set(before) == set(after))


@given(SETS)
def test_what_is_complete_may_be_completed_again(found):
    known = {DNS: Known(servers_at(80, found)), SRV: Known(servers_at(80, found))}
    once = complete(CONFIG, known)
    assert complete(once, known) == once
    names = [server.name for server in once.pools["web"].servers]
    assert len(set(names)) == len(names)


def test_an_identity_outlasts_other_settings():
    changed = attrs.evolve(CONFIG.pools["web"], nameservers=(), dns=CONFIG.pools["web"].dns[::-1])
    assert sources(attrs.evolve(CONFIG, pools={"web": changed})).keys() == {DNS, SRV, FILE}
