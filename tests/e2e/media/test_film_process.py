"""The process that makes segments of films: killed, reconfigured, with many titles and many viewers at once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import m3u8
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, run_lb
from tests.support.films import FILM, films_config, stored_film, title
from tests.support.processes import media_process, open_files
from tests.support.titles import film

pytestmark = pytest.mark.slow


async def kill(lb, count=1):
    os.kill(await media_process(lb, "vod"), signal.SIGKILL)
    return await lb.event("media.process_restarted", count=count)


async def test_viewers_notice_nothing_of_a_process_that_is_killed(tmp_path):
    (tmp_path / "film.mp4").write_bytes(FILM.read_bytes())
    async with balancer(tmp_path, films_config(tmp_path)) as lb, title(lb, "film.mp4") as shown:
        uris = [each.uri for each in (await shown.playlist()).segments]
        before = [await shown.body(uri) for uri in uris[:3]]
        assert (await kill(lb))["status"] == "killed by SIGKILL"
        for uri, known in zip(uris, before, strict=False):
            again = await shown.get(uri)
            assert (again.status_code, again.content, again.headers["x-cache-status"]) == (200, known, "HIT")
        for count, uri in enumerate(uris[3:5], 2):
            assert (await shown.get(uri)).status_code == 200
            await kill(lb, count)
        assert len(await shown.film("a0")) > 10_000


async def test_requests_that_wait_for_a_process_that_is_killed_are_answered_by_the_next(tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    names = [f"{number}.mp4" for number in range(30)]
    for name in names:
        (root / name).write_bytes(FILM.read_bytes())
    statuses = Counter()

    async def view(name):
        async with title(lb, name) as shown:
            statuses[(await shown.get("v0.m3u8")).status_code] += 1

    async with balancer(tmp_path, films_config(root)) as lb:
        async with title(lb, "0.mp4") as shown:
            await shown.playlist()
        os.kill(await media_process(lb, "vod"), signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(view, name)
            await trio.testing.wait_all_tasks_blocked(0.2)
            await kill(lb)
        assert statuses == {200: len(names)}


async def test_the_configuration_changes_under_viewers(tmp_path):
    for name, kinds in (("one", ("video", "audio")), ("two", ("video",))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "film.mp4").write_bytes(stored_film(kinds=kinds))
    one, two = tmp_path / "one", tmp_path / "two"
    config = films_config(one, cache=False)
    async with balancer(tmp_path, config) as lb, title(lb, "film.mp4") as shown:
        first = await shown.playlist()
        process = await media_process(lb, "vod")

        await lb.reload(config.replace('segment = "1s"', 'segment = "2s"'))
        assert (await shown.get(first.segments[0].uri)).status_code == 404
        longer = await shown.playlist()
        assert len(longer.segments) == 4
        assert longer.segments[0].uri.split("/")[0] != first.segments[0].uri.split("/")[0]

        await lb.reload(config + "titles = 1\n")
        assert (await shown.playlist()).segments[0].uri == first.segments[0].uri
        assert (await shown.get("a0.m3u8")).status_code == 200

        await lb.reload(films_config(two, cache=False))
        assert (await shown.get("a0.m3u8")).status_code == 404
        assert len(await shown.film()) > 10_000

        await lb.reload(config.replace("films", "more"))
        async with title(lb, "film.mp4") as gone:
            assert (await gone.get("v0.m3u8")).status_code == 404
        assert await media_process(lb, "vod") == process


async def test_a_root_that_vanishes_is_no_fault_and_may_come_back(tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    (root / "film.mp4").write_bytes(FILM.read_bytes())
    async with balancer(tmp_path, films_config(root, cache=False)) as lb, title(lb, "film.mp4") as shown:
        listed = await shown.playlist()
        root.rename(tmp_path / "away")
        assert (await shown.get("v0.m3u8")).status_code == 404
        assert (await shown.get("")).status_code == 404
        assert (await shown.get(listed.segments[0].uri)).status_code == 200  # it is open still
        (tmp_path / "away").rename(root)
        assert (await shown.get("v0.m3u8")).status_code == 200


async def test_many_titles_are_open_a_few_at_a_time(tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    (root / "0.mp4").write_bytes(FILM.read_bytes())
    for number in range(1, 80):
        os.link(root / "0.mp4", root / f"{number}.mp4")
    async with balancer(tmp_path, films_config(root, 'segment = "1s"\ntitles = 8', cache=False)) as lb:
        sizes = []
        for number in range(80):
            async with title(lb, f"{number}.mp4") as shown:
                listed = await shown.playlist()
                assert (await shown.get(listed.segments[-1].uri)).status_code == 200
            if number in (20, 79):
                assert 1 <= open_films(await media_process(lb, "vod"), root) <= 8
                sizes.append(resident(await media_process(lb, "vod")))
        assert sizes[1] - sizes[0] < 4 << 20


def open_films(process, root):
    """Return how many files below a directory a process has open."""
    return sum(root in Path(each).parents for each in open_files(process).values())


def resident(process):
    """Return how much memory a process has, in bytes."""
    (line,) = [each for each in Path(f"/proc/{process}/status").read_text().splitlines() if each.startswith("VmRSS")]
    return int(line.split()[1]) << 10


async def test_of_many_viewers_of_a_cold_title_one_has_it_opened(tmp_path):
    (tmp_path / "film.mp4").write_bytes(film("avc1", "mp4a"))
    seen = []

    async def view():
        async with title(lb, "film.mp4") as shown:
            uri = None
            for name in ("master.m3u8", "v0.m3u8", "manifest.mpd", "segment"):
                response = await shown.get(uri if name == "segment" else name)
                seen.append(response.headers["x-cache-status"])
                if name == "v0.m3u8":
                    uri = m3u8.loads(response.text).segments[2].uri

    async with balancer(tmp_path, films_config(tmp_path)) as lb:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(view)
    assert Counter(seen)["MISS"] == 4
    assert set(seen) <= {"MISS", "HIT"}


MISTAKES = """
[media.vod.none]
[media.vod.gone]
root = "nowhere"
[media.vod.typed]
root = "films"
segmant = "6s"
segment = "100ms"
titles = 0
"""


async def test_mistakes_are_told_all_at_once(tmp_path):
    (tmp_path / "films").mkdir()
    config = films_config("films")
    other = '[[listeners.web.routes]]\npath = "/more/"\nmedia = "flims"\n'
    config = config.replace('media = "films"\n', 'media = "films"\nstrip_prefix = "/x"\n')
    (tmp_path / "lb.toml").write_text(config.replace("[caches.zone]", f"{other}[caches.zone]") + MISTAKES)
    status, _, said = await run_lb("check", "--config", str(tmp_path / "lb.toml"))
    assert status != 0
    for each in (
        "media.vod.none.root: missing",
        "media.vod.gone.root: 'nowhere' is not a directory",
        "did you mean 'segment'",
        "media.vod.typed.segment: must be from 1s to 60s",
        "media.vod.typed.titles: must be",
        "did you mean 'films'",
        "strip_prefix: has no effect with 'media'",
    ):
        assert each in said, said
