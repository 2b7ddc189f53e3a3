"""Two nodes: the publisher goes from one that dies to the other, and viewers behind a cache of both go on."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.media.test_process_life import numbers
from tests.support.balancer import PATIENCE, balancer
from tests.support.publishing import live_config, publishing
from tests.support.viewing import viewer

pytestmark = pytest.mark.slow


def edge_config(*nodes):
    """Return the configuration of a cache in front of nodes. It asks those that have the stream."""
    servers = ", ".join(f'"127.0.0.1:{node.ports["web"]}"' for node in nodes)
    return (
        '[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\n[[listeners.web.routes]]\npool = "nodes"\n'
        '[listeners.web.routes.cache]\nzone = "zone"\nuse_stale = ["error", "timeout", "http_503", "http_404"]\n'
        f"[caches.zone]\n[pools.nodes]\nservers = [{servers}]\n"
        '[pools.nodes.health]\nprobe = "http"\npath = "/live/show/v0.m3u8"\ninterval = "200ms"\n'
        'fast_interval = "100ms"\n'
    )


async def test_the_publisher_fails_over_to_another_node_and_viewers_go_on(tmp_path):
    places = {name: tmp_path / name for name in ("one", "two", "edge")}
    for place in places.values():
        place.mkdir()
    async with balancer(places["one"], live_config()) as one, balancer(places["two"], live_config()) as two:
        edge_text = edge_config(one, two)
        async with balancer(places["edge"], edge_text) as edge, viewer(edge) as show:
            async with publishing(one) as publisher, trio.open_nursery() as nursery:
                nursery.start_soon(publisher.follow)
                before = await show.until(lambda found: len(found.segments) >= 5)
                nursery.cancel_scope.cancel()
            one.process.kill()
            await one.process.wait()
            async with publishing(two) as publisher, trio.open_nursery() as nursery:
                nursery.start_soon(publisher.follow)
                statuses = set()

                def went_on(found):
                    return numbers(found)[0] > numbers(before)[-1] and len(found.segments) >= 3

                with trio.fail_after(PATIENCE):
                    while True:
                        response = await show.get("v0.m3u8")
                        statuses.add(response.status_code)
                        if went_on(after := await show.playlist()):
                            break
                        await trio.sleep(0.2)
                for each in after.segments[-3:]:
                    await show.body(each.uri)
                nursery.cancel_scope.cancel()
    assert statuses == {200}
    assert after.media_sequence > before.media_sequence + len(before.segments) - 1
    assert after.segments[0].program_date_time > before.segments[-1].program_date_time
