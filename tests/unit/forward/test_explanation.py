"""``lb explain --target``: which rule refuses a target, how each address is judged, and which parent it takes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lb.forward.both_families import FoundAddresses
from lb.forward.explanation import explain_target
from lb.forward.names import name_source
from lb.forward.rule_settings import target_rule
from lb.http1.grammar import MalformedError
from lb.model import ForwardSettings, ListenerSpec, Secret, UsersSpec
from lb.model.explained_target import AskedTarget, JudgedAddress
from lb.net.errors import UnresolvedError

PRIVATE = "private = false: the address is not globally reachable"
PORTS = "connect_ports = [443]"
STAFF = UsersSpec("staff", "staff", "users", (("ann", Secret("#")),))


class Name:
    """Knows one name. Implements NameSource."""

    def __init__(self, *addresses):
        self._addresses = tuple(map(ip_address, addresses))

    async def look_up(self, host, found):
        if not self._addresses:
            raise UnresolvedError("not_found", "no such name")
        found(FoundAddresses(self._addresses, 60.0))


async def ask(text, *addresses, user=None, **keys):
    name_source.set(Name(*addresses))
    for key in ("allow_to", "deny_to"):
        keys[key] = tuple(map(target_rule, keys.get(key, ())))
    return await explain_target(ListenerSpec("proxy", (), ForwardSettings(**keys)), AskedTarget(text, user))


async def test_each_address_of_a_name_is_judged_and_one_that_passes_is_enough():
    found = await ask("example.com:443", "10.0.0.1", "93.184.215.14", deny_to=["8.8.8.0/24"])
    assert found.allowed
    assert found.addresses == (JudgedAddress("10.0.0.1", PRIVATE), JudgedAddress("93.184.215.14"))


@pytest.mark.parametrize(
    ("text", "keys", "why"),
    [
        ("example.com:22", {}, PORTS),
        ("bad.example.com:443", {"deny_to": ["*.example.com"]}, 'deny_to "*.example.com"'),
        ("example.com:443", {"allow_to": ["example.org"]}, "allow_to has no rule for it"),
        ("example.com:443", {"deny_to": ["10.0.0.0/8"]}, 'deny_to "10.0.0.0/8"'),
        ("example.com:443", {}, PRIVATE),
        ("0x7f.1:443", {}, PRIVATE),
        ("example.com:443", {"auth": STAFF}, 'auth = "staff": the client must log in; name a user'),
        ("example.com:443", {"auth": STAFF, "user": "eve"}, "auth = \"staff\": it has no user 'eve'"),
    ],
)
async def test_the_rule_that_refuses_is_named(text, keys, why):
    found = await ask(text, "10.0.0.1", **keys)
    assert (found.allowed, found.why) == (False, why)


async def test_a_user_of_the_list_passes_and_the_rule_that_allows_is_named():
    found = await ask("9.9.9.9:443", user="ann", auth=STAFF, allow_to=["9.9.9.0/24"])
    assert (found.allowed, found.why, found.target) == (True, 'allow_to "9.9.9.0/24"', "9.9.9.9:443")


async def test_with_parents_a_name_is_not_looked_up_here():
    found = await ask("nowhere.example:443", parents="up")
    assert (found.allowed, found.pool, found.addresses) == (True, "up", ())


async def test_a_name_that_nobody_knows_is_said_to_be_unknown():
    found = await ask("nowhere.example:443")
    assert (found.allowed, found.why) == (False, "cannot look up nowhere.example: no such name")


async def test_what_is_no_target_is_an_error():
    with pytest.raises(MalformedError):
        await ask("example.com")
