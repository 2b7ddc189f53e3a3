"""Servers that lie about the length of a body: what is short is never served as complete, and never stored."""

from __future__ import annotations

import h11
import pytest

from tests.support.balancer import balancer
from tests.support.caching import ask, cache_config, response, results
from tests.support.http_client import Ended, scripted

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tier")]

FRESH = b"Cache-Control: max-age=60\r\n"
SIZES = [1000, 64 * 1024 + 1, 3_000_000]
"""A body that stays in memory, and longer ones, which go to a file where there is a disk."""


def body_of(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def cut(size, *, chunked):
    """Return a response that ends before its last byte, or before its last chunk."""
    whole = response(body_of(size), FRESH, chunked=chunked)

    async def send(stream, _received):
        await stream.send_all(whole.removesuffix(b"0\r\n\r\n")[: None if chunked else -1])
        return False

    return send


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_ends_early_is_complete_for_nobody_and_is_not_stored(tmp_path, size, chunked):
    lies, truth = cut(size, chunked=chunked), response(body_of(size), FRESH)
    async with scripted(lies, lies, lies, truth) as server:
        async with balancer(tmp_path, cache_config(server)) as lb:
            for _ in range(3):
                with pytest.raises((Ended, h11.RemoteProtocolError)):
                    await ask(lb, b"/a")
            answers = [await ask(lb, b"/a") for _ in range(2)]
        assert len(server.requests) == 4
    assert results(answers) == ["MISS", "HIT"]
    assert [answer.body for answer in answers] == [body_of(size)] * 2


@pytest.mark.parametrize("size", SIZES)
async def test_of_a_body_that_is_longer_than_said_the_rest_is_nothing(tmp_path, size):
    said = response(body_of(size), FRESH)

    async def send(stream, _received):
        await stream.send_all(said + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    async with scripted(send) as server, balancer(tmp_path, cache_config(server)) as lb:
        answers = [await ask(lb, target) for target in (b"/a", b"/a", b"/b", b"/b")]
    assert [answer.body for answer in answers] == [body_of(size)] * 4
    assert results(answers) == ["MISS", "HIT"] * 2
