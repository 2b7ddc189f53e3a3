"""The queue of connections that wait for a server."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from lb.pools.wait_queue import WaitQueue


class Waiter:
    """Records its tries in a shared list; queues again as long as it is ``unlucky``."""

    def __init__(self, line, tries, name, *, unlucky=False):
        self.line = line
        self.tries = tries
        self.name = name
        self.unlucky = unlucky

    def server_available(self):
        self.tries.append(self.name)
        if self.unlucky:
            self.line.join(self)


def line_of(unlucky):
    """Return a queue of connections and the list of tries; the tries of the ``unlucky`` ones fail."""
    line, tries = WaitQueue(), []
    waiters = [Waiter(line, tries, name, unlucky=each) for name, each in enumerate(unlucky)]
    for waiter in waiters:
        line.join(waiter)
    return line, tries, waiters


def always():
    return True


@given(st.lists(st.booleans(), max_size=10))
def test_each_tries_once_in_order_and_those_in_vain_keep_their_place(unlucky):
    line, tries, waiters = line_of(unlucky)
    line.let_try(always)
    assert tries == list(range(len(unlucky)))
    assert line.count.total == len(line) == sum(unlucky)
    tries.clear()
    for waiter in waiters:
        waiter.unlucky = False
    line.let_try(always)
    assert tries == [name for name, each in enumerate(unlucky) if each]
    assert line.count.total == len(line) == 0


def test_it_stops_when_there_is_no_hope_left():
    line, tries, _ = line_of([False] * 5)
    line.let_try(lambda: len(tries) < 2)
    assert tries == [0, 1]
    assert len(line) == 3


def test_who_joins_twice_or_leaves_twice_counts_once():
    line, _, (first, second) = line_of([False, False])
    line.join(first)
    assert line.count.total == 2
    line.leave(second)
    line.leave(second)
    assert line.count.total == len(line) == 1


def test_a_try_that_makes_others_leave_or_leads_back_does_no_harm():
    line, tries, waiters = line_of([True] * 3)

    class First(Waiter):
        def server_available(self):
            super().server_available()
            line.leave(waiters[2])
            line.let_try(always)

    waiters[0].__class__ = First
    line.let_try(always)
    assert tries[:2] == [0, 1]
    assert list(line._waiting) == waiters[:2]
