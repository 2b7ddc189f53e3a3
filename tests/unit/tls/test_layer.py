"""A peer cannot make TLS work without end: records without bytes of the stream are bounded, and all are counted."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest

from chaos.attacks import update_keys
from lb.tls.layer import MOST_UNANSWERED, RECORD, WITHOUT_BYTES, Tls
from tests.support.tls_peers import VERSIONS, client_context, server_context

NAME = "a.example.org"


class Peer:
    """A client, and our server side of its connection, without sockets."""

    def __init__(self, version=ssl.TLSVersion.TLSv1_3):
        self.ours = Tls(server_context(NAME, version=version), server_side=True)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = client_context().wrap_bio(self._incoming, self._outgoing, server_hostname=NAME)
        both = [False, False]
        while not all(both):
            with suppress(ssl.SSLWantReadError):
                self.object.do_handshake()
                both[0] = True
            both[1] = self.ours.shake_hands(self._outgoing.read()) or both[1]
            self._incoming.write(self.ours.to_send())

    def updates(self, count):
        for _ in range(count):
            update_keys(self.object)
        return self._outgoing.read()

    def records(self, *pieces):
        for piece in pieces:
            self.object.write(piece)
        return self._outgoing.read()

    def hear(self, data):
        self._incoming.write(data)
        return self.object.read()


@pytest.fixture(params=["into", "bytes"])
def decode(request):
    """Both ways to decode: of the fast splicer, and of the portable one."""
    if request.param == "bytes":
        return lambda tls, data: tls.open(data)

    def into(tls, data):
        plain = memoryview(bytearray(len(data) + 2 * RECORD))
        return bytes(plain[: tls.open_into(memoryview(data), plain)])

    return into


def test_key_updates_that_get_no_answer_are_bounded(decode):
    peer = Peer()
    assert decode(peer.ours, peer.updates(MOST_UNANSWERED)) == b""
    with pytest.raises(ssl.SSLError, match="more than 16 records"):
        decode(peer.ours, peer.updates(1))


def test_many_key_updates_in_one_read_are_not_all_processed(decode):
    peer = Peer()
    with pytest.raises(ssl.SSLError, match="more than 16 records"):
        decode(peer.ours, peer.updates(500))
    assert peer.ours.work <= 2 * MOST_UNANSWERED * (1 + WITHOUT_BYTES)


def test_an_answer_makes_room_for_more(decode):
    peer = Peer()
    for _ in range(5):
        assert decode(peer.ours, peer.updates(MOST_UNANSWERED) + peer.records(b"x")) == b"x"
        assert peer.hear(peer.ours.seal(b"answer")) == b"answer"


def test_bytes_between_the_key_updates_are_no_answer(decode):
    peer = Peer()
    data = b"".join(peer.updates(1) + peer.records(b"x") for _ in range(MOST_UNANSWERED))
    assert decode(peer.ours, data) == b"x" * MOST_UNANSWERED
    with pytest.raises(ssl.SSLError, match="more than 16 records"):
        decode(peer.ours, peer.updates(1))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_small_records_arrive_and_each_counts_as_work(decode, version):
    peer = Peer(version)
    assert decode(peer.ours, peer.records(*[b"x"] * 1000)) == b"x" * 1000
    assert peer.ours.work == 1000
    whole = peer.records(b"one")
    for byte in whole[:-1]:
        assert decode(peer.ours, bytes([byte])) == b""
    assert decode(peer.ours, whole[-1:]) == b"one"


def test_the_usual_record_costs_nothing_extra():
    peer, plain = Peer(), memoryview(bytearray(3 * RECORD))
    assert peer.ours.open_into(memoryview(peer.records(b"question")), plain) == 8
    assert peer.ours.work == 0


def test_what_came_with_the_handshake_is_bounded_too():
    """Records right behind the end of the handshake, in the same read."""
    peer = Peer.__new__(Peer)
    peer.ours = Tls(server_context(NAME), server_side=True)
    peer._incoming, peer._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer.object = client_context().wrap_bio(peer._incoming, peer._outgoing, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        peer.object.do_handshake()
    assert not peer.ours.shake_hands(peer._outgoing.read())
    peer._incoming.write(peer.ours.to_send())
    peer.object.do_handshake()
    end = peer._outgoing.read()
    assert peer.ours.shake_hands(end + peer.records(*[b"x"] * 50))
    assert peer.ours.early == b"x" * 50
    with pytest.raises(ssl.SSLError, match="more than 16 records"):
        peer.ours.open(peer.updates(40))
