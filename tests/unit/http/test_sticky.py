"""Sticky cookies: they bring a client back to its server, tell nothing, and cannot be made by others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lb.http.sticky import Sticky
from lb.model import Secret, StickySpec
from tests.support.pooling import Harness, server, servers

SPEC = StickySpec("lb")
SECRET = bytes(range(32))


def sticky(harness, spec=SPEC, secret=SECRET):
    return Sticky(spec, harness.pool, secret)


def cookie_of(made, name, *, secure=False):
    """What a client sends back."""
    return made.set_cookie(name, secure=secure).partition(b";")[0]


def test_a_cookie_brings_the_client_back_among_whatever_cookies():
    made = sticky(Harness(*servers("abc")))
    for name in "abc":
        assert made.server_of(cookie_of(made, name)) == name
        assert made.server_of(b"x=1; " + cookie_of(made, name) + b"; y=2") == name
    for none in (None, b"", b"x=1", b"lb=", b"lb", b"LB=" + cookie_of(made, "a")[3:]):
        assert made.server_of(none) is None


def test_its_attributes_keep_it_from_scripts_and_other_sites():
    made = sticky(Harness(*servers("a")))
    value = cookie_of(made, "a")
    assert made.set_cookie("a", secure=False) == value + b"; Path=/; HttpOnly; SameSite=Lax"
    assert made.set_cookie("a", secure=True) == value + b"; Path=/; HttpOnly; SameSite=Lax; Secure"


def test_it_does_not_tell_the_server():
    harness = Harness(server("shop-backend-7"), server("other"))
    found = sticky(harness).set_cookie("shop-backend-7", secure=False)
    assert b"shop" not in found
    assert len(sticky(harness).set_cookie("other", secure=False)) == len(found)


def test_other_processes_with_the_secret_know_it_and_without_it_they_do_not():
    harness, other = Harness(*servers("ab")), Harness(*servers("ba"))
    cookie = cookie_of(sticky(harness), "b")
    assert sticky(other).server_of(cookie) == "b"
    assert sticky(other, secret=b"other").server_of(cookie) is None


def test_a_secret_of_its_own_replaces_the_balancers():
    harness = Harness(*servers("ab"))
    own = StickySpec("lb", Secret("from a file"))
    cookie = cookie_of(sticky(harness, own), "b")
    assert sticky(harness, own, secret=b"after a restart").server_of(cookie) == "b"
    assert sticky(harness).server_of(cookie) is None


def test_a_cookie_of_another_pool_means_nothing():
    harness, other = Harness(*servers("ab")), Harness(*servers("ab"))
    other.pool.name = "other"
    own = StickySpec("lb", Secret("the same file"))
    for spec in (SPEC, own):
        assert sticky(other, spec).server_of(cookie_of(sticky(harness, spec), "a")) is None


def test_a_reload_adds_servers_and_forgets_those_that_left():
    harness = Harness(*servers("ab"))
    made = sticky(harness)
    cookies = {name: cookie_of(made, name) for name in "abc"}
    assert [made.server_of(cookies[name]) for name in "abc"] == ["a", "b", None]
    harness.reload(*servers("bc"))
    assert [made.server_of(cookies[name]) for name in "abc"] == [None, "b", "c"]
    harness.pool.empty(0.0)
    assert made.server_of(cookies["b"]) is None


@given(st.sampled_from("ab"), st.integers(3, 24), st.integers(1, 255))
def test_a_changed_cookie_is_none(name, at, change):
    made = sticky(Harness(*servers("ab")))
    cookie = bytearray(cookie_of(made, name))
    cookie[at] ^= change
    assert made.server_of(bytes(cookie)) is None


@given(st.binary(max_size=40))
def test_nothing_that_a_client_makes_up_is_a_cookie(value):
    assert sticky(Harness(*servers("ab"))).server_of(b"lb=" + value) is None
