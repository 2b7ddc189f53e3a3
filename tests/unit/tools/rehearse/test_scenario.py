"""The scenario file: all keys, and all errors at once."""

from __future__ import annotations

import math
import re

import attrs
import pytest

from lb.config.load import ConfigError, parse
from lb.model import TcpSettings
from lb.model.values import duration
from lb.tools.rehearse.scenario import ClientsSpec, ConductSpec, FaultSpec, NodeFaultSpec, Scenario
from lb.tools.rehearse.scenario_file import read_scenario
from lb.tools.rehearse.virtual_config import not_simulated, virtual_config
from tests.support.complaints import path_and_message
from tests.support.paths import DOCS
from tests.support.rehearsing import config_of
from tests.test_docs import default, rows

REFERENCE = DOCS / "reference" / "rehearse.md"
WORDS = "'die' or 'vanish' or 'hang' or 'slow' or 'fail' or 'flap' or 'join' or 'recover'"
LB = '[listeners.web]\nbind = "127.0.0.1:0"\nservers = ["10.0.0.9:80"]\n'


def read(tmp_path, text, config=None, nodes=()):
    (tmp_path / "scenario.toml").write_text(text)
    return read_scenario(tmp_path / "scenario.toml", config or config_of("a", "b"), nodes)


def errors(tmp_path, text, config=None, nodes=()):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, config, nodes)
    return path_and_message(caught.value.errors, tmp_path / "scenario.toml")


def test_the_least_scenario(tmp_path):
    assert read(tmp_path, "[clients.all]\nrate = 200") == Scenario(clients=(ClientsSpec("all", "web", 200.0),))


def test_everything_that_one_may_say(tmp_path):
    (tmp_path / "new.toml").write_text(LB)
    scenario = read(
        tmp_path,
        """
        duration = "10m"
        seed = 0
        [clients.few]
        listener = "web"
        rate = 0.5
        session = "1m"
        distribution = "lognormal"
        arrivals = "even"
        sources = "2001:db8::/64"
        patience = "5s"
        begins = "1m"
        ends = "2m"
        requests = 2.5
        pause = "3s"
        [servers]
        answer = "20ms"
        [servers."web/b"]
        connect = "2ms"
        [[events]]
        at = "1m"
        server = ["web/a", "web/b"]
        does = "slow"
        by = 3
        lasts = "30s"
        [[events]]
        at = "2m"
        server = "web/b"
        does = "flap"
        every = "5s"
        [[events]]
        at = "3m"
        reload = "new.toml"
        """,
    )
    (reload,) = scenario.reloads
    assert (reload.at, reload.file, [*reload.config.listeners]) == (180, "new.toml", ["web"])
    assert attrs.evolve(scenario, reloads=()) == Scenario(
        duration=600,
        seed=0,
        clients=(ClientsSpec("few", "web", 0.5, 60, "lognormal", "even", "2001:db8::/64", 5, 60, 120, 2.5, 3),),
        conduct=ConductSpec(answer=0.02),
        conducts={"web/b": ConductSpec(connect=0.002, answer=0.02)},
        fault_specs=(
            FaultSpec(60, ("web/a", "web/b"), "slow", by=3.0, lasts=30),
            FaultSpec(120, ("web/b",), "flap", every=5),
        ),
    )


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    text = """
    duraton = "1h"
    [clients.all]
    listener = "wbe"
    rate = 0
    sesion = "2s"
    arrivals = "evne"
    requests = 0.5
    [servers]
    conect = "1ms"
    [servers."web/x"]
    connect = "1ms"
    [clients.late]
    rate = 1
    begins = "1h"
    [clients.never]
    rate = 1
    begins = "2m"
    ends = "1m"
    [[events]]
    at = "2h"
    server = "web/c"
    does = "dye"
    [[events]]
    server = 3
    does = "die"
    by = 2
    every = "1s"
    [[events]]
    at = "1m"
    reload = "nowhere.toml"
    server = "web/a"
    [[events]]
    at = "1m"
    does = "recover"
    lasts = "1m"
    [[events]]
    at = "1m"
    server = "b"
    does = "die"
    [[events]]
    at = "1m"
    server = []
    does = "die"
    """
    assert sorted(errors(tmp_path, text)) == [
        "clients.all.arrivals: must be 'random' or 'even', not 'evne', did you mean 'even'?",
        "clients.all.listener: there is no listener 'wbe', did you mean 'web'?",
        "clients.all.rate: must be a number above 0, not 0",
        "clients.all.requests: must be a number from 1, not 0.5",
        "clients.all.sesion: unknown key, did you mean 'session'?",
        "clients.late.begins: must be less than the duration of the scenario",
        "clients.never.ends: must be after 'begins'",
        "duraton: unknown key, did you mean 'duration'?",
        "events[0].at: must be less than the duration of the scenario",
        f"events[0].does: must be {WORDS}, not 'dye', did you mean 'die'?",
        "events[0].server: there is no server 'web/c', did you mean 'web/b'?",
        'events[1].at: missing, as in at = "10m"',
        "events[1].by: is allowed for 'slow' only",
        "events[1].every: is allowed for 'flap' only",
        "events[1].server: must be a string, not 3",
        f"events[2].reload: {tmp_path / 'nowhere.toml'}: cannot be read: No such file or directory",
        "events[2].server: unknown key",
        "events[3].lasts: is allowed for 'die' or 'vanish' or 'hang' or 'slow' or 'fail' or 'flap' only",
        'events[3].server: missing, as in server = "pool/server"',
        "events[4].server: there is no server 'b', did you mean 'web/b'?",
        "events[5].server: must name at least one server",
        "servers.'web/x': there is no server 'web/x', did you mean 'web/b'?",
        "servers.conect: unknown key, did you mean 'connect'?",
    ]


CLIENTS = "[clients.all]\nrate = 200\n"
NODES = ("lb1", "lb2", "lb3")


def test_balancers_have_events_too(tmp_path):
    events = """
    [[events]]
    at = "1m"
    node = "lb2"
    does = "vanish"
    lasts = "30s"
    [[events]]
    at = "2m"
    node = ["lb1", "lb3"]
    does = "die"
    [[events]]
    at = "3m"
    node = "lb1"
    does = "recover"
    """
    scenario = read(tmp_path, f'detect = "2s"\n{CLIENTS}{events}', nodes=NODES)
    assert scenario == Scenario(
        clients=(ClientsSpec("all", "web", 200.0),),
        nodes=NODES,
        detect=2.0,
        node_fault_specs=(
            NodeFaultSpec(60, ("lb2",), "vanish", lasts=30),
            NodeFaultSpec(120, ("lb1", "lb3"), "die"),
            NodeFaultSpec(180, ("lb1",), "recover"),
        ),
    )


def test_what_is_wrong_with_an_event_of_a_balancer_is_told(tmp_path):
    event = '[[events]]\nat = "1m"\n'
    text = f"""{CLIENTS}
    {event}node = "lb4"\ndoes = "die"
    {event}node = "lb1"\ndoes = "hang"\nby = 3
    {event}node = "lb1"\nserver = "web/a"\ndoes = "die"
    {event}node = "lb1"\ndoes = "recover"\nlasts = "1m"
    {event}node = []\ndoes = "die"
    {event}node = "lb1"
    """
    assert errors(tmp_path, text, nodes=NODES) == [
        "events[0].node: there is no node 'lb4'; the nodes are lb1 to lb3",
        "events[1].does: must be 'die' or 'vanish' or 'recover', not 'hang'",
        "events[1].by: unknown key",
        "events[2].server: an event is of a 'server' or of a 'node', not of both",
        "events[3].lasts: is allowed for 'die' or 'vanish' only",
        "events[4].node: must name at least one node",
        'events[5].does: missing, as in does = "die"',
    ]


def test_an_event_of_a_balancer_needs_several(tmp_path):
    event = '[[events]]\nat = "1m"\nnode = "lb2"\ndoes = "die"\n'
    assert errors(tmp_path, CLIENTS + event) == ["events[0].node: needs several balancers: --nodes N"]


def test_there_must_be_clients_and_a_rate(tmp_path):
    assert errors(tmp_path, "") == ["clients: at least one is needed, as in [clients.all]"]
    assert errors(tmp_path, "[clients.all]") == ["clients.all.rate: missing, as in rate = 200 (sessions per second)"]


def test_with_several_listeners_one_has_to_be_named(tmp_path):
    config = config_of("a")
    config.listeners["other"] = config.listeners["web"]
    assert errors(tmp_path, "[clients.all]\nrate = 1", config) == ["clients.all.listener: missing: one of web, other"]


def test_servers_and_listeners_of_a_reload_may_be_named(tmp_path):
    (tmp_path / "new.toml").write_text(LB.replace("web", "late"))
    text = '[clients.all]\nrate = 1\nlistener = "late"\n[[events]]\nat = "1m"\nreload = "new.toml"\n'
    event = '[[events]]\nat = "2m"\nserver = "late/10.0.0.9:80"\ndoes = "die"'
    assert read(tmp_path, text + event).fault_specs[0].servers == ("late/10.0.0.9:80",)


def test_what_looks_at_bytes_or_outside_is_left_out(tmp_path):
    (tmp_path / "more").write_text("10.0.0.7:80\n")
    text = """
    [listeners.web]
    bind = "unix:/run/web.sock"
    accept_proxy = true
    pool = "web"
    sni = { "api.example.org" = "web" }
    [pools.web]
    servers = ["10.0.0.8:80"]
    servers_file = "more"
    send_proxy = "v2"
    health = { tls = { verify = false }, checks = [{ probe = "http", tls = true }] }
    """
    written = parse(text, str(tmp_path / "lb.toml"))
    config = virtual_config(written)
    (address,) = config.listeners["web"].bind
    assert address.text == "unix:/run/web.sock"
    assert not address.is_unix, "the file of a balancer that runs here is not to be removed"
    pool = config.pools["web"]
    assert [server.name for server in pool.servers] == ["10.0.0.8:80", "10.0.0.7:80"]
    assert (pool.send_proxy, pool.servers_file, config.listeners["web"].accept_proxy) == ("off", "", False)
    assert pool.health.tls is None
    assert [check.tls for check in pool.health.all_checks] == [None]
    assert not_simulated(written) == ["listeners.web.sni: all clients go to pool web"]


def test_each_balancer_checks_by_itself():
    cluster = "[admin]\nbind = '127.0.0.1:0'\n[cluster]\nname = 'edge'\netcd = { endpoints = ['http://127.0.0.1:1'] }\n"
    web = "[listeners.web]\nbind = '127.0.0.1:0'\n[pools.web]\nservers = ['10.0.0.9:80']\nhealth = { share = true }\n"
    written = parse(cluster + web, "lb.toml")
    assert not_simulated(written) == ["pools.web.health.share: each balancer checks all servers"]
    assert virtual_config(written).pools["web"].health.share is False


def http_config(listener):
    return f"""
    [listeners.www]
    mode = "http"
    bind = "127.0.0.1:0"
    {listener}
    [pools.site]
    servers = ["10.0.0.1:80"]
    http = {{ response_timeout = "7s" }}
    [pools.api]
    servers = ["10.0.0.2:80"]
    """


@pytest.mark.parametrize(
    ("listener", "pool", "left_out"),
    [
        ('pool = "site"', "site", []),
        ('routes = [{ path = "/api", pool = "api" }]', "api", []),
        (
            'pool = "site"\nroutes = [{ path = "/api", pool = "api" }]',
            "site",
            ["listeners.www.routes: all requests go to pool site"],
        ),
        (
            'routes = [{ path = "/x", respond = "x" }, { path = "/api", pool = "api" }, { path = "/", pool = "site" }]',
            "api",
            ["listeners.www.routes: all requests go to pool api"],
        ),
    ],
)
def test_requests_of_an_http_listener_are_clients_of_one_pool(listener, pool, left_out):
    written = parse(http_config(listener), "lb.toml")
    www = virtual_config(written).listeners["www"]
    assert (www.mode, www.settings.pool) == ("tcp", pool)
    assert www.settings.idle_timeout == (7 if pool == "site" else 60), "the pool's response timeout"
    assert not_simulated(written) == left_out


def test_a_listener_whose_requests_no_server_gets_is_left_out():
    written = parse(http_config('routes = [{ path = "/", respond = "x" }]'), "lb.toml")
    assert virtual_config(written).listeners == {}
    assert not_simulated(written) == ["listeners.www: no server gets its requests"]


def test_clients_of_a_proxy_with_parents_are_clients_of_these():
    listener = "listeners.proxy = { mode = 'forward', bind = '127.0.0.1:0', idle_timeout = '9s' }"
    pool = "pools.up.servers = ['10.0.0.1:3128']"
    written = parse(f"{listener}\n{pool}".replace(" }", ", parents = 'up' }"), "lb.toml")
    proxy = virtual_config(written).listeners["proxy"]
    assert (proxy.mode, proxy.settings) == ("tcp", TcpSettings("up", idle_timeout=9))
    assert not_simulated(written) == []
    without = parse(listener, "lb.toml")
    assert virtual_config(without).listeners == {}
    assert not_simulated(without) == ["listeners.proxy: its clients name their servers themselves"]


def test_a_pool_whose_servers_are_found_in_dns_only_cannot_be_rehearsed():
    config = parse('[listeners.web]\nbind = ":80"\nservers = [{ dns = "web.internal", port = 80 }]', "lb.toml")
    with pytest.raises(ConfigError, match="only servers from DNS"):
        virtual_config(config)


SECTIONS = {
    "## `[clients.NAME]`": (ClientsSpec, {"name"}, set()),
    "## `[servers]`": (ConductSpec, set(), set()),
    "## `[[events]]`": (FaultSpec, {"servers"}, {"server", "node", "reload"}),
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_reference_has_every_key_and_its_default(heading):
    spec, not_keys, more = SECTIONS[heading]
    _, found, rest = REFERENCE.read_text().partition(f"\n{heading}\n")
    assert found
    table = rows(re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].partition("\n\n| `does`")[0])
    fields = {field.name: field.default for field in attrs.fields(spec) if field.name not in not_keys}
    assert table.keys() == fields.keys() | more
    for key, value in fields.items():
        given = default(table[key][1])
        if given is None:
            assert value in (attrs.NOTHING, math.inf), key
        elif isinstance(value, float) and isinstance(given, str):
            assert duration(given) == (0 if value == math.inf else value), key
        else:
            assert given == value, key
