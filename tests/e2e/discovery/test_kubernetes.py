"""Servers of a service of Kubernetes, with the real command and a stand-in for the API server."""

from __future__ import annotations

import pytest

from tests.support.balancer import QUICK_CHECKS, ask, balancer, connect, request, with_workers
from tests.support.kubernetes import endpoint, slice_of, stand_in_api, terminating
from tests.support.load import load
from tests.support.operating import ADMIN, operated
from tests.support.servers import backends, serving

pytestmark = pytest.mark.slow


def of_service(api, more="", top=""):
    front = f'{top}\n[listeners.web]\nbind = "127.0.0.1:0"\n[pools.web]\n[pools.web.health]\n{QUICK_CHECKS}'
    return with_workers(f'{front}\n[pools.web.kubernetes]\nservice = "default/web"\napi = "{api.url}"\n{more}\n')


def pod(server, make=endpoint):
    """Return a slice of one pod, whose name is that of the server."""
    host, _, port = server.address.rpartition(":")
    return slice_of(f"web-{server.name}", make(server.name, host), ports=[("http", int(port))])


@pytest.mark.usefixtures("worker_count")
async def test_a_rolling_update_fails_no_session(tmp_path):
    """Each pod is ready, about to end, then gone, as a Deployment does it."""
    async with stand_in_api() as api, backends("a", "b", "c", "d", "e") as pods:
        api.put(pod(pods[0]), pod(pods[1]))
        async with balancer(tmp_path, of_service(api)) as lb, load(lb.port, pods, clients=10) as sessions:
            await sessions.sessions(20)
            for old, new in zip(pods, pods[2:], strict=False):
                api.put(pod(new))
                await lb.event("config.applied", added=[f"web/{new.name}"])
                api.put(pod(old, terminating))
                await lb.event("config.applied", changed=[f"web/{old.name}"])
                await sessions.sessions(20)
                api.delete(f"web-{old.name}")
                await lb.event("config.applied", removed=[f"web/{old.name}"])
            await sessions.sessions(20)
        assert not sessions.failures
        assert {b"d\n", b"e\n"} <= sessions.seen


async def test_a_pod_that_ends_keeps_its_connections_and_gets_no_more(tmp_path):
    async with stand_in_api() as api, serving(name="a") as a, serving(name="b") as b:
        api.put(pod(a))
        async with balancer(tmp_path, of_service(api)) as lb, await connect(lb.port) as before:
            assert await request(before, b"name") == b"a"
            api.put(pod(b))
            await lb.event("config.applied", added=["web/b"])
            api.put(pod(a, terminating))
            await lb.event("config.applied", changed=["web/a"])
            assert [await ask(lb.port) for _ in range(6)] == 6 * [b"b\n"]
            assert await request(before, b"echo still here") == b"still here"


async def test_what_operators_see(tmp_path):
    async with stand_in_api() as api, serving(name="a") as a:
        api.put(pod(a))
        async with operated(tmp_path, of_service(api, top=ADMIN)) as (lb, operator):
            (source,) = (await operator.status())["pools"]["web"]["sources"]
            assert (source["source"], source["servers"], source["from"], source["error"]) == (
                "kubernetes default/web",
                1,
                "kubernetes",
                None,
            )
            api.delete("web-a")
            failed = await lb.event("discovery.failed")
            assert failed["source"] == "kubernetes default/web"
            assert failed["errors"] == [
                "there is no EndpointSlice of it: is this its name, and has it a selector?",
                "no server in default/web, the last 1 stay for 1m",
            ]
            assert await ask(lb.port) == b"a\n"
            api.put(pod(a))
            await lb.event("discovery.restored")
