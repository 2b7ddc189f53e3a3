"""Heads of requests and responses: one reading, and everything else is refused."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHeads, head_end
from lb.http1.response_head import ResponseHeads
from lb.http1.target import routing_path, split_absolute

HOST = b"Host: a.example\r\n"


def request(line=b"GET / HTTP/1.1", fields=HOST):
    return line + b"\r\n" + fields + b"\r\n"


def read(data):
    return RequestHeads().read(data)


REFUSED = {
    "no Host": request(fields=b""),
    "two Hosts": request(fields=HOST + HOST),
    "an empty Host": request(fields=b"Host: \r\n"),
    "a Host with user information": request(fields=b"Host: a@b\r\n"),
    "a Host with a path": request(fields=b"Host: a/b\r\n"),
    "a Host with a space": request(fields=b"Host: a b\r\n"),
    "a Host list": request(fields=b"Host: a, b\r\n"),
    "a Host with a port that is none": request(fields=b"Host: a:x\r\n"),
    "a Host with an open bracket": request(fields=b"Host: [::1\r\n"),
    "a Host that is not the target's": request(b"GET http://b.example/ HTTP/1.1"),
    "user information in the target": request(b"GET http://u@a.example/ HTTP/1.1"),
    "another scheme": request(b"GET ftp://a.example/ HTTP/1.1"),
    "a target without a slash": request(b"GET foo HTTP/1.1"),
    "an asterisk for GET": request(b"GET * HTTP/1.1"),
    "a fragment": request(b"GET /a#b HTTP/1.1"),
    "a target with a byte above ASCII": request(b"GET /\xe9 HTTP/1.1"),
    "a target with a tab": request(b"GET /a\tb HTTP/1.1"),
    "a target with a space": request(b"GET /a b HTTP/1.1"),
    "a target with a NUL": request(b"GET /\0 HTTP/1.1"),
    "two spaces": request(b"GET  / HTTP/1.1"),
    "a tab for a space": request(b"GET\t/ HTTP/1.1"),
    "a space at the end": request(b"GET / HTTP/1.1 "),
    "a space at the start": request(b" GET / HTTP/1.1"),
    "no version": request(b"GET /"),
    "another version": request(b"GET / HTTP/1.2"),
    "a version of HTTP/2": request(b"GET / HTTP/2.0"),
    "a version in lower case": request(b"GET / http/1.1"),
    "a version of two digits": request(b"GET / HTTP/1.10"),
    "no method": request(b" / HTTP/1.1"),
    "a method with a parenthesis": request(b"G(T / HTTP/1.1"),
    "a method with a colon": request(b"GET: / HTTP/1.1"),
    "a method with a NUL": request(b"G\0T / HTTP/1.1"),
    "a method of 33 letters": request(b"A" * 33 + b" / HTTP/1.1"),
    "Content-Length beside Transfer-Encoding": request(
        fields=HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
    ),
    "Transfer-Encoding beside Content-Length": request(
        fields=HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"
    ),
    "Content-Length twice": request(fields=HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n"),
    "two Content-Lengths": request(fields=HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n"),
    "a list in Content-Length": request(fields=HOST + b"Content-Length: 1, 1\r\n"),
    "a signed Content-Length": request(fields=HOST + b"Content-Length: +1\r\n"),
    "a negative Content-Length": request(fields=HOST + b"Content-Length: -1\r\n"),
    "a hexadecimal Content-Length": request(fields=HOST + b"Content-Length: 0x1\r\n"),
    "an underscore in Content-Length": request(fields=HOST + b"Content-Length: 1_0\r\n"),
    "a space in Content-Length": request(fields=HOST + b"Content-Length: 1 0\r\n"),
    "a Content-Length that overflows": request(fields=HOST + b"Content-Length: 18446744073709551617\r\n"),
    "an empty Content-Length": request(fields=HOST + b"Content-Length: \r\n"),
    "a digit of another script": request(fields=HOST + b"Content-Length: \xb2\r\n"),
    "an arabic digit": request(fields=HOST + "Content-Length: \u0661\r\n".encode()),
    "another transfer coding": request(fields=HOST + b"Transfer-Encoding: xchunked\r\n"),
    "identity": request(fields=HOST + b"Transfer-Encoding: identity\r\n"),
    "chunked, identity": request(fields=HOST + b"Transfer-Encoding: chunked, identity\r\n"),
    "gzip, chunked": request(fields=HOST + b"Transfer-Encoding: gzip, chunked\r\n"),
    "chunked twice": request(fields=HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    "chunked, chunked": request(fields=HOST + b"Transfer-Encoding: chunked, chunked\r\n"),
    "chunked in quotes": request(fields=HOST + b'Transfer-Encoding: "chunked"\r\n'),
    "chunked with a parameter": request(fields=HOST + b"Transfer-Encoding: chunked;a=b\r\n"),
    "a vertical tab before chunked": request(fields=HOST + b"Transfer-Encoding: \x0bchunked\r\n"),
    "an empty Transfer-Encoding": request(fields=HOST + b"Transfer-Encoding:\r\n"),
    "chunked in HTTP/1.0": request(b"POST / HTTP/1.0", HOST + b"Transfer-Encoding: chunked\r\n"),
    "a space before the colon": request(fields=HOST + b"Transfer-Encoding : chunked\r\n"),
    "a tab before the colon": request(fields=HOST + b"X\t: a\r\n"),
    "a NUL in a name": request(fields=HOST + b"X\0: a\r\n"),
    "a byte above ASCII in a name": request(fields=HOST + b"X\xe9: a\r\n"),
    "a space in a name": request(fields=HOST + b"X Y: a\r\n"),
    "a bracket in a name": request(fields=HOST + b"X[Y]: a\r\n"),
    "no name": request(fields=HOST + b": a\r\n"),
    "no colon": request(fields=HOST + b"garbage\r\n"),
    "an empty line with a space": request(fields=HOST + b" \r\n"),
    "a NUL in a value": request(fields=HOST + b"X: a\0b\r\n"),
    "a DEL in a value": request(fields=HOST + b"X: a\x7fb\r\n"),
    "a bare CR in a value": request(fields=HOST + b"X: a\rContent-Length: 5\r\n"),
    "a bare LF in a value": request(fields=HOST + b"X: a\nContent-Length: 5\r\n"),
    "a bare CR at the end": request(fields=HOST + b"X: a\r\r\n"),
    "a form feed in a value": request(fields=HOST + b"X: \x0c\r\n"),
    "a folded line": request(fields=HOST + b"X: a\r\n b\r\n"),
    "a folded line with a tab": request(fields=HOST + b"X: a\r\n\tb\r\n"),
    "a folded first line": request(fields=b" X: a\r\n" + HOST),
    "a folded Transfer-Encoding": request(fields=HOST + b"Transfer-Encoding:\r\n chunked\r\n"),
    "a bare LF after the request line": b"GET / HTTP/1.1\n" + HOST + b"\r\n",
    "Connection that names Content-Length": request(
        fields=HOST + b"Connection: content-length\r\nContent-Length: 1\r\n"
    ),
    "Connection that names Host": request(fields=HOST + b"Connection: close, host\r\n"),
    "Connection that names no token": request(fields=HOST + b"Connection: a b\r\n"),
    "a control character in a cookie": request(fields=HOST + b"Cookie: a\0\r\n"),
    "a bare LF in a cookie": request(fields=HOST + b"Cookie: a\nX: b\r\n"),
    "Authorization twice": request(fields=HOST + b"Authorization: a\r\nAuthorization: b\r\n"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(name):
    heads = RequestHeads()
    for _ in range(3):  # also when it comes again
        with pytest.raises(MalformedError) as error:
            heads.read(REFUSED[name])
        assert error.value.status == (
            505 if name in ("another version", "a version of HTTP/2", "a version of two digits") else 400
        )


TAKEN = {
    "the least": request(),
    "HTTP/1.0 without Host": request(b"GET / HTTP/1.0", b""),
    "a method of its own": request(b"PROPFIND / HTTP/1.1"),
    "a method in lower case": request(b"get / HTTP/1.1"),
    "an empty value": request(fields=HOST + b"X:\r\n"),
    "spaces around a value": request(fields=HOST + b"X: \t a b \t\r\n"),
    "bytes above ASCII in a value": request(fields=HOST + b"X: \xe9\r\n"),
    "an underscore in a name": request(fields=HOST + b"Content_Length: 5\r\n"),
    "a Host of IPv6": request(fields=b"Host: [::1]:8080\r\n"),
    "a body": request(b"POST / HTTP/1.1", HOST + b"Content-Length: 10\r\n"),
    "chunks": request(b"POST / HTTP/1.1", HOST + b"Transfer-Encoding: Chunked\r\n"),
    "cookies": request(fields=HOST + b"Cookie: a=b\r\nX: y\r\nCookie: c=d\r\n"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_has_one_reading_is_taken_and_means_what_h11_says(name):
    head, theirs = read(TAKEN[name]), read_by_h11(TAKEN[name])
    assert (head.method, head.target, head.minor) == (theirs.method, theirs.target, int(theirs.http_version[-1:]))
    ours = sorted([*((field.name, field.value) for field in head.block.fields), *cookie_of(head)])
    assert [(name, value.lower()) for name, value in ours] == sorted(
        (name, value.lower()) for name, value in theirs.headers
    )


def cookie_of(head):
    return [] if head.cookie is None else [(b"cookie", head.cookie)]


def read_by_h11(data):
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


def outcome(reader, data):
    try:
        return reader(data)
    except MalformedError as error:
        return error.status


PIECES = st.sampled_from(
    [*(line + b"\r\n" for line in b"".join(REFUSED.values()).split(b"\r\n")), b"\r\n", b"\n", b"\r", b" ", b"\0", b":"]
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
    if head_end_or_refused(data) != len(data):
        return
    head = outcome(read, data)
    if not isinstance(head, int):
        theirs = read_by_h11(data)
        assert {field.name for field in head.block.fields} | {name for name, _ in cookie_of(head)} == {
            name for name, _ in theirs.headers
        }


def head_end_or_refused(data):
    try:
        return head_end(data)
    except MalformedError:
        return -1


@given(st.sampled_from(sorted(TAKEN.values())), st.integers(0, 200))
def test_a_head_is_found_when_it_is_whole_wherever_it_was_split(data, at):
    at = min(at, len(data) - 1)
    assert head_end(data[:at]) == 0
    assert head_end(data + b"more\r\n\r\n") == len(data)


def test_a_line_that_ends_badly_is_refused_at_once():
    with pytest.raises(MalformedError):
        head_end(b"GET / HTTP/1.1\nHost")


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
    head = read(request(b"GET HTTP://A.example:80?x=1 HTTP/1.1"))
    assert (head.host, head.target, head.path) == (b"a.example", b"/?x=1", b"/")


@pytest.mark.parametrize("target", [b"http://", b"http:///x", b"http://a b/", b"//a/", b"a:80", b"http://a/#x"])
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
        (b"/a//..//b", b"/b"),
        (b"/...", b"/..."),
        (b"/.hidden", b"/.hidden"),
    ],
)
def test_routes_see_the_path_that_is_meant(target, path):
    assert routing_path(target) == path


@pytest.mark.parametrize(
    "target", [b"/..", b"/a/../..", b"/%2e%2e/", b"/a%2fb", b"/a%2Fb", b"/%00", b"/%", b"/%zz", b"/%4"]
)
def test_a_path_that_servers_read_differently_is_refused(target):
    with pytest.raises(MalformedError):
        routing_path(target)


RESPONSES_REFUSED = {
    "no version": b"200 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of 600": b"HTTP/1.1 600 OK\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 2x0 OK\r\n\r\n",
    "a digit of another script": b"HTTP/1.1 2\xb20 OK\r\n\r\n",
    "a control character in the reason": b"HTTP/1.1 200 O\0K\r\n\r\n",
    "both lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "a length in 100": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
    "a length in 101": b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("name", RESPONSES_REFUSED)
def test_a_response_that_could_be_read_in_two_ways_is_refused(name):
    with pytest.raises(MalformedError):
        ResponseHeads().read(RESPONSES_REFUSED[name])


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
