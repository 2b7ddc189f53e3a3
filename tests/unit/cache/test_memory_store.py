"""The entries in memory."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from lb.cache.entry import CacheEntry, Part
from lb.cache.freshness import Freshness
from lb.cache.memory_file import MemoryFile
from lb.cache.memory_store import MemoryStore
from lb.net.descriptors import Descriptors

FRESH = Freshness(0.0, 0.0, 60.0)


def entry(key, size=0, variant=b"", part=None):
    return CacheEntry(key, variant, 200, [], FRESH, bytes(size), part=part)


KEYS = [b"a", b"b", b"c", b"d"]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.integers(0, 5000)),
        st.tuples(st.sampled_from(["find", "remove"]), st.sampled_from(KEYS), st.just(0)),
    ),
    max_size=40,
)


@given(steps, st.integers(0, 12_000))
def test_the_limit_holds_and_the_entry_used_least_lately_goes_first(steps, limit):
    evicted = []
    store = MemoryStore(limit, evicted.append)
    expected = []  # from the one used least lately
    for step, key, size in steps:
        if step == "put":
            new = entry(key, size)
            expected = [each for each in expected if each.key != key]
            if store.put(new):
                expected.append(new)
            while sum(each.memory for each in expected) > limit:
                assert evicted.pop(0) is expected.pop(0)
        elif step == "find":
            found = store.find(key)
            assert found is next((each for each in expected if each.key == key), None)
            if found is not None:
                expected.remove(found)
                expected.append(found)
        else:
            store.remove(key)
            expected = [each for each in expected if each.key != key]
        assert [*store.entries()] == expected
        assert store.used == sum(each.memory for each in expected) <= limit
    assert not evicted


def test_variants_and_slices_are_found_by_their_key():
    store = MemoryStore(1 << 20, lambda _: None)
    all_ = [entry(b"k", variant=b"1"), entry(b"k", variant=b"2"), entry(b"k", part=Part(0, 10, 20))]
    for each in all_:
        store.put(each)
    store.put(entry(b"other"))
    assert set(map(id, store.of_key(b"k"))) == set(map(id, all_))
    store.remove(all_[0].identity)
    assert len(store.of_key(b"k")) == 2
    assert store.of_key(b"unknown") == []


def test_a_long_body_in_a_memory_file_takes_room_until_its_last_reader_has_ended():
    evicted = []
    store = MemoryStore(10_000, evicted.append)
    small = entry(b"small", 100)
    store.put(small)
    file = MemoryFile(store, Descriptors(100))
    file.acquire()
    file.acquire()
    assert file.reserve(9_500)
    assert evicted == [small]
    assert not file.reserve(1_000)
    file.release()
    assert store.used == 9_500
    file.release()
    assert store.used == 0
