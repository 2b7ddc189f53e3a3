"""Keys of a cluster that no balancer has written: they take a bounded room, in memory and in what is told."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from lb.cluster.node_state import NodeState
from lb.cluster.part import MAX_BAD_KEYS, BadKeys
from lb.cluster.said_override import SaidOverride

MEGABYTE = 1 << 20


def test_bad_keys_with_large_values_take_no_memory_and_short_lines():
    events = []
    bad_keys = BadKeys(events.append, "/x/")
    tracemalloc.start()
    try:
        for number in range(50):
            bad_keys.bad("k" * MEGABYTE + str(number), b"v" * MEGABYTE, ValueError("e" * MEGABYTE))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < MEGABYTE
    assert len(events) == 50
    assert all(len(event.key) < 1_000 and len(event.error) < 1_000 for event in events)


def test_a_bad_key_is_told_once_for_each_value_and_not_without_end():
    events = []
    bad_keys = BadKeys(events.append, "/x/")
    for value in (b"a", b"a", b"b", b"b"):
        bad_keys.bad("nodes/lb1", value, ValueError("no"))
    assert len(events) == 2
    for number in range(2 * MAX_BAD_KEYS):
        bad_keys.bad(f"nodes/{number}", b"a", ValueError("no"))
    assert len(events) == MAX_BAD_KEYS + 1


@pytest.mark.parametrize("key", ["version", "config", "started"])
def test_a_node_that_says_too_much_is_no_node(key):
    said = {"ready": True, "version": "1", "config": "2", "started": "3", key: "x" * MEGABYTE}
    with pytest.raises(ValueError, match=f"^{key}: has more than 200 characters$"):
        NodeState.decoded(json.dumps(said).encode())


def test_who_said_an_override_has_a_name_of_bounded_length():
    with pytest.raises(ValueError, match="has more than 300 characters"):
        SaidOverride.decoded(json.dumps({"drained": True, "node": "x" * MEGABYTE}).encode())
