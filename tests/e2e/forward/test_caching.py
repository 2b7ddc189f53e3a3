"""The cache for requests with a whole URL: what is stored is served to all clients, and by host."""

from __future__ import annotations

from tests.support.balancer import balancer
from tests.support.caching import response
from tests.support.forwarding import BASIC, OPEN, STAFF, forward_config, named_balancer, proxy_client, write_staff
from tests.support.http_client import scripted

CACHED = "[caches.zone]\n"
RULES = '[listeners.web.cache]\nzone = "zone"\nstatus_header = "X-Cache-Status"\n'


def text(listener="", limits=OPEN, tables="", top=""):
    return forward_config(listener, limits=limits, top=top, tables=f"{RULES}{tables}\n{CACHED}")


async def results(client, url, count=2, lines=b""):
    return [(await client.get(url, lines))[b"x-cache-status"] for _ in range(count)]


async def test_a_second_client_gets_what_is_stored(tmp_path):
    async with scripted(response(b"hello")) as server, balancer(tmp_path, text()) as lb:
        async with proxy_client(lb) as first, proxy_client(lb) as second:
            assert await results(first, f"http://{server.address}/a") == [b"MISS", b"HIT"]
            answer = await second.get(f"http://{server.address}/a")
            assert (answer.body, answer[b"x-cache-status"]) == (b"hello", b"HIT")
            assert await results(second, f"http://{server.address}/b", 1) == [b"MISS"]
        record = await lb.event("http.request", cache="HIT")
        assert record["host"] == server.address
    assert len(server.requests) == 2


async def test_each_host_has_its_own(tmp_path):
    async with (
        scripted(response(b"a")) as a,
        scripted(response(b"b")) as b,
        balancer(tmp_path, text()) as lb,
        proxy_client(lb) as client,
    ):
        for server, body in ((a, b"a"), (b, b"b")) * 2:
            assert (await client.get(f"http://{server.address}/")).body == body
    assert (len(a.requests), len(b.requests)) == (1, 1)


async def test_the_host_field_cannot_poison_what_others_get(tmp_path):
    async with (
        scripted(response(b"evil")) as evil,
        scripted(response(b"good")) as good,
        balancer(tmp_path, text()) as lb,
        proxy_client(lb) as client,
    ):
        lines = b"Host: %s\r\n" % good.address.encode()
        assert (await client.get(f"http://{evil.address}/", lines)).body == b"evil"
        assert (await client.get(f"http://{good.address}/")).body == b"good"


async def test_who_may_not_reach_a_target_does_not_get_it_from_the_cache(tmp_path):
    async with scripted(response(b"hello")) as server, balancer(tmp_path, text()) as lb, proxy_client(lb) as client:
        assert await results(client, f"http://{server.address}/") == [b"MISS", b"HIT"]
        denied = text(limits=f'{OPEN}\ndeny_to = ["127.0.0.1"]')
        assert (await lb.reload(denied))["event"] == "config.applied"
        assert (await client.get(f"http://{server.address}/")).status == 403


async def test_who_does_not_log_in_gets_nothing_from_the_cache(tmp_path):
    write_staff(tmp_path)
    async with (
        scripted(response(b"hello")) as server,
        balancer(tmp_path, text('auth = "staff"', top=STAFF)) as lb,
        proxy_client(lb) as client,
    ):
        assert await results(client, f"http://{server.address}/", lines=BASIC) == [b"MISS", b"HIT"]
        assert (await client.get(f"http://{server.address}/")).status == 407


async def test_answers_to_those_who_are_logged_in_at_the_server_are_not_shared(tmp_path):
    async with scripted(response(b"hello")) as server, balancer(tmp_path, text()) as lb, proxy_client(lb) as client:
        lines = b"Authorization: Basic eDp5\r\n"
        await results(client, f"http://{server.address}/", lines=lines)
    assert len(server.requests) == 2


async def test_it_works_in_front_of_parents(tmp_path):
    parents = '[pools.up]\nhealth = false\nservers = ["{}"]\n'
    async with scripted(response(b"hello")) as parent:
        config = forward_config('parents = "up"', tables=RULES + parents.format(parent.address) + CACHED)
        async with balancer(tmp_path, config) as lb, proxy_client(lb) as client:
            assert await results(client, "http://a.example/") == [b"MISS", b"HIT"]
            assert await results(client, "http://b.example/") == [b"MISS", b"HIT"]
    assert [request.target for request in parent.requests] == [b"http://a.example/", b"http://b.example/"]


async def test_a_name_that_leads_to_a_denied_address_later_is_not_served_from_the_cache(tmp_path):
    async with scripted(response(b"hello")) as server:
        denied = text(limits=f'{OPEN}\ndeny_to = ["127.0.0.3"]')
        async with named_balancer(tmp_path, denied) as (lb, names), proxy_client(lb) as client:
            names.has("a.example", "A", "127.0.0.1", ttl=1)
            url = f"http://a.example:{server.address.rpartition(':')[2]}/"
            assert await results(client, url) == [b"MISS", b"HIT"]
            names.has("a.example", "A", "127.0.0.3", ttl=1)
            while (answer := await client.get(url)).status == 200:
                assert answer[b"x-cache-status"] == b"HIT"
            assert answer.status == 403
