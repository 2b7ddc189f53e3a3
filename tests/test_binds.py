"""Who listens where: what a new configuration binds, hands over and gives up."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from lb.address import Address
from lb.binds import closing, missing, moves
from lb.model import Config, ListenerSpec

X, Y, Z = (Address.parse(f"127.0.0.1:{port}") for port in (1, 2, 3))
ANY_PORT = Address.parse("127.0.0.1:0")


def config(**listeners):
    return Config(listeners={name: ListenerSpec(name, tuple(binds), "web") for name, binds in listeners.items()})


def test_what_stays_is_left_alone():
    bound, wanted = {"a": [X, Y]}, config(a=[Y, X])
    assert (moves(bound, wanted), closing(bound, wanted), missing(bound, wanted)) == ({}, [], [])


def test_what_is_new_is_missing_and_what_is_gone_is_closed():
    bound, wanted = {"a": [X], "b": [Y]}, config(a=[X, Z])
    assert missing(bound, wanted) == [("a", Z)]
    assert closing(bound, wanted) == [("b", Y)]


def test_an_address_moves_with_its_sockets():
    bound, wanted = {"a": [X, Y]}, config(b=[X])
    assert moves(bound, wanted) == {("b", X): "a"}
    assert closing(bound, wanted) == [("a", Y)]
    assert missing(bound, wanted) == []


def test_two_listeners_may_swap():
    bound, wanted = {"a": [X], "b": [Y]}, config(a=[Y], b=[X])
    assert moves(bound, wanted) == {("a", Y): "b", ("b", X): "a"}
    assert closing(bound, wanted) == []


def test_of_two_ports_of_the_systems_choice_each_has_its_own_fate():
    bound, wanted = {"a": [ANY_PORT], "b": [ANY_PORT]}, config(c=[ANY_PORT])
    assert moves(bound, wanted) == {("c", ANY_PORT): "a"}
    assert closing(bound, wanted) == [("b", ANY_PORT)]


books = st.dictionaries(st.sampled_from("abc"), st.lists(st.sampled_from([X, Y, Z, ANY_PORT]), unique=True, max_size=3))


@given(books, books)
def test_every_socket_is_kept_handed_over_or_closed_and_every_address_gets_one(bound, wanted):
    new = config(**wanted)
    taken, closed, opened = moves(bound, new), closing(bound, new), missing(bound, new)
    before = {(name, address) for name in bound for address in bound[name]}
    after = {(name, address) for name in wanted for address in wanted[name]}
    given_away = {(giver, address) for (_, address), giver in taken.items()}
    assert len(given_away) == len(taken)
    assert before - after == given_away | set(closed)
    assert after - before == taken.keys() | set(opened)
    assert not given_away & set(closed)
    assert not taken.keys() & set(opened)
