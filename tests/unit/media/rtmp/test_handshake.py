"""The handshake: plain and signed, in any pieces, and what is no handshake."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.handshake import NOISE_BYTES, RtmpClientHandshake, RtmpServerHandshake

SERVER_NOISE = bytes(range(1, 256)) * 5 + bytes(NOISE_BYTES - 5 * 255)
CLIENT_NOISE = SERVER_NOISE[::-1]
PLAIN = b"\x03" + bytes(8) + CLIENT_NOISE
BLOCK = 1536


def signed(scheme):
    """A client's opening, signed by hand. The digest's place: the sum of four bytes that are 0."""
    block = bytearray(bytes(4) + b"\x09\0\0\1" + CLIENT_NOISE)
    block[scheme : scheme + 4] = bytes(4)
    place = scheme + 4
    rest = bytes(block[:place] + block[place + 32 :])
    block[place : place + 32] = hmac.digest(b"Genuine Adobe Flash Player 001", rest, "sha256")
    return b"\x03" + bytes(block)


def in_pieces(side, data, size):
    answer = b"".join(side.feed(data[at : at + size]) for at in range(0, len(data), size))
    return answer, side.leftover() if side.done else None


@pytest.mark.parametrize("opening", [PLAIN, signed(8), signed(772)], ids=["plain", "signed", "signed otherwise"])
@pytest.mark.parametrize("size", [1, 1000, 1537, 10_000])
def test_a_server_answers_a_client_and_hands_on_what_follows(opening, size):
    answer, leftover = in_pieces(RtmpServerHandshake(SERVER_NOISE), opening + bytes(BLOCK) + b"chunks", size)
    assert len(answer) == 1 + 2 * BLOCK
    assert leftover == b"chunks" or size < BLOCK, "what comes later does not go through the handshake"
    if opening == PLAIN:
        assert answer[1 + BLOCK :] == PLAIN[1:]
        assert answer[5:9] == bytes(4), "a version would tell that the block is signed"
    else:
        assert answer[1 + BLOCK :] != opening[1:]
        assert answer[5] >= 3


def test_a_signature_for_another_block_is_none():
    broken = bytearray(signed(8))
    broken[1000] ^= 1
    answer = RtmpServerHandshake(SERVER_NOISE).feed(bytes(broken))
    assert answer[1 + BLOCK :] == bytes(broken[1:])


@given(st.integers(1, 4000), st.binary(min_size=NOISE_BYTES, max_size=NOISE_BYTES))
def test_both_sides_agree(size, noise):
    server, client = RtmpServerHandshake(noise), RtmpClientHandshake(noise[::-1])
    answer, _ = in_pieces(server, client.opening(), size)
    reply, leftover = in_pieces(client, answer, size)
    assert client.done
    assert leftover == b""
    assert reply != answer[1 : 1 + BLOCK], "it is signed, not echoed"
    assert in_pieces(server, reply, size) == (b"", b"")
    assert server.done


def test_a_client_echoes_the_block_of_a_server_that_does_not_sign():
    client = RtmpClientHandshake(CLIENT_NOISE)
    block = bytes(8) + SERVER_NOISE
    assert client.feed(b"\x03" + block) == block
    assert client.feed(bytes(BLOCK)) == b""
    assert client.done


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"\x06", b"\0", b"\xff" * 5000])
@pytest.mark.parametrize("side", [RtmpServerHandshake, RtmpClientHandshake])
def test_the_first_byte_tells_what_is_not_rtmp(data, side):
    with pytest.raises(ProtocolError) as caught:
        side(SERVER_NOISE).feed(data)
    assert caught.value.reason == "handshake"
