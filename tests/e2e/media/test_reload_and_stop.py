"""Reload, drain, upgrade and stop with publishers and viewers: nobody is cut without need, and nothing is left over."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trio

from tests.e2e.media.test_process_life import addresses, numbers
from tests.support.balancer import PATIENCE, balancer
from tests.support.processes import media_process
from tests.support.publishing import live_config, publishing
from tests.support.viewing import viewer

pytestmark = pytest.mark.slow
TWO_KEYS = 'publish = [{ name = "show", key = "secret" }, { name = "other", key = "secret" }]'
ONE_KEY = 'publish = [{ name = "show", key = "secret" }]'


async def applied(lb, text):
    event = await lb.reload(text)
    assert event["event"] == "config.applied", event


async def ended(pid):
    """Wait until a process has ended that may not be our child."""
    with suppress(ProcessLookupError), trio.fail_after(PATIENCE):
        pidfd = os.pidfd_open(pid)
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)


def is_known(pid):
    """Return whether the system has a process of this id, also one that has ended and that nobody waits for."""
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reload_cuts_nobody_but_those_who_may_publish_no_more(tmp_path, workers):
    top = f"[process]\nworkers = {workers}"
    async with (
        balancer(tmp_path, live_config(TWO_KEYS, top=top)) as lb,
        viewer(lb) as show,
        publishing(lb) as publisher,
        publishing(lb, "other") as other,
    ):
        await publisher.send(2.2)
        await other.send(2.2)
        before = await show.until(lambda found: len(found.segments) >= 4)
        await lb.event("stream.published", stream="live/other")
        changed = f'{ONE_KEY}\nsegment = "1s"\nwindow = 4\nladder = {{ all = ["show", "other"] }}'
        await applied(lb, live_config(changed, top=top))
        assert (await lb.event("stream.unpublished"))["reason"] == "removed"
        await other.client.ended()
        await publisher.send(5)
        after = await show.until(lambda found: numbers(found)[0] > max(numbers(before)))
        assert len(after.segments) == 4
        assert {round(each.duration, 1) for each in after.segments} == {1.0}
        assert not any(each.discontinuity for each in after.segments)
        await applied(lb, live_config(f'{ONE_KEY}\nsegment = "1s"\nwindow = 4\npart = "250ms"', top=top))
        await publisher.send(4)
        found = await show.until(lambda found: any(len(each.parts) >= 3 for each in found.segments))
        assert numbers(found) == sorted(set(numbers(found)))
        assert [event["stream"] for event in lb.of("stream.unpublished")] == ["live/other"]


async def test_a_listener_comes_and_goes_and_publishers_of_others_stay(tmp_path):
    second = '[listeners.more]\nmode = "rtmp"\nbind = "127.0.0.1:0"'
    async with balancer(tmp_path, live_config()) as lb, viewer(lb) as show, publishing(lb) as publisher:
        await publisher.send(2)
        await applied(lb, live_config(top=second))
        assert "more" in lb.ports
        async with publishing(lb, "other", listener="more") as other:
            await other.send(2)
            await lb.event("stream.published", stream="live/other")
            await applied(lb, live_config())
            await other.send(2)
            await publisher.send(2)
            await show.until(lambda found: len(found.segments) >= 5)
            assert not lb.of("stream.unpublished")


async def test_media_is_removed_and_added_again(tmp_path):
    route = '[[listeners.web.routes]]\nname = "no"\nrespond = "no"\n'
    without = f'[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\n{route}'
    async with balancer(tmp_path, live_config()) as lb:
        old = await media_process(lb)
        async with publishing(lb) as publisher, viewer(lb) as show:
            await publisher.send(3.2)
            before = await show.until(lambda found: len(found.segments) >= 5)
            await applied(lb, without)
            assert (await lb.event("stream.unpublished"))["reason"] == "removed"
            await publisher.client.ended()
        await applied(lb, live_config('segment = "1s"'))
        await ended(old)
        async with publishing(lb) as publisher, viewer(lb) as show:
            await publisher.send(4.2)
            after = await show.until(lambda found: len(found.segments) >= 3)
        assert min(numbers(after)) > max(numbers(before))
        assert not lb.of("media.process_restarted")


async def test_an_upgrade_sends_publishers_to_the_successor_whose_numbers_are_greater(tmp_path):
    zone = f'path = "{tmp_path}/cache"'
    text = live_config().replace("[caches.zone]", f"[caches.zone]\n{zone}")
    async with balancer(tmp_path, text) as lb:
        old = await media_process(lb)
        async with publishing(lb) as publisher, viewer(lb) as show:
            await publisher.send(3.2)
            before = await show.until(lambda found: len(found.segments) >= 5)
            for each in addresses(before):
                await show.body(each)
            lb.config_file.write_text(text.replace('"500ms"', '"1s"'))
            upgraded = await lb.upgrade()
            assert upgraded["event"] == "upgrade.done"
            assert (await lb.event("stream.unpublished"))["reason"] == "stopped"
            await publisher.client.ended()
        async with viewer(lb) as show:
            assert addresses(await show.playlist()) == addresses(before)  # the cache goes on with it
            for each in addresses(before):
                await show.body(each)
            async with publishing(lb) as publisher:
                await publisher.send(4.2)
                after = await show.until(lambda found: addresses(found) != addresses(before))
        assert min(numbers(after)) > max(numbers(before))
        await ended(old)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stop_sends_publishers_away_and_leaves_nothing(tmp_path, workers):
    text = live_config(top=f"[process]\nworkers = {workers}")
    async with balancer(tmp_path, text) as lb, publishing(lb) as publisher:
        pid = await media_process(lb)
        await publisher.send(2)
        await lb.event("stream.published")
        assert await lb.stop() == 0
        await publisher.client.ended()
        assert (await lb.event("stream.unpublished"))["reason"] == "stopped"
        assert not is_known(pid)
        assert not lb.of("media.process_restarted")


async def test_media_processes_end_with_a_balancer_that_was_killed(tmp_path):
    async with AsyncExitStack() as stack:
        vod = f'[media.vod.films]\nroot = "{tmp_path}"'
        lb = await stack.enter_async_context(balancer(tmp_path, live_config(vod)))
        pids = [await media_process(lb, kind) for kind in ("live", "vod")]
        publisher = await stack.enter_async_context(publishing(lb))
        await publisher.send(1)
        lb.process.kill()
        await lb.exit_code()
        for pid in pids:
            await ended(pid)


async def test_a_media_process_that_hangs_is_killed_at_the_stop(tmp_path):
    async with balancer(tmp_path, live_config()) as lb:
        pid = await media_process(lb)
        os.kill(pid, signal.SIGSTOP)
        assert await lb.stop() == 0
        assert not is_known(pid)
