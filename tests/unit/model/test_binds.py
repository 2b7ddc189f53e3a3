"""Bindings: the addresses that a new configuration opens, moves and closes."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from lb.model.address import Address
from lb.model.binds import BindingChanges, binding_changes

X, Y, Z = (Address.parse(f"127.0.0.1:{port}") for port in (1, 2, 3))
ANY_PORT = Address.parse("127.0.0.1:0")


def test_what_stays_is_left_alone():
    assert binding_changes({"a": [X, Y]}, {"a": [Y, X]}) == BindingChanges()


def test_what_is_new_is_opened_and_what_is_gone_is_closed():
    assert binding_changes({"a": [X], "b": [Y]}, {"a": [X, Z]}) == BindingChanges((("a", Z),), (), (("b", Y),))


def test_an_address_moves_with_its_sockets():
    assert binding_changes({"a": [X, Y]}, {"b": [X]}) == BindingChanges((), ((("b", X), "a"),), (("a", Y),))


def test_two_listeners_may_swap():
    changes = binding_changes({"a": [X], "b": [Y]}, {"a": [Y], "b": [X]})
    assert changes == BindingChanges(moved=((("a", Y), "b"), (("b", X), "a")))


def test_of_two_ports_of_the_systems_choice_each_has_its_own_fate():
    changes = binding_changes({"a": [ANY_PORT], "b": [ANY_PORT]}, {"c": [ANY_PORT]})
    assert changes == BindingChanges((), ((("c", ANY_PORT), "a"),), (("b", ANY_PORT),))


books = st.dictionaries(st.sampled_from("abc"), st.lists(st.sampled_from([X, Y, Z, ANY_PORT]), unique=True, max_size=3))


@given(books, books)
def test_every_socket_is_kept_handed_over_or_closed_and_every_address_gets_one(bound, wanted):
    changes = binding_changes(bound, wanted)
    taken = dict(changes.moved)
    before = {(name, address) for name in bound for address in bound[name]}
    after = {(name, address) for name in wanted for address in wanted[name]}
    given_away = {(giver, address) for (_, address), giver in changes.moved}
    assert len(given_away) == len(changes.moved)
    assert before - after == given_away | set(changes.closed)
    assert after - before == taken.keys() | set(changes.opened)
    assert not given_away & set(changes.closed)
    assert not taken.keys() & set(changes.opened)
