import contextlib
import re

import pytest
import trio
import trio.testing

from healthcheck.probe import ProbeFailed
from healthcheck.probes.http import HttpProbe
from tests.support.balancer import PATIENCE
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
        ({}, b"HTTP/1.1 200 OK\r\n", "closed the connection before its answer was complete"),
        ({}, answer(headers="no header\r\n"), 'not an HTTP answer: "no header"'),
        ({}, b"ICY 200 OK\r\n\r\n", 'not an HTTP answer: "ICY 200 OK"'),
        ({}, answer("101 Switching Protocols"), "HTTP 101"),
        ({}, 17 * b"HTTP/1.1 100 Continue\r\n\r\n" + answer(), "more than 16 answers before the final one"),
    ],
)
async def test_http_fails(options, said, reason):
    async with server(says(said, after="request")) as target:
        assert await failure(HttpProbe(**options), target) == reason


async def sends_for_ever(stream):
    with contextlib.suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(bytes(8192))


@pytest.mark.parametrize("goes_on", [stays_silent, sends_for_ever, resets, None])
@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        answer(headers="Content-Length: 40\r\n"),
        answer(headers="Content-Length: 1\r\n"),
        answer(headers="Content-Type: text/plain\r\nConnection: close\r\nContent-Length: 40\r\n", body=b"synced\n"),
        answer(headers="Transfer-Encoding: chunked\r\n", body=b"ok"),
        b"\r\n" + answer(),
        b"\r\n\r\n\n\r\n" + answer(),
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1  200\n\n",
    ],
)
async def test_without_expect_body_the_head_decides_and_at_once(said, goes_on):
    """Checks of Patroni, of Galera's clustercheck, and scripts of a line with nc: HAProxy says up to each."""

    async def handle(stream):
        await says(said, after="request")(stream)
        if goes_on is not None:
            await goes_on(stream)

    async with server(handle) as target:
        with trio.fail_after(PATIENCE):  # no need to wait for a body that does not come
            assert await HttpProbe().check(target) == "HTTP 200"
            assert await failure(HttpProbe(expect_status=204), target) == "HTTP 200"


async def test_a_server_that_answers_before_it_is_asked_passes():
    """As a loop with nc does."""
    async with server(says(answer())) as target:
        assert await HttpProbe().check(target) == "HTTP 200"


@pytest.mark.parametrize(
    ("said", "goes_on"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nall is well", stays_silent),
        (b"HTTP/1.1 200 OK\r\n\r\nall is well", sends_for_ever),
        (answer(headers="Content-Length: 40\r\n", body=b"all is well"), None),
        (answer(headers="Transfer-Encoding: chunked\r\n", body=b"40\r\nall is well"), None),
        (answer(headers="Transfer-Encoding: chunked\r\n", body=b"3\r\nall\r\n8;x=y\r\n is well\r\n"), None),
    ],
)
async def test_a_body_without_a_right_end_is_judged_by_what_has_arrived(said, goes_on):
    async def handle(stream):
        await says(said, after="request")(stream)
        if goes_on is not None:
            await goes_on(stream)

    async with server(handle) as target:
        with trio.fail_after(PATIENCE):
            assert await HttpProbe(expect_body="^all is well").check(target) == "HTTP 200"


@pytest.mark.parametrize(
    ("expected", "verdict"), [("^all is well$", "HTTP 200"), ("bad", "HTTP 200, the body does not match 'bad'")]
)
async def test_a_body_that_is_not_complete_in_time_is_judged_by_what_has_arrived(expected, verdict):
    async def handle(stream):
        await says(answer(headers="Content-Length: 40\r\n", body=b"all is well"), after="request")(stream)
        await trio.testing.wait_all_tasks_blocked(0.05)  # it has arrived
        time_is_over.cancel()
        await stays_silent(stream)

    found = "none in time"
    async with server(handle) as target:
        with trio.CancelScope() as time_is_over:
            try:
                found = await HttpProbe(expect_body=expected).check(target)
            except ProbeFailed as failed:
                found = str(failed)
    assert found == verdict


async def test_http_names_an_answer_of_another_protocol():
    async def speaks_ssh(stream):
        await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await stays_silent(stream)

    async with server(speaks_ssh) as target:
        assert await failure(HttpProbe(), target) == 'not an HTTP answer: "SSH-2.0-OpenSSH_9.2"'


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
