"""Readers that stop where a body is not kept: the others go on without them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lb.cache.content import WINDOW, Content
from lb.http.content_part import ContentPart
from lb.http.stopped_readers import StoppedReaders


class Watched:
    """A content in a full window, and the queue that watches its readers."""

    def __init__(self, readers):
        self.waits = []
        self.content = Content(None)
        self.parts = [ContentPart(self.content) for _ in range(readers)]
        self.content.pass_on()
        self.content.keep(bytes(WINDOW))
        queue = SimpleNamespace(enter=lambda wait, now: self.waits.append(wait), discard=self.waits.remove)
        deadlines = SimpleNamespace(queue=lambda kind, seconds: queue)
        loop = SimpleNamespace(turn=SimpleNamespace(now=0.0), refresh=lambda: None)
        self.queue = queue
        self.stopped = StoppedReaders(self.content, deadlines, loop)

    def pass_time(self):
        self.waits.remove(self.stopped)
        self.stopped.expired(self.queue)
        assert self.waits == [self.stopped]


@pytest.mark.parametrize("moves", [0, 1])
def test_one_that_takes_nothing_is_left_behind_and_gets_no_byte_of_another_place(moves):
    watched = Watched(2)
    slow, quick = watched.parts
    quick.move(WINDOW)
    assert watched.content.is_full
    watched.pass_time()
    assert not slow.failed
    slow.move(moves)
    watched.content.keep(bytes(moves))
    watched.pass_time()
    assert slow.failed is not bool(moves)
    assert watched.content.is_full is bool(moves)
    if not moves:
        assert slow.ready(0) == 0
        watched.content.keep(b"more")
        assert (slow.ready(0), quick.ready(WINDOW)) == (0, 4)
        slow.release()


def test_nobody_is_left_behind_for_nobody():
    watched = Watched(2)
    for _ in range(3):
        watched.pass_time()
    assert [part.failed for part in watched.parts] == [False, False]


def test_it_ends_with_what_it_watches():
    watched = Watched(1)
    watched.stopped.end()
    assert watched.waits == []
