import re

import pytest
import trio

from healthcheck.probes.http import HttpProbe
from tests.support.probe_server import failure, resets, says, server, stays_silent


def answer(status="200 OK", headers="Content-Length: 2\r\n", body=b"ok"):
    return f"HTTP/1.1 {status}\r\n{headers}\r\n".encode() + body


@pytest.mark.parametrize(
    ("options", "said", "detail"),
    [
        ({}, answer(), "HTTP 200"),
        ({}, answer("302 Found"), "HTTP 302"),
        ({}, b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(), "HTTP 200"),
        ({}, b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "HTTP 200"),
        ({"method": "HEAD"}, answer(body=b""), "HTTP 200"),
        ({"expect_status": "404"}, answer("404 Not Found"), "HTTP 404"),
        ({"expect_status": (200, "401-403")}, answer("402 Pay"), "HTTP 402"),
        ({"expect_body": "^o.$"}, answer(), "HTTP 200"),
        (
            {"expect_body": "^one two$"},
            answer(headers="Transfer-Encoding: chunked\r\n", body=b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"),
            "HTTP 200",
        ),
        ({}, answer(headers="Content-Length: 9999999\r\n", body=bytes(70_000)), "HTTP 200"),
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
async def test_http_passes(options, said, detail, whole):
    chunks = [said] if whole or len(said) > 1000 else [said[n : n + 1] for n in range(len(said))]
    async with server(says(*chunks, after="request")) as target:
        assert await HttpProbe(**options).check(target) == detail


@pytest.mark.parametrize(
    ("options", "said", "reason"),
    [
        ({}, answer("503 Service Unavailable"), "HTTP 503"),
        ({"expect_status": "200,204"}, answer("201 Created"), "HTTP 201"),
        ({"expect_body": "fine"}, answer(), "HTTP 200, the body does not match 'fine'"),
        (
            {"expect_body": "end"},
            answer(headers="Content-Length: 65539\r\n", body=bytes(65_536) + b"end"),
            "HTTP 200, the body does not match 'end'",
        ),
        ({}, b"", "closed the connection before its answer was complete"),
        ({}, b"HTTP/1.1 20", "closed the connection before its answer was complete"),
        ({}, answer(headers="Content-Length: 3\r\n"), "closed the connection before its answer was complete"),
    ],
)
async def test_http_fails(options, said, reason):
    async with server(says(said, after="request")) as target:
        assert await failure(HttpProbe(**options), target) == reason


async def test_http_names_an_answer_of_another_protocol():
    async def speaks_ssh(stream):
        await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await stays_silent(stream)

    async with server(speaks_ssh) as target:
        assert (await failure(HttpProbe(), target)).startswith("not an HTTP answer: illegal status line")


async def test_http_with_a_server_that_resets_breaks():
    async def handle(stream):
        await stream.receive_some()
        await resets(stream)

    async with server(handle) as target:
        with pytest.raises(ConnectionResetError):
            await HttpProbe().check(target)


@pytest.mark.parametrize(
    ("options", "line", "host"),
    [
        ({}, b"GET / HTTP/1.1", None),
        ({"method": "OPTIONS", "path": "*", "host": "www.example"}, b"OPTIONS * HTTP/1.1", b"www.example"),
    ],
)
async def test_http_asks_politely(options, line, host):
    heard = []

    async def handle(stream):
        heard.append(await stream.receive_some())
        await stream.send_all(answer())
        heard.append(await stream.receive_some())

    async with server(handle) as target:
        await HttpProbe(**options).check(target)
        while len(heard) < 2:
            await trio.lowlevel.checkpoint()
    request, end = heard
    assert request.splitlines()[0] == line
    assert b"Host: " + (host or target.address.text.encode()) + b"\r\n" in request
    assert b"Connection: close\r\n" in request
    assert end == b"", "a graceful close, no reset"


async def test_http_sends_more_headers_in_place_of_its_own():
    heard = []

    async def handle(stream):
        heard.append(await stream.receive_some())
        await stream.send_all(answer())

    headers = {"Authorization": "Bearer x:y", "user-agent": "probe", "X-Empty": ""}
    async with server(handle) as target:
        await HttpProbe(headers=headers).check(target)
    lines = heard[0].split(b"\r\n")
    assert {b"Authorization: Bearer x:y", b"user-agent: probe", b"X-Empty: ", b"Accept: */*"} <= {*lines}
    assert sum(line.lower().startswith(b"user-agent:") for line in lines) == 1


async def test_http_post_says_that_its_body_is_empty():
    heard = []

    async def handle(stream):
        heard.append(await stream.receive_some())
        await stream.send_all(answer())

    async with server(handle) as target:
        await HttpProbe(method="POST").check(target)
    assert b"Content-Length: 0\r\n" in heard[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "get"}, "method: must be one like 'GET', 'HEAD' or 'OPTIONS', not 'get'"),
        ({"method": "CONNECT"}, "method: must be one like 'GET', 'HEAD' or 'OPTIONS', not 'CONNECT'"),
        ({"method": 3}, "method: must be a string, not 3"),
        ({"path": "x"}, "path: must begin with '/' and hold no spaces or bare non-ASCII, not 'x'"),
        ({"path": "/a b"}, "path: must begin with '/' and hold no spaces or bare non-ASCII, not '/a b'"),
        ({"host": "a\r\nb"}, r"host: must hold no spaces or non-ASCII, not 'a\r\nb'"),
        ({"expect_status": ""}, "expect_status: must be statuses and ranges like '200-299,404', not ''"),
        ({"expect_status": ()}, "expect_status: must be statuses and ranges like '200-299,404', not '()'"),
        ({"expect_status": "2xx"}, "expect_status: must be statuses and ranges like '200-299,404', not '2xx'"),
        ({"expect_status": [99]}, "expect_status: must be statuses and ranges like '200-299,404', not '99'"),
        ({"expect_status": "399-200"}, "expect_status: must be statuses and ranges like '200-299,404', not '399-200'"),
        ({"headers": "X: y"}, "headers: must be a table"),
        ({"headers": {"X Y": "z"}}, "headers: 'X Y' is not a name of a header"),
        ({"headers": {"X": "a\r\nY: b"}}, "headers: X must be a string of ASCII characters without control characters"),
        ({"headers": {"X": 1}}, "headers: X must be a string of ASCII characters without control characters"),
        ({"headers": {"X": "a", "x": "b"}}, "headers: x is given twice"),
        ({"headers": {"Host": "x"}}, "headers: Host is set by the probe; use the option 'host'"),
        ({"headers": {"Content-Length": "3"}}, "headers: Content-Length is set by the probe"),
        ({"expect_body": "("}, "expect_body: '(' is not a regular expression: "),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        HttpProbe(**options)
