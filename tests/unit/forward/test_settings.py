"""The keys of mode forward: what they mean, and what is said of mistakes."""

from __future__ import annotations

import ipaddress
import math

import attrs
import pytest

from lb.config.load import parse
from lb.model import CacheSpec, ForwardSettings, RouteCache, Secret, TargetRule, UsersSpec
from tests.support.complaints import complaints

HASH = "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/"
EVERYTHING = """
[listeners.proxy]
mode = "forward"
bind = ":3128"
protocols = ["socks4", "http"]
auth = "staff"
connect_ports = [443, 563]
allow_to = ["*.Example.com", "192.0.2.0/24", "[2001:db8::1]:443", "*:25"]
deny_to = ["secret.example.com:443", "192.0.2.7"]
private = true
parents = "up"
source_address = ""
connect_timeout = "2s"
idle_timeout = "0"
response_timeout = "0"
hide_client = false
cache = { zone = "pages" }
keep_alive = "5s"
max_header = "64KiB"
max_body = "10GiB"
access_log = false

[users.staff]
file = "staff.htpasswd"

[caches.pages]

[pools.up]
servers = ["10.0.0.1:3128"]
"""


@pytest.fixture
def directory(tmp_path):
    """The directory of the configuration, with what it names."""
    (tmp_path / "staff.htpasswd").write_text(f"alice:{HASH}\n")
    return tmp_path


def settings(text, directory):
    return parse(text, str(directory / "lb.toml")).listeners["proxy"].settings


def errors(text, directory):
    return complaints(text, directory / "lb.toml")


def listener(lines="", bind='"127.0.0.1:3128"'):
    pool = '[pools.up]\nservers = ["10.0.0.1:3128"]\n'
    return f'[listeners.proxy]\nmode = "forward"\nbind = {bind}\n{lines}\n{pool}[users.staff]\nfile = "staff.htpasswd"'


def rule(text, host="", network=None, port=0):
    return TargetRule(text, host, network and ipaddress.ip_network(network), port)


def test_every_key_reaches_the_model(directory):
    found = settings(EVERYTHING, directory)
    assert found == ForwardSettings(
        protocols=("socks4", "http"),
        auth=UsersSpec("staff", "staff", "staff.htpasswd", (("alice", Secret(HASH)),)),
        connect_ports=(443, 563),
        allow_to=(
            rule("*.Example.com", "*.example.com"),
            rule("192.0.2.0/24", network="192.0.2.0/24"),
            rule("[2001:db8::1]:443", network="2001:db8::1", port=443),
            rule("*:25", "*", port=25),
        ),
        deny_to=(
            rule("secret.example.com:443", "secret.example.com", port=443),
            rule("192.0.2.7", network="192.0.2.7"),
        ),
        private=True,
        parents="up",
        connect_timeout=2.0,
        idle_timeout=math.inf,
        response_timeout=math.inf,
        hide_client=False,
        cache=RouteCache(CacheSpec("pages")),
        keep_alive=5.0,
        max_header=64 << 10,
        max_body=10 << 30,
        access_log=False,
    )
    assert found.pools == ("up",)


def test_every_key_of_the_model_is_in_the_text_that_has_everything(directory):
    given = attrs.evolve(settings(EVERYTHING, directory), source_address="10.0.0.5")  # never with parents
    default = ForwardSettings()
    assert [key for key in attrs.fields_dict(ForwardSettings) if getattr(default, key) == getattr(given, key)] == []


def test_the_least_listener_takes_every_default(directory):
    found = settings(listener(), directory)
    assert found == ForwardSettings()
    assert found.pools == ()
    assert (found.connect_ports, found.private, found.hide_client) == ((443,), False, True)


def test_any_port_and_no_port(directory):
    assert settings(listener('connect_ports = "any"'), directory).connect_ports is None
    assert settings(listener("connect_ports = []"), directory).connect_ports == ()


def test_an_address_for_its_connections(directory):
    assert settings(listener('source_address = "2001:DB8::0:5"'), directory).source_address == "2001:db8::5"


NEEDS = (
    "can be reached from elsewhere, and anybody could use the proxy: add 'allow' with the networks of its clients, or"
)


@pytest.mark.parametrize("bind", [":3128", "0.0.0.0:3128", "192.0.2.1:3128", "[::]:3128", "proxy.example.com:3128"])
def test_an_open_proxy_is_refused(bind, directory):
    expected = [f"listeners.proxy.bind: '{bind}' {NEEDS} 'auth' with their users"]
    assert errors(listener("", f'"{bind}"'), directory) == expected
    assert errors(listener("", f'["127.0.0.1:3128", "{bind}"]'), directory) == expected
    assert errors(listener('deny = ["10.0.0.0/8"]', f'"{bind}"'), directory) == expected
    assert errors(listener("allow = []", f'"{bind}"'), directory) == expected


@pytest.mark.parametrize("lines", ['allow = ["10.0.0.0/8"]', 'auth = "staff"'])
def test_a_proxy_for_some_clients_may_be_reached_from_elsewhere(lines, directory):
    assert isinstance(settings(listener(lines, '":3128"'), directory), ForwardSettings)


@pytest.mark.parametrize("bind", ["127.0.0.1:3128", "127.9.9.9:3128", "[::1]:3128", "localhost:3128", "unix:@proxy"])
def test_a_proxy_of_this_machine_needs_neither(bind, directory):
    assert settings(listener("", f'"{bind}"'), directory) == ForwardSettings()


NO_SERVERS = "has no effect: clients name their targets; name a pool of further proxies in 'parents'"


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ('auth = "stuff"', "auth: there are no users 'stuff', did you mean 'staff'?"),
        ('parents = "upp"', "parents: there is no pool 'upp', did you mean 'up'?"),
        ('pool = "up"', f"pool: {NO_SERVERS}"),
        ("protocols = []", "protocols: must name at least one protocol"),
        ("connect_ports = 443", "connect_ports: must be a list, not 443"),
        ("idle_timout = 5", "idle_timout: unknown key, did you mean 'idle_timeout'?"),
        ('auth = "staff"\nprotocols = ["socks4"]', "auth: lets nobody in: 'socks4' has no passwords"),
        ('max_header = "1"', "max_header: must be 1024 or more, not 1"),
    ],
)
def test_what_is_wrong_is_told_at_its_key(lines, error, directory):
    assert errors(listener(lines), directory) == [f"listeners.proxy.{error}"]
