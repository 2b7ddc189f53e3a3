"""Titles that are opened once, kept while they are used, and let go of."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio

from lb.media import vod_titles
from lb.media.frames import MediaError
from lb.media.vod_titles import TitleRefusedError, TooManyWaitError, VodTitles
from tests.support.processes import open_files
from tests.support.titles import film


@pytest.fixture
def refused():
    return []


@pytest.fixture
def titles(tmp_path, refused):
    """Two films, and what is none; two may be open at a time."""
    for name in ("one.mp4", "two.mp4", "three.mp4"):
        (tmp_path / name).write_bytes(film("avc1", "mp4a", seconds=2))
    (tmp_path / "text.mp4").write_text("This is no film.")
    return VodTitles(str(tmp_path), 1.0, 2, lambda path, reason: refused.append((path, reason)))


@pytest.fixture
def opened(monkeypatch):
    """The names of files of each title that is opened, in order; they open when ``opened.gate`` is set."""
    opened = Openings()
    monkeypatch.setattr(vod_titles, "open_title", opened.open)
    return opened


class Openings:
    def __init__(self):
        self.names = []
        self.begun = trio.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._open = vod_titles.open_title

    def open(self, files, segment):
        self.names.append(files[0].name)
        trio.from_thread.run_sync(self.begun.set)
        assert self.gate.wait(10)
        return self._open(files, segment)


def open_films(root):
    """Return the names of the root's files that this process has open."""
    links = map(Path, open_files().values())
    return sorted(link.name for link in links if link.parent == Path(root))


async def test_a_title_is_opened_once(titles, opened):
    first = await titles.current("one.mp4")
    assert await titles.current("one.mp4") is first
    assert await titles.tagged("one.mp4", first.tag) is first
    assert opened.names == ["one.mp4"]


async def test_all_who_ask_at_once_wait_for_one_opening(titles, opened):
    opened.gate.clear()
    found = []

    async def ask():
        found.append(await titles.current("one.mp4"))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
        await opened.begun.wait()
        opened.gate.set()
    assert opened.names == ["one.mp4"]
    assert len(found) == 10
    assert len(set(map(id, found))) == 1


async def test_the_loop_turns_while_a_title_is_opened(titles, opened):
    opened.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(titles.current, "one.mp4")
        await opened.begun.wait()
        opened.gate.set()


async def test_who_gives_up_does_not_take_the_title_from_the_others(titles, opened):
    opened.gate.clear()
    found = []

    async def ask():
        found.append(await titles.current("one.mp4"))

    async with trio.open_nursery() as nursery, trio.open_nursery() as impatient:
        impatient.start_soon(titles.current, "one.mp4")
        await opened.begun.wait()
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        impatient.cancel_scope.cancel()
        opened.gate.set()
    assert len(found) == 1


async def test_files_of_an_opening_that_nobody_waits_for_are_closed(titles, opened, tmp_path):
    opened.gate.clear()
    with trio.CancelScope() as impatient:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(titles.current, "one.mp4")
            await opened.begun.wait()
            impatient.cancel()
    opened.gate.set()
    with trio.fail_after(10):
        while open_films(tmp_path):  # noqa: ASYNC110 - a thread that nobody waits for tells nobody of its end
            await trio.sleep(0.001)


async def test_the_title_that_was_not_used_for_longest_is_closed(titles, opened, tmp_path):
    tag = (await titles.current("one.mp4")).tag
    await titles.current("two.mp4")
    await titles.tagged("one.mp4", tag)
    await titles.current("three.mp4")
    assert open_films(tmp_path) == ["one.mp4", "three.mp4"]
    await titles.current("one.mp4")
    assert opened.names == ["one.mp4", "two.mp4", "three.mp4"]


async def test_a_title_that_is_closed_while_it_is_used_goes_on(titles):
    first = await titles.current("one.mp4")
    await titles.current("two.mp4")
    await titles.current("three.mp4")
    assert first.title.video[0].segment(0)


async def test_a_segment_of_a_closed_title_opens_it_again(titles):
    tag = (await titles.current("one.mp4")).tag
    await titles.current("two.mp4")
    await titles.current("three.mp4")
    assert (await titles.tagged("one.mp4", tag)).tag == tag


async def test_a_replaced_file_is_another_title(titles, tmp_path):
    before = await titles.current("one.mp4")
    (tmp_path / "new.mp4").write_bytes(film("avc1", seconds=2))
    (tmp_path / "new.mp4").rename(tmp_path / "one.mp4")
    after = await titles.current("one.mp4")
    assert after.tag != before.tag
    assert after.title.audio is None


async def test_who_watches_a_replaced_film_goes_on_with_it(titles, tmp_path):
    before = await titles.current("one.mp4")
    (tmp_path / "new.mp4").write_bytes(film("avc1", seconds=2))
    (tmp_path / "new.mp4").rename(tmp_path / "one.mp4")
    await titles.current("one.mp4")
    assert await titles.tagged("one.mp4", before.tag) is before


@pytest.mark.parametrize("tag", ["0" * 16, ""])
async def test_a_state_that_is_gone_is_not_found(titles, tag):
    with pytest.raises(FileNotFoundError):
        await titles.tagged("one.mp4", tag)


async def test_a_title_is_refused_once_until_its_file_changes(titles, opened, refused, tmp_path):
    for _ in range(3):
        with pytest.raises(TitleRefusedError, match="it is not an MP4 file"):
            await titles.current("text.mp4")
    assert refused == [("text.mp4", "it is not an MP4 file")]
    assert opened.names == ["text.mp4"]
    (tmp_path / "text.mp4").write_text("This is no film either.")
    with pytest.raises(TitleRefusedError):
        await titles.current("text.mp4")
    assert len(refused) == 2
    (tmp_path / "text.mp4").write_bytes(film("mp4a", seconds=2))
    assert (await titles.current("text.mp4")).title.audio


async def test_all_who_wait_for_a_title_get_the_reason(titles, opened, refused):
    opened.gate.clear()
    reasons = []

    async def ask():
        with pytest.raises(TitleRefusedError) as caught:
            await titles.current("text.mp4")
        reasons.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await opened.begun.wait()
        opened.gate.set()
    assert reasons == ["it is not an MP4 file"] * 5
    assert len(refused) == len(opened.names) == 1


async def test_a_directory_with_too_many_films_is_refused_once(titles, refused, tmp_path):
    (tmp_path / "many").mkdir()
    for number in range(17):
        (tmp_path / "many" / f"{number}.mp4").touch()
    for _ in range(2):
        with pytest.raises(TitleRefusedError, match="more than 16"):
            await titles.current("many")
    assert len(refused) == 1


async def test_a_file_that_changes_while_it_is_opened_is_refused(titles, opened, tmp_path):
    opened.gate.clear()
    reasons = []

    async def ask():
        with pytest.raises(TitleRefusedError) as caught:
            await titles.current("one.mp4")
        reasons.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await opened.begun.wait()
        os.utime(tmp_path / "one.mp4", (1, 1))
        opened.gate.set()
    assert reasons == ["it is still being written"]
    assert await titles.current("one.mp4")


async def test_a_refused_title_s_files_are_closed(titles, tmp_path):
    with pytest.raises(MediaError):
        await titles.current("text.mp4")
    assert open_films(tmp_path) == []


async def test_a_segment_that_cannot_be_made_has_its_title_refused(titles, refused):
    opened = await titles.current("one.mp4")
    assert str(titles.refuse(opened, "it is odd")) == "it is odd"
    assert refused == [("one.mp4", "it is odd")]
    with pytest.raises(TitleRefusedError, match="it is odd"):
        await titles.tagged("one.mp4", opened.tag)


async def test_more_than_may_wait_are_sent_away(titles, opened, monkeypatch):
    monkeypatch.setattr(vod_titles, "_MAX_WAITING", 1)
    opened.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(titles.current, "one.mp4")
        await opened.begun.wait()
        with pytest.raises(TooManyWaitError):
            await titles.current("two.mp4")
        opened.gate.set()


async def test_refusals_that_are_remembered_are_bounded(titles, refused, tmp_path, monkeypatch):
    monkeypatch.setattr(vod_titles, "_MAX_REFUSED", 1)
    (tmp_path / "other.mp4").write_text("Neither.")
    for path in ("text.mp4", "other.mp4", "text.mp4"):
        with pytest.raises(TitleRefusedError):
            await titles.current(path)
    assert [path for path, _ in refused] == ["text.mp4", "other.mp4", "text.mp4"]
