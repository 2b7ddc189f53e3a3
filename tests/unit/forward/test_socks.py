"""The server's side of SOCKS: what is asked, what is answered, and that no split of the bytes changes it."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lb.forward.socks import (
    NeedMore,
    SocksLogin,
    SocksRefused,
    SocksReply,
    SocksRequest,
    SocksSend,
    SocksServer,
)
from lb.forward.target import ForwardTarget

ALL = ("http", "socks5", "socks4")
MOST_KEPT = 600
NO_LOGIN = b"\x05\x01\x00"
BOTH = b"\x05\x02\x00\x02"
LOGIN = b"\x01\x03ann\x02pw"
TO_NAME = b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"
TO_IPV4 = b"\x05\x01\x00\x01\x08\x08\x08\x08\x01\xbb"
TO_IPV6 = b"\x05\x01\x00\x04\x20\x01\x48\x60\x48\x60\0\0\0\0\0\0\0\0\x88\x88\x01\xbb"
IPV4_IN_4 = b"\x04\x01\x01\xbb\x08\x08\x08\x08me\0"
NAME_IN_4A = b"\x04\x01\x01\xbb\0\0\0\x01me\0example.com\0"
NAME = ForwardTarget("example.com", 443)
IPV4 = ForwardTarget("8.8.8.8", 443, ipaddress.ip_address("8.8.8.8"))
IPV6 = ForwardTarget("2001:4860:4860::8888", 443, ipaddress.ip_address("2001:4860:4860::8888"))


def negotiate(data, *, auth=False, protocols=ALL, ok=True, size=0):
    """Feed bytes, all at once or in pieces of a size. Return the events, and what is sent to the client."""
    server = SocksServer(protocols, auth=auth)
    events, sent, fed = [], b"", 0
    while True:
        event = server.next()
        if isinstance(event, NeedMore):
            if fed >= len(data):
                return events, sent
            piece = data[fed : fed + (size or len(data))]
            server.feed(piece)
            fed += len(piece)
            continue
        events.append(event)
        match event:
            case SocksSend(more):
                sent += more
            case SocksLogin():
                sent += server.login_result(ok)
            case SocksRefused(more):
                return events, sent + more
            case SocksRequest():
                return events, sent


@pytest.mark.parametrize(
    ("data", "version", "target"),
    [
        (NO_LOGIN + TO_NAME, 5, NAME),
        (BOTH + TO_NAME, 5, NAME),
        (NO_LOGIN + TO_IPV4, 5, IPV4),
        (NO_LOGIN + TO_IPV6, 5, IPV6),
        (NO_LOGIN + b"\x05\x01\x00\x03\x078.8.8.8\x01\xbb", 5, IPV4),
        (NO_LOGIN + b"\x05\x01\x00\x03\x142001:4860:4860::8888\x01\xbb", 5, IPV6),
        (NO_LOGIN + b"\x05\x01\x00\x04" + bytes(10) + b"\xff\xff\x08\x08\x08\x08\x01\xbb", 5, IPV4),
        (IPV4_IN_4, 4, IPV4),
        (NAME_IN_4A, 4, NAME),
        (b"\x04\x01\x01\xbb\0\0\0\x01\x00EXAMPLE.com.\0", 4, NAME),
    ],
)
def test_a_request_names_its_target(data, version, target):
    events, sent = negotiate(data)
    assert events[-1] == SocksRequest(version, target, b"")
    assert sent == (b"\x05\x00" if version == 5 else b"")


@pytest.mark.parametrize("data", [NO_LOGIN + TO_NAME, NO_LOGIN + TO_IPV6, IPV4_IN_4, NAME_IN_4A])
@pytest.mark.parametrize("size", [0, 1, 7])
def test_bytes_for_the_target_that_come_early_are_kept(data, size):
    payload = b"\x16\x03\x01" + bytes(500)
    events, _ = negotiate(data + payload, size=size)
    taken = -(-len(data) // size) * size if size else len(data + payload)
    assert events[-1].leftover == payload[: taken - len(data)]


def test_a_client_may_send_its_login_and_its_request_at_once():
    events, sent = negotiate(BOTH + LOGIN + TO_NAME + b"GET /", auth=True)
    assert events == [SocksSend(b"\x05\x02"), SocksLogin(b"ann", b"pw"), SocksRequest(5, NAME, b"GET /")]
    assert sent == b"\x05\x02\x01\x00"


def test_nothing_goes_on_until_the_login_is_checked():
    server = SocksServer(ALL, auth=True)
    server.feed(BOTH + LOGIN + TO_NAME)
    assert [type(server.next()) for _ in range(4)] == [SocksSend, SocksLogin, NeedMore, NeedMore]
    assert server.login_result(ok=True) == b"\x01\x00"
    assert server.next() == SocksRequest(5, NAME, b"")


def test_a_wrong_login_ends_it():
    events, sent = negotiate(BOTH + LOGIN + TO_NAME, auth=True, ok=False)
    assert [type(event) for event in events] == [SocksSend, SocksLogin, SocksRefused]
    assert sent == b"\x05\x02\x01\x01"


def test_a_password_is_not_printed():
    assert "pw" not in repr(SocksLogin(b"ann", b"pw"))


@pytest.mark.parametrize(
    ("data", "options", "sent"),
    [
        (b"\x05\x01\x02" + LOGIN, {}, b"\x05\xff"),
        (NO_LOGIN, {"auth": True}, b"\x05\xff"),
        (b"\x05\x01\x01", {"auth": True}, b"\x05\xff"),
        (b"\x05\x00", {}, b"\x05\xff"),
        (NO_LOGIN, {"protocols": ("http", "socks4")}, b"\x05\xff"),
        (b"GET / HTTP/1.1", {}, b"\x05\xff"),
        (IPV4_IN_4, {"protocols": ("http", "socks5")}, b"\x00\x5b\0\0\0\0\0\0"),
        (IPV4_IN_4, {"auth": True}, b"\x00\x5b\0\0\0\0\0\0"),
        (b"\x04\x02" + IPV4_IN_4[2:], {}, b"\x00\x5b\0\0\0\0\0\0"),
        (b"\x04\x01\x01\xbb\0\0\0\x01me\0\0", {}, b"\x00\x5b\0\0\0\0\0\0"),
        (b"\x04\x01\x01\xbb\x08\x08\x08\x08" + b"u" * 256, {}, b"\x00\x5b\0\0\0\0\0\0"),
        (b"\x04\x01\x01\xbb\0\0\0\x01\0" + b"a" * 256, {}, b"\x00\x5b\0\0\0\0\0\0"),
        (BOTH + b"\x05" + LOGIN[1:], {"auth": True}, b"\x05\x02\x01\x01"),
        (NO_LOGIN + b"\x04" + TO_NAME[1:], {}, b"\x05\x00" + b"\x05\x01\0\x01" + bytes(6)),
        (NO_LOGIN + b"\x05\x02" + TO_NAME[2:], {}, b"\x05\x00" + b"\x05\x07\0\x01" + bytes(6)),
        (NO_LOGIN + b"\x05\x03" + TO_IPV4[2:], {}, b"\x05\x00" + b"\x05\x07\0\x01" + bytes(6)),
        (NO_LOGIN + b"\x05\x01\0\x02" + bytes(6), {}, b"\x05\x00" + b"\x05\x08\0\x01" + bytes(6)),
        (NO_LOGIN + b"\x05\x01\0\x03\x00\x01\xbb", {}, b"\x05\x00" + b"\x05\x01\0\x01" + bytes(6)),
        (NO_LOGIN + b"\x05\x01\0\x03\x03a b\x01\xbb", {}, b"\x05\x00" + b"\x05\x01\0\x01" + bytes(6)),
        (NO_LOGIN + b"\x05\x01\0\x03\x07a\0b.com\x01\xbb", {}, b"\x05\x00" + b"\x05\x01\0\x01" + bytes(6)),
        (NO_LOGIN + TO_NAME[:-2] + b"\0\0", {}, b"\x05\x00" + b"\x05\x01\0\x01" + bytes(6)),
    ],
)
def test_what_cannot_be_served_is_refused_in_the_words_of_its_version(data, options, sent):
    events, found = negotiate(data, **options)
    assert isinstance(events[-1], SocksRefused)
    assert events[-1].why
    assert found == sent


def test_after_a_refusal_there_is_nothing_else():
    server = SocksServer(ALL, auth=False)
    server.feed(b"\x05\x01\x02")
    refused = server.next()
    server.feed(NO_LOGIN + TO_NAME)
    assert server.next() is refused


def test_a_user_and_a_password_have_up_to_255_bytes():
    long = b"\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255
    events, _ = negotiate(BOTH + long + TO_NAME, auth=True)
    assert events[1] == SocksLogin(b"u" * 255, b"p" * 255)
    events, _ = negotiate(BOTH + b"\x01\x00\x00" + TO_NAME, auth=True)
    assert events[1] == SocksLogin(b"", b"")


def test_the_longest_texts_of_version_4_pass():
    name = b".".join([b"a" * 63] * 3 + [b"a" * 61]) + b"."
    events, _ = negotiate(b"\x04\x01\x01\xbb\0\0\0\x01" + b"u" * 255 + b"\0" + name + b"\0")
    assert events[-1].target.host == name[:-1].decode()


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        (SocksReply.SUCCEEDED, b"\x05\x00\x00\x01" + bytes(6)),
        (SocksReply.NOT_ALLOWED, b"\x05\x02\x00\x01" + bytes(6)),
        (SocksReply.TTL_EXPIRED, b"\x05\x06\x00\x01" + bytes(6)),
    ],
)
def test_a_reply_of_version_5(code, reply):
    server = SocksServer(ALL, auth=False)
    server.feed(NO_LOGIN + TO_NAME)
    assert [type(server.next()) for _ in range(2)] == [SocksSend, SocksRequest]
    assert server.reply(code) == reply


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        (SocksReply.SUCCEEDED, b"\x00\x5a" + bytes(6)),
        (SocksReply.REFUSED, b"\x00\x5b" + bytes(6)),
    ],
)
def test_a_reply_of_version_4(code, reply):
    server = SocksServer(ALL, auth=False)
    server.feed(NAME_IN_4A)
    assert isinstance(server.next(), SocksRequest)
    assert server.reply(code) == reply


HOSTS = st.binary(max_size=255).map(lambda name: b"\x03" + bytes([len(name)]) + name)
ADDRESSES = st.binary(min_size=4, max_size=4).map(lambda each: b"\x01" + each)
REQUESTS = st.builds(
    lambda command, host, port: bytes((5, command, 0)) + host + port,
    st.sampled_from([1, 1, 1, 2, 3, 9]),
    HOSTS | ADDRESSES | st.just(TO_NAME[3:-2]),
    st.binary(min_size=2, max_size=2),
)
GREETINGS = st.lists(st.sampled_from([0, 1, 2]), max_size=255).map(lambda each: bytes((5, len(each), *each)))
LOGINS = st.builds(
    lambda user, password: b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password,
    st.binary(max_size=255),
    st.binary(max_size=255),
)
OF_5 = st.builds(lambda *parts: b"".join(parts), GREETINGS, LOGINS | st.just(b""), REQUESTS, st.binary(max_size=40))
TEXTS = st.binary(max_size=270).map(lambda text: text.replace(b"\0", b"a"))
OF_4 = st.builds(
    lambda head, address, user, name, more: b"\x04" + head + address + user + b"\0" + name + b"\0" + more,
    st.binary(min_size=3, max_size=3) | st.just(b"\x01\x01\xbb"),
    st.sampled_from([b"\x08\x08\x08\x08", b"\0\0\0\x01", b"\0\0\0\0"]),
    TEXTS,
    TEXTS | st.just(b"example.com"),
    st.binary(max_size=40),
)
CLIENTS = OF_5 | OF_4 | st.binary(max_size=700)


def comparable(result):
    """Events and sent bytes without the bytes for the target, which depend on what has come so far."""
    events, sent = result
    return [(e.version, e.target) if isinstance(e, SocksRequest) else e for e in events], sent


@given(CLIENTS, st.booleans(), st.booleans(), st.integers(1, 9))
@example(BOTH + LOGIN + TO_NAME + b"GET /", True, True, 1)
def test_byte_by_byte_is_as_at_once(data, auth, ok, size):
    at_once = negotiate(data, auth=auth, ok=ok)
    assert comparable(negotiate(data, auth=auth, ok=ok, size=1)) == comparable(at_once)
    assert comparable(negotiate(data, auth=auth, ok=ok, size=size)) == comparable(at_once)


@given(CLIENTS, st.booleans())
def test_no_byte_is_lost_that_is_for_the_target(data, auth):
    events, _ = negotiate(data, auth=auth)
    if events and isinstance(events[-1], SocksRequest):
        leftover = events[-1].leftover
        assert data.endswith(leftover)
        head = data[: len(data) - len(leftover)]
        assert comparable(negotiate(head, auth=auth)) == comparable((events, negotiate(data, auth=auth)[1]))
        short, _ = negotiate(head[:-1], auth=auth)
        assert not any(isinstance(event, SocksRequest) for event in short)


@pytest.mark.parametrize("data", [BOTH + LOGIN + TO_NAME, BOTH + LOGIN + TO_IPV6])
def test_a_request_that_is_cut_off_is_waited_for(data):
    for end in range(len(data)):
        events, _ = negotiate(data[:end], auth=True)
        assert not [event for event in events if isinstance(event, SocksRequest | SocksRefused)]


@pytest.mark.parametrize("data", [IPV4_IN_4, NAME_IN_4A])
def test_a_request_of_version_4_that_is_cut_off_is_waited_for(data):
    for end in range(len(data)):
        assert negotiate(data[:end]) == ([], b"")


@given(CLIENTS, st.booleans())
@example(b"\x05\xff" + b"\x00" * 600, False)
@example(BOTH + b"\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255 + TO_NAME, True)
@example(b"\x04\x01\x01\xbb\0\0\0\x01" + b"u" * 255 + b"\0" + b"n" * 255 + b"\0", False)
def test_a_caller_that_heeds_room_never_makes_it_keep_more(data, auth):
    server = SocksServer(ALL, auth=auth)
    fed = 0
    while True:
        event = server.next()
        if isinstance(event, SocksRequest):
            assert len(event.leftover) < MOST_KEPT
            return
        if isinstance(event, SocksRefused):
            return
        if isinstance(event, SocksLogin):
            server.login_result(ok=True)
        if isinstance(event, NeedMore):
            assert 0 < server.room <= MOST_KEPT
            if fed >= len(data):
                return
            piece = data[fed : fed + server.room]
            server.feed(piece)
            fed += len(piece)
