"""The fast path of hits: what it keeps, and when it looks again."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import attrs
import pytest

from lb.cache.entry import CacheEntry
from lb.cache.freshness import Freshness
from lb.cache.zone import CacheZone
from lb.http.cache_hit import serve_hit
from lb.http1.request_head import RequestHeads
from lb.model import CacheSpec, RouteCache
from lb.net.descriptors import Descriptors

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
WITH_COOKIE = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=%d\r\n\r\n"


class Carrier:
    scheme, unsent, held, more_comes = b"http", b"", (), False

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)

    def write_two(self, head, body):
        self.written.append(head + body)

    def fast_ended(self, *, keep_alive):
        self.keep_alive = keep_alive


class Serving:
    """A zone with one response, and what serves it."""

    def __init__(self, body=b"body", memory=1 << 20):
        self.now = 1000.0
        self.zone = CacheZone(CacheSpec("zone"), memory, clock=lambda: self.now, descriptors=Descriptors(100))
        fields = [(b"X-Result", b"of another cache"), (b"Cache-Status", b"other; hit")]
        self.entry = CacheEntry(b"k", b"", 200, fields, Freshness(1000.0, 0.0, 60.0), body)
        self.zone.store(self.entry)
        self.cached = SimpleNamespace(
            zone=self.zone,
            rules=RouteCache(CacheSpec("zone")),
            key=lambda *_: b"k",
            is_unusual=lambda _: False,
            added=lambda result, status: ((b"Cache-Status", status), (b"X-Result", result.encode())),
            status_header=b"X-Result",
            reads_cookies=False,
        )
        self.frontend = SimpleNamespace(next_id=lambda: "1", is_recorded=False)

    def ask(self, data=HEAD, head=None):
        """Return what is sent; None if it is no hit."""
        carrier = Carrier()
        head = RequestHeads().read(data) if head is None else head
        if not serve_hit(self.cached, carrier, self.frontend, head, None):
            return None
        (answer,) = carrier.written
        assert carrier.keep_alive == (b"close" not in data)
        return answer


@pytest.mark.parametrize("size", [0, 4, 16 * 1024, 16 * 1024 + 1])
@pytest.mark.parametrize("closes", [False, True])
def test_each_hit_has_the_whole_response(size, closes):
    serving = Serving(b"x" * size)
    data = HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if closes else HEAD
    head, _, body = serving.ask(data).partition(b"\r\n\r\n")
    assert body == b"x" * size
    assert b"Content-Length: %d" % size in head
    assert (b"Connection: close" in head) is closes


def test_what_the_cache_says_takes_the_place_of_what_another_one_said():
    answer = Serving().ask()
    assert answer.count(b"X-Result: ") == 1
    assert b"X-Result: HIT" in answer
    assert answer.count(b"Cache-Status: ") == 2


def test_a_clock_that_is_set_back_far_makes_it_no_hit():
    serving = Serving()
    head = RequestHeads().read(HEAD)
    assert serving.ask(head=head)
    serving.now -= 3600
    assert serving.ask(head=head) is None


def test_what_is_removed_is_not_kept_for_the_heads_that_asked_for_it():
    serving = Serving()
    heads = [RequestHeads().read(HEAD.replace(b"/", b"/?%d" % number, 1)) for number in range(3)]
    assert all(serving.ask(head=head) for head in heads)
    prepared = weakref.ref(*serving.entry.prepared.values())
    serving.zone.remove(b"k")
    gc.collect()
    assert prepared() is None
    assert serving.ask(head=heads[0]) is None


def test_heads_that_ask_for_the_same_share_what_is_sent():
    serving = Serving()
    for number in range(3):
        serving.ask(HEAD.replace(b"/", b"/?%d" % number, 1))
    assert len(serving.entry.prepared) == 1


def test_heads_that_differ_only_in_their_cookies_are_looked_up_once():
    serving, heads, looks = Serving(), RequestHeads(), []
    serving.cached.key = lambda *_: looks.append(1) or b"k"
    for number in range(20):
        assert serving.ask(head=heads.read(WITH_COOKIE % number))
    assert len(looks) <= 2  # what comes once is not kept


@pytest.mark.parametrize("depends", ["key", "vary"])
def test_what_depends_on_cookies_is_looked_up_for_each(depends):
    serving, heads = Serving(), RequestHeads()
    if depends == "key":
        serving.cached.reads_cookies = True
        serving.cached.key = lambda _, head: b"k" if head.cookie(b"a") == b"1" else b"other"
    else:
        serving.zone.mark(b"k", (b"cookie",), sliced=False)
        serving.zone.store(attrs.evolve(serving.entry, variant=b"a=1"))
    answered = [serving.ask(head=heads.read(WITH_COOKIE % number)) is not None for number in [1, 2] * 4]
    assert answered == [True, False] * 4


def test_a_request_without_cookies_gets_nothing_that_was_kept_for_those_with_any():
    serving, heads = Serving(), RequestHeads()
    serving.zone.mark(b"k", (b"cookie",), sliced=False)
    serving.zone.store(attrs.evolve(serving.entry, variant=b"\0"))  # the field is missing
    for _ in range(3):
        assert serving.ask(head=heads.read(HEAD))
        assert serving.ask(head=heads.read(WITH_COOKIE % 1)) is None
