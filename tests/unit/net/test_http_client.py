"""The client of HTTP that etcd, Kubernetes and hooks have in common."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from lb.net.http_client import AnswerBytes, HttpClient, HttpClientError, beginning_of_answer, read_answer
from lb.net.tls import verifying_context
from tests.support.servers import free_port, serving

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture
async def client():
    found = HttpClient(partial(verifying_context, verify=False), headers={"X-Kind": "test"}, most_connections=2)
    yield found
    await found.close()


def answering(*pieces):
    """Run a server that answers a request with pieces of bytes, and then ends."""

    async def serve(stream):
        await stream.receive_some()
        for piece in pieces:
            await stream.send_all(piece)

    return serving(serve)


@pytest.mark.parametrize(("most", "whole"), [(1000, True), (999, False)])
async def test_an_answer_is_read_up_to_a_limit(client, most, whole):
    async with answering(HEAD, b"x" * 1000) as served:
        taken = AnswerBytes(most)
        async with client.stream("GET", f"http://{served.address}/") as response:
            assert await read_answer(response, taken.take) is whole
        assert taken.content.startswith(b"x" * most)
        async with client.stream("GET", f"http://{served.address}/") as response:
            assert (await beginning_of_answer(response, most)).startswith(b"x" * most)


async def test_half_an_answer_is_none(client):
    async with answering(HEAD, b"x" * 999) as served:
        with pytest.raises(HttpClientError, match="no answer of HTTP"):
            async with client.stream("GET", f"http://{served.address}/") as response:
                await read_answer(response, AnswerBytes(1000).take)


async def test_a_failure_does_not_name_the_url(client):
    with pytest.raises(HttpClientError) as failure:
        async with client.stream("GET", f"http://user:secret@127.0.0.1:{free_port()}/"):
            pass
    assert str(failure.value) == "connection refused"


async def test_what_could_not_be_loaded_is_loaded_again():
    contexts = iter([ValueError("no authority"), verifying_context(verify=False)])

    def tls():
        found = next(contexts)
        if isinstance(found, ValueError):
            raise found
        return found

    client = HttpClient(tls, headers={})
    with pytest.raises(ValueError, match="no authority"):
        await client.load()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(client.load)
    await client.close()
