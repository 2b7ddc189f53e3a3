"""Messages of netlink: whatever bytes come, reading them ends and raises nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lb.announce.netlink import attribute, attributes, netlink_messages, request


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(content):
    for message in netlink_messages(content):
        attributes(message.body)


@given(st.lists(st.tuples(st.integers(0, 100), st.binary(max_size=9))))
def test_what_is_written_is_read(pairs):
    body = b"".join(attribute(*pair) for pair in pairs)
    first, second = netlink_messages(request(20, 4, body) + request(21, 0, b""))
    assert (first.kind, first.flags, attributes(first.body)) == (20, 4, dict(pairs))
    assert (second.kind, second.body) == (21, b"")
