"""What operators see of live streams: the API, ``lb ctl streams``, metrics, and over the ends of a process."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import asynccontextmanager
from datetime import datetime

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.support.balancer import PATIENCE, connect, read_all, run_lb
from tests.support.operating import ADMIN, operated
from tests.support.processes import media_process
from tests.support.publishing import live_config, publishing, stream_url
from tests.support.rtmp_client import rtmp_client
from tests.support.viewing import viewer

pytestmark = pytest.mark.slow
KEYS = {
    "live",
    "client",
    "since",
    "codecs",
    "bitrate",
    "viewers",
    "players",
    "segments",
    "latest",
    "origin",
    "push",
    "ladder",
}
SOON = 3.0


@asynccontextmanager
async def streaming(tmp_path, app="", **parts):
    """Run a balancer with live streams and an operator, and the admin address for ``lb ctl``."""
    async with operated(tmp_path, live_config(app, **{"top": ADMIN, **parts})) as (lb, operator):
        operator.address = (await lb.event("admin.started"))["bind"]
        await operator.until(operator.status, lambda found: found["media"] == {"live": True})
        yield lb, operator


async def streams(operator):
    return await operator.get("/api/v1/streams")


async def media_metrics(operator):
    """Return the samples of media, by name and the values of labels."""
    text = (await operator.client.get("/metrics")).text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("lb_media_")
    }


async def ctl(operator, *words, code=0):
    exit_code, out, err = await run_lb("ctl", "--admin", operator.address, *words)
    assert exit_code == code, (out, err)
    return err if code else out


@pytest.mark.usefixtures("worker_count")
async def test_a_stream_is_listed_with_its_publisher_and_viewers(tmp_path):
    async with streaming(tmp_path) as (lb, operator), viewer(lb) as watching:
        assert await streams(operator) == {}
        assert await media_metrics(operator) | {("lb_media_publishers", "live"): 0} == await media_metrics(operator)
        before = time.time()
        async with publishing(lb) as publisher:
            await publisher.send(4)
            await watching.until(lambda found: len(found.segments) >= 6)
            seen = await operator.until(lambda: streams(operator), lambda found: found["live/show"]["viewers"] == 1)
            (published,) = [await lb.event("stream.published")]
            show = seen["live/show"]
            assert show.keys() == KEYS
            assert (show["live"], show["client"], show["codecs"]) == (True, published["client"], published["codecs"])
            assert before - 1 < datetime.fromisoformat(show["since"]).timestamp() < time.time() + 1
            newest = (await watching.playlist()).segments[-1].uri
            assert show["latest"] == int(newest.rpartition("/")[2].removesuffix(".m4s"))
            assert (show["segments"], show["players"], show["ladder"]) == (6, 0, [])
            sent = sum(len(frame.data) for frame in publisher.sent)
            assert show["bitrate"] == pytest.approx(sent * 8 / 4, rel=0.5)
            assert json.loads(await ctl(operator, "streams", "--json")).keys() == {"live/show"}
            row = (await ctl(operator, "streams")).splitlines()[1]
            assert row.split()[:2] == ["live/show", published["client"]]
            assert (await operator.status())["streams"]["live/show"]["live"]
            found = await media_metrics(operator)
            assert found["lb_media_publishers", "live"] == found["lb_media_viewers", "live/show"] == 1
            assert found["lb_media_bytes_in_total", "live/show"] == sent
            counts = [found["lb_media_segments_total", "live/show", track] for track in ("v0", "a0")]
            assert found["lb_media_segment_seconds_count",] == sum(counts) >= 12
            await publisher.leave()
            await lb.event("stream.unpublished", reason="left")
        show = (await streams(operator))["live/show"]
        assert (show["live"], show["client"], show["since"], show["bitrate"]) == (False, None, None, 0)
        assert " none " in (await ctl(operator, "streams")).splitlines()[1]
        assert (await media_metrics(operator))["lb_media_publishers", "live"] == 0


async def test_a_ladder_is_the_sum_of_its_streams(tmp_path):
    async with (
        streaming(tmp_path, 'ladder = { show = ["high", "low"] }') as (lb, operator),
        publishing(lb, "high") as high,
        publishing(lb, "low") as low,
    ):
        for each in (high, low):
            await each.send(3)

        def complete(found):
            return "live/low" in found and found["live/low"]["latest"] and found["live/high"]["latest"]

        found = await operator.until(lambda: streams(operator), complete)
        show, members = found["live/show"], [found["live/high"], found["live/low"]]
        assert (show["ladder"], show["live"], show["client"]) == (["high", "low"], True, None)
        assert show["bitrate"] == sum(member["bitrate"] for member in members)
        assert show["since"] == min(member["since"] for member in members)
        assert show["codecs"] == members[0]["codecs"]


async def test_counters_go_on_when_a_process_is_killed(tmp_path):
    async with streaming(tmp_path) as (lb, operator):
        async with publishing(lb) as publisher:
            await publisher.send(3)
            before = await operator.until(
                lambda: media_metrics(operator), lambda found: found.get(("lb_media_segments_total", "live/show", "v0"))
            )
            os.kill(await media_process(lb), signal.SIGKILL)
            restarted = await lb.event("media.process_restarted")
            assert (restarted["process"], restarted["status"]) == ("live", "killed by SIGKILL")
        async with publishing(lb) as publisher:
            await publisher.send(3)
            key = "lb_media_segments_total", "live/show", "v0"
            after = await operator.until(lambda: media_metrics(operator), lambda found: found[key] > before[key])
        gauges = {"lb_media_publishers", "lb_media_viewers"}
        assert {name: value for name, value in before.items() if name[0] not in gauges and after[name] < value} == {}


async def test_a_process_that_hangs_is_told_and_holds_nobody_up(tmp_path):
    async with streaming(tmp_path) as (lb, operator), publishing(lb) as publisher:
        await publisher.send(3)
        counted = await operator.until(
            lambda: media_metrics(operator), lambda found: found.get(("lb_media_segments_total", "live/show", "v0"))
        )
        hanging = await media_process(lb)
        os.kill(hanging, signal.SIGSTOP)
        try:
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                answers = []

                async def ask(path):
                    answers.append(await operator.client.get(path))

                for path in ("/api/v1/streams", "/api/v1/status", "/metrics"):
                    nursery.start_soon(ask, path)
            assert trio.current_time() - began < SOON
            by_status = {answer.status_code: answer for answer in answers}
            assert by_status[503].json() == {"error": "the process of live streams does not answer"}
            assert (await operator.status())["media"] == {"live": False}
            assert "does not answer" in await ctl(operator, "streams", code=1)
            key = "lb_media_segments_total", "live/show", "v0"
            assert (await media_metrics(operator))[key] >= counted[key]
        finally:
            os.kill(hanging, signal.SIGCONT)
        await operator.until(operator.status, lambda found: found["media"] == {"live": True})


async def test_refused_publishers_are_told_and_counted_by_reason(tmp_path):
    async with streaming(tmp_path) as (lb, operator), publishing(lb):
        for url in (stream_url(lb, key="wrong"), stream_url(lb, app="nowhere"), stream_url(lb)):
            with pytest.raises((AssertionError, BaseExceptionGroup)):
                async with rtmp_client(url, "publish"):
                    pass
        async with await connect(lb.ports["rtmp"]) as stream:
            await stream.send_all(b"\xff" + os.urandom(99) + bytes(4_000))  # the first is not the version of RTMP
            with trio.fail_after(PATIENCE):
                await read_all(stream)
        refused = [await lb.event("stream.refused", reason=reason) for reason in ("busy", "handshake")]
        assert [each["stream"] for each in refused] == ["live/show", ""]
        assert all(each["client"].startswith("127.0.0.1:") for each in lb.of("stream.refused"))
        found = await media_metrics(operator)
        counts = {name[1]: value for name, value in found.items() if name[0] == "lb_media_refused_total"}
        assert counts == {"key": 2, "busy": 1, "handshake": 1, "protocol": 0, "hook": 0, "limit": 0}


async def test_a_jump_of_timestamps_is_told_and_counted(tmp_path):
    async with streaming(tmp_path) as (lb, operator), publishing(lb) as publisher:
        await publisher.send(1)
        publisher.shift = 3_600_000
        await publisher.send(1)
        jumped = await lb.event("stream.jumped")
        assert jumped["stream"] == "live/show"
        assert jumped["seconds"] == pytest.approx(3_600, abs=1)
        found = await media_metrics(operator)
        assert found["lb_media_jumps_total",] == len(lb.of("stream.jumped"))


async def test_the_processes_are_no_servers_to_operators(tmp_path):
    async with streaming(tmp_path) as (lb, operator):
        status = await operator.status()
        assert (status["pools"], json.loads(await ctl(operator, "servers", "--json"))) == ({}, {"servers": []})
        assert not [name for name in await operator.metrics() if name.startswith("lb_server_")]
        assert "there is no pool" in await ctl(operator, "drain", "media-live/media-live", code=1)
        assert (await operator.client.get("/readyz")).status_code == 200
        lb.config_file.write_text(
            lb.config_file.read_text()
            .replace("media.live.live", "media.live.tv")
            .replace('media = "live"', 'media = "tv"')
        )
        (line,) = [each for each in (await ctl(operator, "reload", "--dry-run")).splitlines() if "added" in each]
        assert line.split()[:2] == ["added", "media.live.tv"]
        await ctl(operator, "reload")
        applied = await lb.event("config.applied")
        assert (applied["added"], applied["removed"]) == (["media.live.tv"], ["media.live.live"])


async def test_explain_tells_of_a_stream_from_the_file_and_from_the_balancer(tmp_path):
    async with streaming(tmp_path) as (lb, operator), publishing(lb) as publisher:
        await publisher.send(3)
        published = await lb.event("stream.published")
        code, out, err = await run_lb("explain", "--config", str(lb.config_file), "--stream", "live/show")
        assert (code, err) == (0, "")
        assert "published to listener rtmp" in out
        assert "now:" not in out
        code, out, err = await run_lb("explain", "--admin", operator.address, "--stream", "live/show")
        assert (code, err) == (0, "")
        assert f"HLS at http://127.0.0.1:{lb.ports['web']}/live/show/master.m3u8" in out
        assert f"from {published['client']}: {', '.join(published['codecs'])}" in out
        answer = await operator.get("/api/v1/explain", stream="live/show")
        assert answer["now"] == (await streams(operator))["live/show"]
        for query, status in (
            ({"stream": "no/show"}, 404),
            ({"stream": "show"}, 400),
            ({"stream": "live/a", "source": "::1"}, 400),
        ):
            assert (await operator.client.get("/api/v1/explain", params=query)).status_code == status
        for words in (("--stream", "live/show", "--listener", "rtmp"), ("--source", "10.0.0.1")):
            code, _, err = await run_lb("explain", "--config", str(lb.config_file), *words)
            assert (code, err.count("\n")) == (2, 1)


async def test_a_publisher_that_falls_silent_or_sends_garbage_is_closed_with_the_reason(tmp_path):
    async with (
        streaming(tmp_path) as (lb, operator),
        publishing(lb, "quiet") as quiet,
        publishing(lb, "broken") as broken,
    ):
        for publisher in (quiet, broken):
            await publisher.send(1)
        await lb.event("stream.published", count=2)
        await broken.client._stream.send_all(b"\xff" * 64)
        ended = await lb.event("stream.unpublished", reason="bad_stream")
        assert (ended["stream"], ended["bytes"]) == ("live/broken", sum(len(frame.data) for frame in broken.sent))
        ended = await lb.event("stream.unpublished", reason="idle")
        assert ended["stream"] == "live/quiet"
        assert 10 <= ended["seconds"] < 10 + PATIENCE
        assert not any(each["live"] for each in (await streams(operator)).values())
