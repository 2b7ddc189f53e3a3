"""What viewers get for each address of a title."""

from __future__ import annotations

import os

import m3u8
import pytest

from lb.media import vod_resources
from lb.media.frames import MediaError
from lb.media.vod_resources import VodResources
from lb.media.vod_titles import VodTitles
from tests.support.titles import film, packets

IMMUTABLE = "max-age=31536000, immutable"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "films"
    (root / "ladder").mkdir(parents=True)
    (root / "film.mp4").write_bytes(film("avc1", "mp4a"))
    for number, bitrate in enumerate((400_000, 50_000)):
        (root / "ladder" / f"{number}.mp4").write_bytes(film("avc1", "mp4a", bitrate=bitrate))
    (root / "text.mp4").write_text("This is no film.")
    (root / "notes.txt").write_text("Nobody's business.")
    (tmp_path / "secret.mp4").write_bytes(film("avc1", "mp4a"))
    return root


@pytest.fixture
def vod(root):
    return Vod(root)


class Vod:
    """The resources, with what they told of refused titles and of segments."""

    def __init__(self, root):
        self.refused, self.packaged = [], []
        self.titles = VodTitles(str(root), 2.0, 8, lambda path, reason: self.refused.append((path, reason)))
        self.resources = VodResources(self.titles, self.packaged.append)

    async def get(self, path):
        return await self.resources.resource(path)

    async def segments(self, path, name):
        """Return the initialization segment and all segments of a track, by its playlist."""
        listed = m3u8.loads(content(await self.get(f"{path}/{name}.m3u8")).decode())
        uris = [listed.segments[0].init_section.uri, *(each.uri for each in listed.segments)]
        return [await self.get(f"{path}/{uri}") for uri in uris]


def field(response, name):
    return dict(response.headers()).get(name)


def content(response):
    return b"".join(response.body)


@pytest.mark.parametrize("path", ["film.mp4", "ladder"])
async def test_a_player_finds_its_way_from_the_master_to_all_frames(vod, root, path):
    master = m3u8.loads(content(await vod.get(f"{path}/master.m3u8")).decode())
    best = master.playlists[-1].uri.removesuffix(".m3u8")
    (sound,) = master.media
    for name, kind in ((best, "video"), (sound.uri.removesuffix(".m3u8"), "audio")):
        parts = await vod.segments(path, name)
        assert {each.status for each in parts} == {200}
        source = film("avc1", "mp4a", bitrate=400_000) if path == "ladder" else film("avc1", "mp4a")
        found = packets(b"".join(map(content, parts)), kind)
        assert [each[1:] for each in found] == [each[1:] for each in packets(source, kind)]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("master.m3u8", "application/vnd.apple.mpegurl"),
        ("v0.m3u8", "application/vnd.apple.mpegurl"),
        ("a0.m3u8", "application/vnd.apple.mpegurl"),
        ("manifest.mpd", "application/dash+xml"),
    ],
)
async def test_playlists_say_what_they_are_and_how_long_they_may_be_kept(vod, name, media_type):
    response = await vod.get(f"film.mp4/{name}")
    assert response.status == 200
    assert field(response, "Content-Type") == media_type
    assert field(response, "Cache-Control") == "max-age=60"
    assert field(response, "Access-Control-Allow-Origin") == "*"


async def test_segments_say_what_they_are_and_stay_for_good(vod):
    init, *segments = await vod.segments("film.mp4", "v0")
    assert field(init, "Content-Type") == "video/mp4"
    assert {field(each, "Content-Type") for each in segments} == {"video/iso.segment"}
    assert {field(each, "Cache-Control") for each in (init, *segments)} == {IMMUTABLE}
    assert {field(each, "Access-Control-Allow-Origin") for each in (init, *segments)} == {"*"}


@pytest.mark.parametrize("name", ["master.m3u8", "v0.m3u8", "manifest.mpd"])
async def test_the_etag_of_a_playlist_stays_as_long_as_its_text(vod, name):
    first, second = await vod.get(f"film.mp4/{name}"), await vod.get(f"film.mp4/{name}")
    assert content(first) == content(second)
    assert first.etag == second.etag
    assert first.etag.startswith('"')


async def test_etags_of_playlists_change_with_the_file(vod, root):
    before = field(await vod.get("film.mp4/v0.m3u8"), "ETag")
    os.utime(root / "film.mp4", (1, 1))
    assert field(await vod.get("film.mp4/v0.m3u8"), "ETag") != before


async def test_the_file_itself_is_left_to_the_server_to_send(vod, root):
    response = await vod.get("film.mp4")
    status = (root / "film.mp4").stat()
    assert response.status == 200
    assert (response.file.root, response.file.path) == (str(root), "film.mp4")
    assert (response.file.size, response.file.modified_ns) == (status.st_size, status.st_mtime_ns)
    assert field(response, "Content-Type") == "video/mp4"
    assert field(response, "Cache-Control") == "max-age=3600"
    assert field(response, "ETag") == f'"{status.st_mtime_ns:x}-{status.st_size:x}"'


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "nothing.mp4", "nothing.mp4/master.m3u8", "notes.txt", "master.m3u8", "film.mp4/other.m3u8",
        "film.mp4/v1.m3u8", "film.mp4/v00.m3u8", "film.mp4/0123456789abcdef/v0/0.m4s", "film.mp4/v0/0.m4s",
        "../secret.mp4", "../secret.mp4/master.m3u8", "film.mp4/../../secret.mp4", "//film.mp4", ".film.mp4",
        "ladder", "film.mp4\0/master.m3u8", "\ud800.mp4/master.m3u8", "x" * 5000,
    ],
)  # fmt: skip
async def test_what_is_not_there_is_not_found(vod, path):
    response = await vod.get(path)
    assert (response.status, field(response, "Cache-Control")) == (404, "max-age=1")
    assert content(response) == b"There is no such title.\n"
    assert vod.refused == []


@pytest.mark.parametrize("name", ["v0/3.m4s", "v0/999999999999.m4s", "v0/00.m4s", "v0/-1.m4s", "v1/0.m4s", "v0/0.mp4"])
async def test_segments_that_are_not_there_are_not_found(vod, name):
    tag = (await vod.titles.current("film.mp4")).tag
    assert (await vod.get(f"film.mp4/{tag}/v0/2.m4s")).status == 200
    assert (await vod.get(f"film.mp4/{tag}/{name}")).status == 404


async def test_a_link_out_of_the_root_is_not_found(vod, root):
    (root / "link.mp4").symlink_to("../secret.mp4")
    for path in ("link.mp4", "link.mp4/master.m3u8"):
        assert (await vod.get(path)).status == 404


async def test_a_title_that_is_refused_says_why(vod):
    for name in ("master.m3u8", "v0.m3u8", "0123456789abcdef/v0/0.m4s"):
        response = await vod.get(f"text.mp4/{name}")
        assert (response.status, field(response, "Cache-Control")) == (404, "max-age=1")
        assert content(response) == b"This title cannot be played: it is not an MP4 file.\n"
        assert field(response, "Content-Type") == "text/plain; charset=utf-8"
    assert vod.refused == [("text.mp4", "it is not an MP4 file")]


async def test_a_file_that_is_changed_in_place_gives_no_segment_of_before(vod, root):
    parts = await vod.segments("film.mp4", "v0")
    assert len(parts) == 4
    tag = (await vod.titles.current("film.mp4")).tag
    os.utime(root / "film.mp4", (1, 1))
    response = await vod.get(f"film.mp4/{tag}/v0/0.m4s")
    assert (response.status, content(response)) == (404, b"There is no such title.\n")
    assert (await vod.segments("film.mp4", "v0"))[1].status == 200
    assert vod.refused == []


async def test_who_watches_a_replaced_film_gets_its_segments_as_before(vod, root):
    tag = (await vod.titles.current("film.mp4")).tag
    before = await vod.get(f"film.mp4/{tag}/v0/1.m4s")
    (root / "new.mp4").write_bytes(film("hvc1", seconds=2))
    (root / "new.mp4").rename(root / "film.mp4")
    assert b"hvc1" in content(await vod.get("film.mp4/master.m3u8"))
    assert content(await vod.get(f"film.mp4/{tag}/v0/1.m4s")) == content(before)


async def test_a_segment_that_cannot_be_made_has_the_title_refused(vod, monkeypatch):
    opened = await vod.titles.current("film.mp4")

    def fail(number):
        raise MediaError("the muxer refuses avc1")

    monkeypatch.setattr("lb.media.title_track.TitleTrack.segment", lambda self, number: fail(number))
    for _ in range(2):
        response = await vod.get(f"film.mp4/{opened.tag}/v0/0.m4s")
        assert (response.status, content(response)) == (404, b"This title cannot be played: the muxer refuses avc1.\n")
    assert vod.refused == [("film.mp4", "the muxer refuses avc1")]


async def test_a_disk_with_errors_is_not_a_missing_title(vod, monkeypatch):
    def fail(root, path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(vod_resources, "stat_media_file", fail)
    response = await vod.get("film.mp4")
    assert (response.status, field(response, "Cache-Control")) == (503, "no-store")


async def test_a_disk_that_hangs_is_given_up(vod, monkeypatch):
    async def hang(function, *args):
        raise TimeoutError("no answer in 30 s")

    monkeypatch.setattr(vod.titles, "run", hang)
    for path in ("film.mp4", "film.mp4/master.m3u8"):
        response = await vod.get(path)
        assert (response.status, field(response, "Cache-Control")) == (503, "no-store")


async def test_too_many_requests_are_sent_away(vod, monkeypatch):
    monkeypatch.setattr("lb.media.vod_titles._MAX_WAITING", 0)
    response = await vod.get("film.mp4/master.m3u8")
    assert (response.status, field(response, "Cache-Control")) == (503, "no-store")


async def test_how_long_segments_took_is_told(vod):
    parts = await vod.segments("film.mp4", "v0")
    assert len(vod.packaged) == len(parts)
    assert all(0 < seconds < 10 for seconds in vod.packaged)


async def test_failures_can_be_read_by_scripts_of_other_sites(vod):
    assert field(await vod.get("nothing.mp4"), "Access-Control-Allow-Origin") == "*"
