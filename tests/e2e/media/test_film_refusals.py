"""Titles that cannot be played: people learn why, operators too, and a title is tried again when its file changes."""

from __future__ import annotations

import os
import re
import subprocess
from urllib.parse import quote

import av
import pytest
import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer
from tests.support.films import FILM, films_config, refused_reasons, stored_film, title
from tests.support.titles import film, places

pytestmark = pytest.mark.slow


def mkv(path):
    with av.open(str(FILM)) as source, av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)


def write_bad_films(root):
    """Write titles that cannot be played. Return a part of the reason, by title."""
    data = FILM.read_bytes()
    (root / "truncated.mp4").write_bytes(data[: len(data) // 2])
    (root / "index-first.mp4").write_bytes(stored_film("moov first")[:-2_000])
    (root / "empty.mp4").write_bytes(b"")
    (root / "zeros.mp4").write_bytes(bytes(50_000))
    (root / "text.mp4").write_text("This is no film.\n" * 100)
    (root / "head-only.mp4").write_bytes(stored_film("empty moov")[:1_200])
    mkv(root / "film.mkv")
    for name, gop in (("apart", (25, 40)), ("one-bad", (25, 25))):
        (root / name).mkdir()
        for each, bitrate in zip(gop, (100_000, 50_000), strict=True):
            (root / name / f"{bitrate}.mp4").write_bytes(film("avc1", "mp4a", gop=each, bitrate=bitrate, seconds=8))
    (root / "one-bad" / "100000.mp4").write_bytes(b"")
    (root / "many").mkdir()
    for number in range(17):
        (root / "many" / f"{number}.mp4").write_bytes(data)
    return {
        "truncated.mp4": "cut off, or still being written",
        "index-first.mp4": "cut off, or still being written",
        "empty.mp4": "not an MP4 file",
        "zeros.mp4": "not an MP4 file",
        "text.mp4": "not an MP4 file",
        "head-only.mp4": "cut off, or still being written|no frame is in it",
        "film.mkv": "not an MP4 file",
        "apart": "no key frame in common",
        "one-bad": "100000.mp4: it is not an MP4 file",
        "many": "more than 16 MP4 files",
    }


async def test_what_cannot_be_played_is_refused_with_the_reason_once(tmp_path):
    wanted = write_bad_films(tmp_path)
    (tmp_path / "nothing").mkdir()
    async with balancer(tmp_path, films_config(tmp_path, cache=False)) as lb:
        for path, reason in wanted.items():
            async with title(lb, path) as shown:
                for name in ("master.m3u8", "manifest.mpd", "v0.m3u8", "0123456789abcdef/v0/0.m4s"):
                    response = await shown.get(name)
                    assert response.status_code == 404, path
                    assert response.headers["content-type"] == "text/plain; charset=utf-8"
                    assert response.headers["cache-control"] == "max-age=1"
                    assert re.match(f"This title cannot be played: .*({reason})", response.text), (path, response.text)
        async with title(lb, "nothing") as shown:
            response = await shown.get("master.m3u8")
            assert (response.status_code, response.text) == (404, "There is no such title.\n")
        await lb.event("media.title_refused", count=len(wanted))
        reasons = refused_reasons(lb)
        assert reasons.keys() == {f"films/{path}" for path in wanted}
        assert all(re.search(reason, reasons[f"films/{path}"]) for path, reason in wanted.items())


async def test_a_film_is_refused_while_it_is_written_and_played_once_it_is_there(tmp_path):
    """Behind a cache, too: the refusal is kept for a second."""
    data = FILM.read_bytes()
    path = tmp_path / "film.mp4"
    async with balancer(tmp_path, films_config(tmp_path)) as lb, title(lb, "film.mp4") as shown:
        for size in (100, 10_000, len(data) - 1):
            path.write_bytes(data[:size])
            refused = await lb_refusal(lb, shown, size)
            assert refused.status_code == 404
        path.write_bytes(data)
        found = await shown.until(lambda listed: True, "v0.m3u8")
        assert len(found.segments) == 8
        assert len(lb.of("media.title_refused")) == 3


async def lb_refusal(lb, shown, size):
    """Ask until the newest state of the file has been refused."""
    before = len(lb.of("media.title_refused"))
    with trio.fail_after(PATIENCE):
        while True:
            response = await shown.get("v0.m3u8")
            if len(lb.of("media.title_refused")) > before:
                return response
            await trio.sleep(0.05)  # the cache tells in no other way that what it has is stale


async def test_a_recording_that_was_torn_plays_to_its_last_whole_fragment(tmp_path):
    whole = stored_film("empty moov")
    fragments = list(places(whole, b"moof"))
    begin, end = fragments[5]
    for name, size in (("in-moof.mp4", begin + 20), ("in-mdat.mp4", end + 20), ("before.mp4", begin)):
        (tmp_path / name).write_bytes(whole[:size])
    async with balancer(tmp_path, films_config(tmp_path)) as lb:
        for name in ("in-moof.mp4", "in-mdat.mp4", "before.mp4"):
            async with title(lb, name) as shown:
                listed = (await shown.playlist()).segments
                assert sum(each.duration for each in listed) == pytest.approx(2.5, abs=0.11), name
                url = f"{shown.base}/master.m3u8"
            command = [program("ffprobe"), "-v", "error", "-count_packets", "-select_streams", "v:0"]
            command += ["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", url]
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
            assert (done.stdout.split()[0], done.stderr) == (b"50", b""), name
        assert not lb.of("media.title_refused")


async def test_a_recording_that_grows_is_a_new_title_whenever_it_is_asked_for(tmp_path):
    whole = stored_film("empty moov")
    ends = [end for _, end in places(whole, b"mdat")]
    async with balancer(tmp_path, films_config(tmp_path, cache=False)) as lb, title(lb, "rec.mp4") as shown:
        seen = []
        for end in (ends[3], ends[7], len(whole)):
            (tmp_path / "rec.mp4").write_bytes(whole[:end])
            listed = await shown.playlist()
            seen.append((sum(each.duration for each in listed.segments), listed.segments[0].uri.split("/")[0]))
        assert [seconds for seconds, _ in seen] == pytest.approx([2.0, 4.0, 8.0], abs=0.11)
        assert len({tag for _, tag in seen}) == 3
        assert not lb.of("media.title_refused")


@pytest.mark.parametrize("name", ["mit Leerzeichen.mp4", "größe %2e100%.mp4", "日本語/映画.mp4", "a#b?c&d;e+f.mp4"])
async def test_names_of_titles_may_be_anything(tmp_path, name):
    path = tmp_path / "films" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(FILM.read_bytes())
    async with balancer(tmp_path, films_config(tmp_path / "films")) as lb, title(lb, quote(name)) as shown:
        assert len(await shown.film()) > 10_000
        assert (await shown.client.get(shown.base)).content == FILM.read_bytes()


async def test_names_that_are_no_utf_8(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / f"{name}.mp4").write_bytes(FILM.read_bytes())
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{name}.mp4").write_text("no film")
    (tmp_path / name / "other.mp4").write_bytes(FILM.read_bytes())
    async with balancer(tmp_path, films_config(tmp_path)) as lb:
        async with title(lb, "caf%e9.mp4") as shown:
            assert len(await shown.film()) > 10_000
        async with title(lb, "caf%e9") as refused:
            assert (
                await refused.get("v0.m3u8")
            ).text == "This title cannot be played: caf?.mp4: it is not an MP4 file.\n"
        assert (await lb.event("media.title_refused"))["title"] == f"films/{name}"


OUTSIDE = [
    "../secret.mp4", "%2e%2e/secret.mp4", "..%2fsecret.mp4", "%2e%2e%2fsecret.mp4", "x/../../secret.mp4",
    "%252e%252e/secret.mp4", "..%5csecret.mp4", "//secret.mp4", "./secret.mp4", "%2fsecret.mp4", "link.mp4",
    "up/secret.mp4", "film.mp4%00", "film.mp4%00/x", ".hidden.mp4", "film.mp4/../../secret.mp4", "a" * 3_000,
    "%ff%fe", "%", "%zz.mp4", "a/" * 500, ";../secret.mp4", "..;/secret.mp4", "notes.txt",
]  # fmt: skip


async def test_nothing_outside_of_the_root_comes_out(tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    for path in (tmp_path / "secret.mp4", root / ".hidden.mp4", root / "film.mp4"):
        path.write_bytes(FILM.read_bytes())
    (root / "notes.txt").write_text("secret")
    (root / "link.mp4").symlink_to("../secret.mp4")
    (root / "up").symlink_to("..")
    async with balancer(tmp_path, films_config(root)) as lb:
        for path in OUTSIDE:
            for end in ("", "/master.m3u8", "/0123456789abcdef/v0/0.m4s"):
                target = f"/films/{path}{end}"
                command = [program("curl"), "-s", "--path-as-is", "--globoff", "-o", "-", "-w", "\n%{http_code}"]
                done = await trio.run_process(
                    [*command, f"http://127.0.0.1:{lb.port}{target}"], capture_stdout=True, stderr=subprocess.DEVNULL
                )
                body, _, status = done.stdout.rpartition(b"\n")
                assert status in (b"404", b"400"), (target, status)
                assert len(body) < 2_000
        assert not lb.of("media.title_refused")
