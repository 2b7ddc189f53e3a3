"""examples/cdn: two edges, two parents, one origin, which are asked no more often than they need to be."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import httpx
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer
from tests.support.cache_origin import Answer, CacheOrigin, cache_origin
from tests.support.examples import adapted
from tests.support.http_origin import content
from tests.support.servers import free_port

pytestmark = pytest.mark.slow

PARENTS = {"parent-1": "127.0.0.11", "parent-2": "127.0.0.12"}
LONG = ("Cache-Control", "max-age=3600")
OBJECTS = {f"/object-{number}": content(2000 + number, number) for number in range(20)}
FILM = content(3_000_000, 7)


@attrs.frozen
class Network:
    """The running example. ``edges`` are clients of the two edges; ``parents`` are processes by name."""

    origin: CacheOrigin
    edges: list[httpx.AsyncClient]
    parents: dict

    async def kill(self, name):
        """Kill a parent and wait until its sockets are closed."""
        self.parents[name].process.kill()
        await self.parents[name].exit_code()

    def fetches(self, path):
        return len(self.origin.asked(path))


def home(tmp_path, name):
    """Return an empty directory, and the changes of a configuration that has its cache there."""
    directory = tmp_path / name
    directory.mkdir()
    kind = name.partition("-")[0]
    changes = [
        ("[listeners.www", "[listeners.web"),
        ('"127.0.0.1:9900"', '"127.0.0.1:0"'),
        (f"/var/cache/trio-lb/{kind}", f"{directory}/cache"),
        ("127.0.0.0/24", "127.0.0.0/8"),
    ]
    return directory, changes


@asynccontextmanager
async def network(tmp_path):
    port = free_port()
    async with AsyncExitStack() as stack:
        answers = {path: Answer(body, (LONG,), tag='"1"', ranges=True) for path, body in OBJECTS.items()}
        origin = await stack.enter_async_context(cache_origin(answers))
        parents, edges = {}, []
        for name, address in PARENTS.items():
            directory, changes = home(tmp_path, name)
            text = adapted(
                "cdn/parent", *changes, ('":80"', f'"{address}:{port}"'), ("127.0.0.21:8000", origin.address)
            )
            parents[name] = await stack.enter_async_context(balancer(directory, text))
        for name in ("edge-1", "edge-2"):
            directory, changes = home(tmp_path, name)
            text = adapted("cdn/edge", *changes, ('":80"', '"127.0.0.1:0"'), (':80"', f':{port}"'))
            lb = await stack.enter_async_context(balancer(directory, text))
            url, fields = f"http://127.0.0.1:{lb.port}", {"Host": "www.example.com"}
            client = httpx.AsyncClient(base_url=url, headers=fields, timeout=PATIENCE)
            edges.append(await stack.enter_async_context(client))
        yield Network(origin, edges, parents)


async def fetched(edge, path):
    """Ask an edge for an object, which must be the right one; return the response."""
    response = await edge.get(path)
    assert (response.status_code, response.content) == (200, OBJECTS.get(path, FILM))
    return response


async def test_the_origin_is_asked_once_for_an_object_by_all_who_ask_at_once(tmp_path):
    async with network(tmp_path) as cdn:
        async with trio.open_nursery() as nursery:
            for path in OBJECTS:
                for edge in cdn.edges * 3:
                    nursery.start_soon(fetched, edge, path)
        assert {path: cdn.fetches(path) for path in OBJECTS} == dict.fromkeys(OBJECTS, 1)
        statuses = [(await fetched(edge, path)).headers["x-cache-status"] for edge in cdn.edges for path in OBJECTS]
        assert set(statuses) == {"HIT"}
        assert len(cdn.origin.requests) == len(OBJECTS)


async def test_each_object_has_one_parent_which_is_the_same_for_both_edges(tmp_path):
    async with network(tmp_path) as cdn:
        first, second = [
            {path: (await fetched(edge, path)).headers["x-parent"] for path in OBJECTS} for edge in cdn.edges
        ]
        assert first == second
        assert set(first.values()) == set(PARENTS)
        assert len(cdn.origin.requests) == len(OBJECTS)
        assert "x-parent" not in (await fetched(cdn.edges[0], "/object-1")).headers, "it is stored here"


async def test_age_adds_up_and_the_origin_sees_the_client_and_both_caches(tmp_path):
    async with network(tmp_path) as cdn:
        cdn.origin.answers["/object-1"].fields = (LONG, ("Age", "1000"))
        for _ in range(2):
            assert int((await fetched(cdn.edges[0], "/object-1")).headers["age"]) >= 1000
        [fields] = cdn.origin.asked("/object-1")
        assert len(fields["cdn-loop"].split(",")) == 2
        assert fields["x-forwarded-for"].split(", ")[0] == "127.0.0.1"


async def test_when_a_parent_is_lost_its_objects_are_fetched_once_by_the_other(tmp_path):
    async with network(tmp_path) as cdn:
        stored, new = list(OBJECTS)[:10], list(OBJECTS)[10:]
        for path in stored:
            await fetched(cdn.edges[0], path)
        await cdn.kill("parent-1")
        for path in OBJECTS:
            await fetched(cdn.edges[0], path)
        assert len(cdn.origin.requests) == len(OBJECTS), "the edge has what it had"
        async with trio.open_nursery() as nursery:
            for path in new:
                for edge in cdn.edges * 3:
                    nursery.start_soon(fetched, edge, path)
        assert {path: cdn.fetches(path) for path in new} == dict.fromkeys(new, 1)


async def test_when_all_behind_it_is_lost_an_edge_serves_what_it_has(tmp_path):
    async with network(tmp_path) as cdn:
        await fetched(cdn.edges[0], "/object-1")
        for name in PARENTS:
            await cdn.kill(name)
        await cdn.origin.stop()
        assert (await fetched(cdn.edges[0], "/object-1")).headers["x-cache-status"] == "HIT"
        assert (await cdn.edges[0].get("/object-2")).status_code in (502, 503)


async def rest(body, received):
    """Receive the rest of a body into ``received``. Return whether the response ends as a whole one."""
    try:
        async for data in body:
            received += data
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return False
    return True


async def test_a_parent_killed_in_the_middle_of_a_film(tmp_path):
    async with network(tmp_path) as cdn:
        cdn.origin.answers["/film.mp4"] = Answer(FILM, (LONG,), tag='"film"', ranges=True, pause=1_000_000)
        received = bytearray()
        async with cdn.edges[0].stream("GET", "/film.mp4") as response:
            body = response.aiter_raw()
            while len(received) < 500_000:
                received += await anext(body)
            await cdn.kill(response.headers["x-parent"])
            cdn.origin.go_on.set()
            whole = await rest(body, received)
        assert received == (FILM if whole else FILM[: len(received)])
        assert response.headers["content-length"] == str(len(FILM))
        after = await cdn.edges[0].get("/film.mp4", headers={"Range": f"bytes={len(received)}-", "If-Range": '"film"'})
        if not whole:
            assert (after.status_code, received + after.content) == (206, FILM)
        for edge in cdn.edges:
            await fetched(edge, "/film.mp4")
