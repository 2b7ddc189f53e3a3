"""Attacks, live: the balancer refuses whatever nginx or HAProxy refuses, and nothing of an attack reaches a server."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager

import pytest
import trio

from lb.http1.grammar import MalformedError
from lb.http1.head_buffer import HeadBuffer
from lb.http1.request_head import RequestHeads
from tests.e2e.traffic.test_real_peers import running
from tests.support.balancer import balancer
from tests.support.effort import DEEP
from tests.support.http_attacks import (
    BODIES_REFUSED,
    BODIES_TAKEN,
    CHUNKED,
    REFUSED,
    REFUSED_PATHS,
    RESPONSES_REFUSED,
    RESPONSES_TAKEN,
    STATUS,
    TAKEN,
    post,
    request,
)
from tests.support.http_peers import haproxy, http_server, lb_config, nginx, verdict, whole_answer
from tests.support.mutations import BROWSERS, mutated
from tests.support.servers import free_port

pytestmark = pytest.mark.slow

AT_A_TIME = 50
MUTATED = 20_000 if DEEP else 1_000
ACCEPTED_ALONE = {
    ("OPTIONS for the server", "nginx"): "RFC 9112, section 3.2.4; nginx has no resource for the server as a whole",
    ("TRACE", "nginx"): "a method like others, which `methods` of a route can leave out; nginx does not serve it",
    ("an upgrade to websocket without a key", "haproxy"): "the server knows the protocol, and answers without a switch",
}
"""What the balancer takes and a peer refuses, with the reason."""
ALL_TAKEN = {**TAKEN, **{f"body: {name}": post(CHUNKED, body) for name, body in BODIES_TAKEN.items()}}
SECOND = request(b"GET /second HTTP/1.1")


@asynccontextmanager
async def peers(tmp_path, server):
    """Run nginx and HAProxy in front of a server. Yield their ports by name."""
    ports = {"nginx": free_port(), "haproxy": free_port()}
    async with (
        running(nginx(tmp_path / "nginx", ports["nginx"], server.address), ports["nginx"]),
        running(haproxy(tmp_path / "haproxy", ports["haproxy"], server.address), ports["haproxy"]),
    ):
        yield ports


async def of_all(ask, messages):
    """Return ``ask(message)`` by the name of each message, so many at a time."""
    results, limit = {}, trio.CapacityLimiter(AT_A_TIME)

    async def one(name, data):
        async with limit:
            results[name] = await ask(data)

    async with trio.open_nursery() as nursery:
        for name, data in messages.items():
            nursery.start_soon(one, name, data)
    return results


async def verdicts(ports, messages):
    """Return the verdict of each proxy on each message, by message and proxy."""
    found = {}
    for proxy, port in ports.items():

        async def ask(data, port=port):
            return await verdict(port, data)

        found |= {(name, proxy): each for name, each in (await of_all(ask, messages)).items()}
    return found


async def test_whatever_the_balancer_takes_nginx_and_haproxy_take_too(tmp_path):
    async with http_server() as server, peers(tmp_path, server) as ports, balancer(tmp_path, lb_config(server)) as lb:
        found = await verdicts({**ports, "lb": lb.port}, ALL_TAKEN)
    assert {key for key, each in found.items() if each != "taken"} == set(ACCEPTED_ALONE)


async def test_nothing_of_an_attack_reaches_a_server_and_its_connection_ends(tmp_path):
    async with http_server() as server, balancer(tmp_path, lb_config(server)) as lb:

        async def ask(data):
            return await whole_answer(lb.port, data + SECOND)

        answers = await of_all(ask, REFUSED)
        assert server.received == b""
        await lb.event("http.request", count=len(REFUSED))
        assert {event["reason"] for event in lb.of("http.request")} <= {"bad_request", "too_large"}
    for name, answer in answers.items():
        assert answer.startswith(b"HTTP/1.1 %d " % STATUS.get(name, 400)), (name, answer)
        assert answer.count(b"HTTP/1.1 ") == 1, name


async def test_a_path_that_servers_read_in_different_ways_reaches_none_of_them(tmp_path):
    async with http_server() as server, balancer(tmp_path, lb_config(server)) as lb:
        found = await verdicts({"lb": lb.port}, REFUSED_PATHS)
        assert server.received == b""
    assert set(found.values()) == {"400"}


async def test_no_server_takes_a_body_with_an_attack_for_a_whole_one(tmp_path):
    bodies = {name: post(CHUNKED, body) for name, body in BODIES_REFUSED.items()}
    async with http_server() as server, balancer(tmp_path, lb_config(server)) as lb:

        async def ask(data):
            return await whole_answer(lb.port, data + SECOND)

        answers = await of_all(ask, bodies)
        assert not server.requests
    for name, answer in answers.items():
        expected = 431 if name == "trailers that are too many" else 400
        assert answer.startswith(b"HTTP/1.1 %d " % expected), (name, answer)
        assert answer.count(b"HTTP/1.1 ") == 1, name


async def test_a_client_gets_502_for_each_response_with_an_attack(tmp_path):
    responses = {f"/{number}".encode(): data for number, data in enumerate(RESPONSES_REFUSED.values())}
    requests = {name: ask_for(number) for number, name in enumerate(RESPONSES_REFUSED)}
    async with http_server(responses) as server, balancer(tmp_path, lb_config(server)) as lb:
        found = await verdicts({"lb": lb.port}, requests)
        assert {name: each for (name, _), each in found.items() if each != "502"} == {}
        await lb.event("http.request", reason="bad_response", count=len(requests))


async def test_whatever_response_the_balancer_takes_nginx_and_haproxy_take_too(tmp_path):
    responses = {f"/{number}".encode(): data for number, data in enumerate(RESPONSES_TAKEN.values())}
    requests = {name: ask_for(number) for number, name in enumerate(RESPONSES_TAKEN)}
    async with (
        http_server(responses) as server,
        peers(tmp_path, server) as ports,
        balancer(tmp_path, lb_config(server)) as lb,
    ):
        found = await verdicts({**ports, "lb": lb.port}, requests)
    assert {key: each for key, each in found.items() if each[:1] not in ("2", "3")} == {}


def ask_for(number):
    return request(b"GET /%d HTTP/1.1" % number)


async def test_whatever_mutated_head_the_balancer_takes_nginx_and_haproxy_take_too(tmp_path):
    choice = random.Random(5)
    heads = [mutated(choice, choice.choice(BROWSERS)) for _ in range(MUTATED)]
    messages = {data: data for data in heads if is_taken(data)}
    async with http_server() as server, peers(tmp_path, server) as ports:
        found = await verdicts(ports, messages)
    assert len(messages) > MUTATED / 20
    assert {key: each for key, each in found.items() if each != "taken"} == {}


def is_taken(data):
    """Return whether the balancer takes a request, and it is whole with its head."""
    buffer = HeadBuffer(32 * 1024)
    buffer.feed(data)
    try:
        found = buffer.take_head()
        head = None if found is None else RequestHeads().read(found)
        return head is not None and head.path != b"" and not head.has_body and not buffer.take_all()
    except MalformedError:
        return False
