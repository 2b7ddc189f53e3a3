"""Publishers, media processes and the balancer come and go: viewers go on."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import trio

from tests.support.balancer import balancer
from tests.support.processes import media_process, socket_inodes
from tests.support.publishing import live_config, publishing
from tests.support.viewing import viewer

pytestmark = pytest.mark.slow


def internal_names(pid):
    """Return the abstract names on which a process listens, as any user may read them."""
    sockets = socket_inodes(pid)
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return {row[7] for row in rows if len(row) > 7 and row[6] in sockets and row[7].startswith("@trio-lb-")}


def addresses(found):
    return [segment.uri for segment in found.segments]


def numbers(found):
    return [int(each.rpartition("/")[2].partition(".")[0]) for each in addresses(found)]


async def test_a_publisher_that_was_killed_comes_back_and_the_list_goes_on(tmp_path):
    async with balancer(tmp_path, live_config()) as lb, viewer(lb) as show:
        async with publishing(lb) as publisher:
            await publisher.send(2.2)
            before = await show.until(lambda found: len(found.segments) >= 4)
        assert (await lb.event("stream.unpublished"))["reason"] == "reset"
        async with publishing(lb) as publisher:
            await publisher.send(1.2)
            after = await show.until(lambda found: max(numbers(found)) > max(numbers(before)) + 1)
        assert addresses(after)[:1] == addresses(before)[after.media_sequence - before.media_sequence :][:1]
        assert [each.discontinuity for each in after.segments].count(True) == 1
        assert numbers(after) == sorted(set(numbers(after)))


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_media_process_that_was_killed_comes_back_and_players_go_on(tmp_path, workers):
    text = live_config(top=f"[process]\nworkers = {workers}")
    async with balancer(tmp_path, text) as lb, viewer(lb) as show:
        async with publishing(lb) as publisher:
            await publisher.send(3.2)
            before = await show.until(lambda found: len(found.segments) >= 5)
            for each in addresses(before):
                await show.body(each)
            os.kill(await media_process(lb), signal.SIGKILL)
            restarted = await lb.event("media.process_restarted", process="live")
            assert restarted["status"] == "killed by SIGKILL"
        meanwhile = await show.playlist()  # what the cache has may be served meanwhile
        assert addresses(meanwhile) == addresses(before)
        for each in addresses(meanwhile):
            await show.body(each)
        async with publishing(lb) as publisher:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(publisher.follow)
                    after = await show.until(lambda found: addresses(found) != addresses(before))
                    scope.cancel()
        assert min(numbers(after)) > max(numbers(before))
        assert after.media_sequence > before.media_sequence + len(before.segments) - 1
        assert after.discontinuity_sequence > (before.discontinuity_sequence or 0)


async def test_numbers_after_a_restart_do_not_go_back_though_segments_are_longer_now(tmp_path):
    async with balancer(tmp_path, live_config()) as lb, viewer(lb) as show:
        async with publishing(lb) as publisher:
            await publisher.send(3.2)
            before = await show.until(lambda found: len(found.segments) >= 5)
        await lb.reload(live_config('segment = "1s"'))
        os.kill(await media_process(lb), signal.SIGKILL)
        await lb.event("media.process_restarted", process="live")
        async with publishing(lb) as publisher:
            await publisher.send(4.2)
            after = await show.until(lambda found: addresses(found) != addresses(before))
        assert min(numbers(after)) > max(numbers(before))
        assert {round(segment.duration, 1) for segment in after.segments} == {1.0}


ASK = """
import os, socket, sys
if sys.argv[1] == "other":
    os.setuid(65534)
peer = socket.socket(socket.AF_UNIX)
peer.connect("\\0" + sys.argv[2][1:])
try:
    peer.sendall(b"GET /live/time HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    print(peer.recv(100))
except ConnectionError:
    pass
"""


async def test_the_internal_sockets_serve_no_other_user(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    async with balancer(tmp_path, live_config()) as lb:
        answers = {}
        for user in ("own", "other"):
            for name in internal_names(await media_process(lb)):
                done = await trio.run_process([sys.executable, "-c", ASK, user, name], capture_stdout=True)
                answers.setdefault(user, set()).add(done.stdout[2:17])
        assert b"HTTP/1.1 200 OK" in answers["own"]
        assert answers["other"] <= {b"", b"'\n"}  # nothing, or the end
