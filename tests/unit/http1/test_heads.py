"""Heads of requests and responses: one reading, and everything else is refused."""

import re

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.grammar import MalformedError
from lb.http1.head_buffer import HeadBuffer
from lb.http1.request_head import RequestHeads
from lb.http1.response_head import ResponseHeads
from lb.http1.target import routing_path, split_absolute
from tests.support.http_attacks import (
    HOST,
    REFUSED,
    REFUSED_PATHS,
    RESPONSES_REFUSED,
    RESPONSES_TAKEN,
    STATUS,
    TAKEN,
    request,
)

MAX_HEADER = 32 * 1024


def read(data):
    return RequestHeads().read(data.removeprefix(b"\r\n"))


def outcome(reader, data):
    """Return the head, or the status of an error."""
    try:
        return reader(data)
    except MalformedError as error:
        return error.status


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_could_be_read_in_two_ways_is_refused(name):
    heads = HeadBuffer(MAX_HEADER), RequestHeads()
    for _ in range(3):  # also when it comes again
        assert outcome_in_pieces(REFUSED[name], len(REFUSED[name]), *heads) == STATUS.get(name, 400)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_however_it_comes(name):
    statuses = {outcome_in_pieces(REFUSED[name], step) for step in (1, 2, 3, 7)}
    assert statuses == {STATUS.get(name, 400)}


def outcome_in_pieces(data, step, buffer=None, heads=None):
    buffer, heads = buffer or HeadBuffer(MAX_HEADER), heads or RequestHeads()
    try:
        for at in range(0, len(data), step):
            buffer.feed(data[at : at + step])
            head = buffer.take_head()
            if head is not None:
                return heads.read(head)
    except MalformedError as error:
        return error.status
    finally:
        buffer.take_all()
    return None


@pytest.mark.parametrize("name", {**TAKEN, **REFUSED_PATHS})
def test_what_has_one_reading_is_taken_and_means_what_h11_says(name):
    data = {**TAKEN, **REFUSED_PATHS}[name].removeprefix(b"\r\n")  # an empty line before: h11 does not take it
    head, theirs = read_head_of(data), read_by_h11(data)
    assert (head.method, head.minor) == (theirs.method, int(theirs.http_version[-1:]))
    assert theirs.target.lower().removeprefix(b"http://a.example").removeprefix(b":80") in (
        head.target.lower(),
        head.target.lower().removeprefix(b"/"),
    )
    ours = sorted([*((field.name, field.value) for field in head.block.fields), *cookie_of(head)])
    assert [(name, value.lower()) for name, value in ours] == sorted(
        (name, value.lower()) for name, value in theirs.headers
    )


def read_head_of(data):
    """Return the head at the start of a message."""
    buffer = HeadBuffer(MAX_HEADER)
    buffer.feed(data)
    return read(buffer.take_head())


def cookie_of(head):
    return [] if head.cookie_line is None else [(b"cookie", head.cookie_line)]


def read_by_h11(data):
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


@pytest.mark.parametrize("name", REFUSED_PATHS)
def test_a_path_that_servers_read_in_different_ways_is_refused(name):
    head = read(REFUSED_PATHS[name])
    for _ in range(2):
        with pytest.raises(MalformedError):
            _ = head.path


PIECES = st.sampled_from(
    [
        *(line + b"\r\n" for line in b"".join(REFUSED.values()).split(b"\r\n") if len(line) < 100),
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\0",
        b":",
    ]
)


@given(
    st.lists(st.lists(PIECES, max_size=6).map(b"".join), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), max_size=12),
)
def test_what_was_read_before_means_the_same_again(bodies, order):
    heads = RequestHeads()
    messages = [b"GET / HTTP/1.1\r\n" + HOST + body + b"\r\n" for body in bodies]
    for index in order:
        data = messages[index % len(messages)]
        assert outcome(heads.read, data) == outcome(read, data)


@given(st.lists(PIECES, max_size=8).map(b"".join))
def test_whatever_we_take_h11_takes_too(fields):
    data = b"POST / HTTP/1.1\r\n" + HOST + fields + b"\r\n"
    head = outcome_in_pieces(data, len(data))
    if head is not None and not isinstance(head, int):
        theirs = read_by_h11(data)
        assert {field.name for field in head.block.fields} | {name for name, _ in cookie_of(head)} == {
            name for name, _ in theirs.headers
        }


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [
        (b"GET / HTTP/1.1", b"", True),
        (b"GET / HTTP/1.1", b"Connection: close\r\n", False),
        (b"GET / HTTP/1.1", b"Connection: x, Close\r\n", False),
        (b"GET / HTTP/1.0", b"", False),
        (b"GET / HTTP/1.0", b"Connection: keep-alive\r\n", True),
        (b"GET / HTTP/1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_who_keeps_the_connection(line, fields, expected):
    assert read(request(line, HOST + fields)).keep_alive is expected


def test_what_belongs_to_one_connection_is_not_passed_on():
    fields = (
        b"Connection: X-Mine, upgrade\r\nX-Mine: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nUpgrade: websocket\r\n"
        b"Proxy-Authorization: secret\r\nContent-Length: 3\r\nAccept: */*\r\n"
    )
    assert [field.line for field in read(request(fields=HOST + fields)).block.end_to_end()] == [b"Accept: */*"]


@pytest.mark.parametrize("name", ["Cookie", "cookie", "COOKIE"])
def test_cookies_stand_together_wherever_they_stood(name):
    line = name.encode()
    head = read(request(fields=line + b": a=1\r\n" + HOST + line + b": b=2 \r\nX: y\r\n" + line + b": c=3\r\n"))
    assert sorted(head.cookies.split(b"; ")) == [b"a=1", b"b=2", b"c=3"]


def test_an_absolute_target_names_the_host():
    head = read(request(b"GET HTTP://A.example:80/?x=1 HTTP/1.1"))
    assert (head.host, head.target, head.path) == (b"a.example", b"/?x=1", b"/")


@pytest.mark.parametrize(
    "target", [b"http://", b"http:///x", b"http://a b/", b"//a/", b"a:80", b"http://a/#x", b"http://a?x"]
)
def test_a_target_that_is_no_url_is_refused(target):
    with pytest.raises(MalformedError):
        split_absolute(target)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", b"/"),
        (b"/a/b?c=/../", b"/a/b"),
        (b"/a/./b/../c", b"/a/c"),
        (b"/a/..", b"/"),
        (b"/a/.", b"/a/"),
        (b"/%61dmin", b"/admin"),
        (b"/x/%2e%2e/admin", b"/admin"),
        (b"//admin", b"/admin"),
        (b"/a//b/..//c", b"/a/c"),
        (b"/a/b;c=d/..", b"/a/"),
        (b"/a/...;x", b"/a/...;x"),
        (b"/...", b"/..."),
        (b"/.hidden", b"/.hidden"),
    ],
)
def test_routes_see_the_path_that_is_meant(target, path):
    assert routing_path(target) == path


@given(st.lists(st.sampled_from([b"/", b"..", b".", b"a", b"%2e", b"b;", b"?"]), max_size=8).map(b"".join))
def test_a_path_means_the_same_whether_slashes_are_merged_first_or_last(target):
    first = outcome(routing_path, b"/" + target)
    if first != 400:
        path, mark, query = target.partition(b"?")
        merged = re.sub(rb"/{2,}", b"/", b"/" + path)
        assert first == outcome(routing_path, merged + mark + query)


@pytest.mark.parametrize("name", RESPONSES_REFUSED)
def test_a_response_that_could_be_read_in_two_ways_is_refused(name):
    heads, data = ResponseHeads(), RESPONSES_REFUSED[name]
    head = data[: data.find(b"\r\n\r\n") + 4] or data  # a head with bare line feeds has no end
    for _ in range(3):
        with pytest.raises(MalformedError):
            heads.read(head)


@pytest.mark.parametrize("name", RESPONSES_TAKEN)
def test_a_response_with_one_reading_is_taken_and_means_what_h11_says(name):
    data = RESPONSES_TAKEN[name]
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    theirs = connection.next_event()
    head = ResponseHeads().read(data[: data.index(b"\r\n\r\n") + 4])
    assert (head.status, head.reason) == (theirs.status_code, theirs.reason)
    assert [(field.name, field.value.lower()) for field in head.block.fields] == [
        (name, value.lower()) for name, value in theirs.headers
    ]


@pytest.mark.parametrize("reason", [b" OK", b" ", b"", b" Not what you think"])
def test_the_reason_may_be_anything_or_nothing(reason):
    heads = ResponseHeads()
    for _ in range(3):
        head = heads.read(b"HTTP/1.1 200" + reason + b"\r\nContent-Length: 3\r\n\r\n")
        assert (head.status, head.block.length, head.keep_alive) == (200, 3, True)


@pytest.mark.parametrize(
    ("status", "method", "bodiless"),
    [(200, b"GET", False), (200, b"HEAD", True), (204, b"GET", True), (304, b"GET", True), (101, b"GET", True)],
)
def test_some_responses_never_have_a_body(status, method, bodiless):
    assert ResponseHeads().read(b"HTTP/1.1 %d x\r\n\r\n" % status).bodiless(method) is bodiless


@pytest.mark.parametrize("name", [b"Content_Length", b"Transfer_Encoding", b"Proxy_Authorization", b"Cookie_"])
def test_what_a_program_of_cgi_takes_for_another_header_is_not_passed_on(name):
    passed = [field.line for field in read(request(fields=HOST + name + b": 5\r\n")).block.end_to_end()]
    assert passed == ([b"Cookie_: 5"] if name == b"Cookie_" else [])
