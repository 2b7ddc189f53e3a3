"""The rules of a forward proxy: what is judged when, and which rule decides."""

from __future__ import annotations

import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.forward.rule_settings import target_rule
from lb.forward.rules import Rules, TargetRefusal
from lb.model.forward import ForwardSettings
from lb.model.reachability import globally_reachable

PUBLIC, PRIVATE = "93.184.215.14", "10.0.0.1"
NOT_ALLOWED = TargetRefusal("allow_to", "allow_to has no rule for it")
IS_PRIVATE = TargetRefusal("private", "private = false: the address is not globally reachable")


def rules(allow=(), deny=(), **settings):
    allow_to, deny_to = (tuple(map(target_rule, texts)) for texts in (allow, deny))
    return Rules(ForwardSettings(allow_to=allow_to, deny_to=deny_to, **{"connect_ports": None, **settings}))


def judge(found, host, port=443, address=PUBLIC, *, tunnel=True):
    """Judge a target as a connection does: before the look-up, then the address that it gave."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return found.judge_target(host, port, tunnel=tunnel) or found.judge_address(
            host, ipaddress.ip_address(address), port
        )
    return found.judge_target(literal, port, tunnel=tunnel)


def test_by_default_tunnels_go_to_port_443_of_public_addresses():
    found = Rules(ForwardSettings())
    assert judge(found, "example.com") is None
    assert judge(found, PUBLIC) is None
    assert judge(found, "example.com", 22) == TargetRefusal("port", "connect_ports = [443]")
    assert judge(found, PUBLIC, 22) == TargetRefusal("port", "connect_ports = [443]")
    assert judge(found, "example.com", 80, tunnel=False) is None
    assert judge(found, "example.com", address=PRIVATE) == IS_PRIVATE
    assert judge(found, PRIVATE) == IS_PRIVATE
    assert judge(found, PRIVATE, 80, tunnel=False) == IS_PRIVATE


def test_no_ports_are_no_tunnels():
    found = rules(connect_ports=())
    assert judge(found, "example.com") == TargetRefusal("port", "connect_ports = []")
    assert judge(found, "example.com", 80, tunnel=False) is None


def test_a_name_is_refused_for_the_address_that_it_has_now():
    found = rules()
    assert found.judge_target("rebind.example.com", 443, tunnel=True) is None
    for address in ("127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fe80::1"):
        assert found.judge_address("rebind.example.com", ipaddress.ip_address(address), 443) == IS_PRIVATE


@pytest.mark.parametrize(
    ("rule", "host", "port", "matches"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "www.example.com", 443, False),
        ("example.com", "badexample.com", 443, False),
        ("Example.COM.", "example.com", 443, True),
        ("*.example.com", "www.example.com", 443, True),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "badexample.com", 443, False),
        ("example.com:443", "example.com", 443, True),
        ("example.com:443", "example.com", 80, False),
        ("*:25", "example.com", 25, True),
        ("*:25", PUBLIC, 25, True),
        ("*:25", "2606:4700::1111", 25, True),
        ("*:25", "example.com", 26, False),
        ("*", "example.com", 1, True),
        ("*", PUBLIC, 1, True),
        (PUBLIC, PUBLIC, 443, True),
        (PUBLIC, "example.com", 443, True),
        (f"{PUBLIC}:443", PUBLIC, 443, True),
        (f"{PUBLIC}:443", PUBLIC, 80, False),
        ("93.184.0.0/16", PUBLIC, 443, True),
        ("93.185.0.0/16", PUBLIC, 443, False),
        ("93.184.0.0/16", f"::ffff:{PUBLIC}", 443, True),
        ("2606:4700::/32", "2606:4700::1111", 443, True),
        ("2606:4700::1111", "2606:4700::1111", 443, True),
        ("[2606:4700::1111]", "2606:4700::1111", 443, True),
        ("[2606:4700::1111]:443", "2606:4700::1111", 443, True),
        ("[2606:4700::1111]:443", "2606:4700::1111", 80, False),
        ("0.0.0.0/0", PUBLIC, 443, True),
        ("0.0.0.0/0", "2606:4700::1111", 443, False),
        ("::ffff:93.184.0.0/112", PUBLIC, 443, True),
    ],
)
def test_what_a_rule_matches(rule, host, port, matches):
    denied = judge(rules(deny=[rule]), host, port)
    assert denied == (TargetRefusal("deny_to", f'deny_to "{rule}"') if matches else None)
    assert judge(rules(allow=[rule]), host, port) == (None if matches else NOT_ALLOWED)


def test_deny_to_comes_before_allow_to():
    found = rules(allow=["*.example.com"], deny=["secret.example.com", "93.184.215.0/24"])
    assert judge(found, "secret.example.com") == TargetRefusal("deny_to", 'deny_to "secret.example.com"')
    assert judge(found, "www.example.com") == TargetRefusal("deny_to", 'deny_to "93.184.215.0/24"')
    assert judge(found, "www.example.com", address="8.8.8.8") is None


@pytest.mark.parametrize("rule", ["10.0.0.0/8", "10.0.0.1", "*", "intern.example.com"])
def test_allow_to_does_not_open_private_addresses(rule):
    assert judge(rules(allow=[rule]), "intern.example.com", address=PRIVATE) == IS_PRIVATE
    assert judge(rules(allow=[rule], private=True), "intern.example.com", address=PRIVATE) is None
    assert judge(rules(allow=[rule]), PRIVATE) == IS_PRIVATE


@pytest.mark.parametrize("address", ["::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "2a00::5efe:10.0.0.1"])
def test_a_denied_network_is_denied_inside_other_addresses(address):
    found = rules(deny=["10.0.0.0/8"], private=True)
    assert judge(found, "example.com", address=address).kind == "deny_to"
    assert judge(found, address).kind == "deny_to"


def test_a_name_that_no_rule_can_allow_is_not_looked_up():
    found = rules(allow=["*.example.com"])
    assert found.judge_target("example.org", 443, tunnel=True) == NOT_ALLOWED
    assert found.judge_target("www.example.com", 443, tunnel=True) is None


def test_a_name_that_a_network_may_allow_is_judged_by_its_address():
    found = rules(allow=["93.184.0.0/16", "8.8.8.8:53"])
    assert found.judge_target("example.org", 443, tunnel=True) is None
    assert judge(found, "example.org") is None
    assert judge(found, "example.org", address="8.8.8.8") == NOT_ALLOWED
    assert judge(found, "example.org", 53, address="8.8.8.8") is None
    only_a_port = rules(allow=["8.8.8.8:53"])
    assert only_a_port.judge_target("example.org", 443, tunnel=True) == NOT_ALLOWED


def test_with_parents_a_name_is_judged_whole():
    found = rules(allow=["93.184.0.0/16", "*.example.com"], deny=["a.example.com"], parents="up")
    assert found.judge_target("example.org", 443, tunnel=True) == NOT_ALLOWED
    assert found.judge_target("www.example.com", 443, tunnel=True) is None
    assert found.judge_target("a.example.com", 443, tunnel=True).kind == "deny_to"
    assert found.judge_target(ipaddress.ip_address(PRIVATE), 443, tunnel=True) == IS_PRIVATE
    assert found.judge_target(ipaddress.ip_address(PUBLIC), 443, tunnel=True) is None


def test_the_rule_that_allows_is_told():
    found = rules(allow=["*.example.com", "8.8.8.0/24", "*:25"])
    public = ipaddress.ip_address("8.8.8.8")
    assert found.allowing("www.example.com", public, 443).text == "*.example.com"
    assert found.allowing("example.org", public, 443).text == "8.8.8.0/24"
    assert found.allowing(None, public, 25).text == "*:25"
    assert found.allowing(None, ipaddress.ip_address("9.9.9.9"), 443) is None


NAMES = st.sampled_from(["example.com", "a.example.com", "b.a.example.com", "example.org", "com"])
TEXTS = """
    example.com *.example.com *.com * *:25 a.example.com:443 10.0.0.0/8 8.0.0.0/7 8.8.8.8:443 ::/0 2606:4700::/32
    [2606:4700::1111]:25
"""
RULES = st.lists(st.sampled_from(TEXTS.split()), max_size=5)
HOSTS_OF_RULES = st.sampled_from(["8.8.8.8", "9.9.9.9", "10.0.0.1", "2606:4700::1111", "fd00::1"]).map(
    ipaddress.ip_address
)


def has(rule, host, address, port):
    """A rule, judged in the plainest way."""
    if rule.port not in (0, port):
        return False
    if rule.network is not None:
        return address in rule.network
    wildcard = rule.host.startswith("*.") and host.endswith(rule.host[1:])
    return rule.host in ("*", host) or wildcard


@given(RULES, RULES, NAMES, HOSTS_OF_RULES, st.sampled_from([25, 443]), st.booleans())
def test_indexed_rules_decide_as_a_list_of_rules(allow, deny, host, address, port, private):
    found = rules(allow, deny, private=private)
    allow_to, deny_to = (list(map(target_rule, texts)) for texts in (allow, deny))
    refused = found.judge_target(host, port, tunnel=True) or found.judge_address(host, address, port)
    denied = any(has(rule, host, address, port) for rule in deny_to)
    allowed = not allow_to or any(has(rule, host, address, port) for rule in allow_to)
    reachable = private or globally_reachable(address)
    assert (refused is None) is (allowed and reachable and not denied)
    if refused is not None:
        assert {"deny_to": denied, "private": not reachable, "allow_to": not allowed}[refused.kind]


def test_the_order_of_rules_does_not_matter():
    texts = ["*.example.com", "a.example.com:443", "8.8.0.0/16", "8.8.8.8"]
    kinds = {
        (judge(rules(allow=order), "a.example.com"), judge(rules(allow=order), "8.8.8.8"))
        for order in itertools.permutations(texts)
    }
    assert kinds == {(None, None)}


def test_each_of_ten_thousand_rules_is_found():
    texts = [f"host{number}.example.com" for number in range(10_000)]
    texts += [f"11.{number // 256}.{number % 256}.0/24" for number in range(10_000)]
    found = rules(deny=texts)
    assert judge(found, "host9999.example.com").kind == "deny_to"
    assert judge(found, "11.39.15.7").kind == "deny_to"
    assert judge(found, "11.39.16.7") is None


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_who_is_denied_this_host_does_not_reach_it_by_the_unspecified_address(address):
    found = rules(deny=["127.0.0.0/8", "::1"], private=True)
    assert judge(found, address).kind == "deny_to"
    assert judge(found, "example.com", address=address).kind == "deny_to"
