"""When a changed file leads to a reload: once, when it has settled, and not if it holds the same again."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from lb.service import config_watch
from lb.service.config_watch import (
    LOOK_AFTER,
    LOOK_AFTER_BLIND,
    MOST_SETTLING,
    UNCHANGED_FOR,
    ConfigWatch,
    differing,
)

FIRST = {"lb.toml": b"1", "key.pem": b"1"}


class Disk:
    """Stands for the files and for what the kernel tells of them, with the watch and the loads over it."""

    is_complete = True
    is_being_written = False

    def __init__(self, nursery):
        self.files = dict(FIRST)
        self.read = dict(FIRST)
        self.reloads = []
        """When a reload began, and what the files held then."""
        self.looks = 0
        self._happened = trio.Event()
        self.watch = ConfigWatch(nursery, lambda: self.read, self._reload)

    def write(self, **files):
        self.files |= {"lb.toml" if name == "lb" else f"{name}.pem": content for name, content in files.items()}

    def tell(self):
        self._happened.set()

    async def changed(self):
        await self._happened.wait()
        self._happened = trio.Event()

    def close(self):
        pass

    def look(self, _watch, paths):
        self.looks += 1
        return {path: self.files[path] for path in paths}

    async def _reload(self, found):
        self.reloads.append((trio.current_time(), dict(found)))
        self.load()

    def load(self):
        self.read = dict(self.files)
        self.watch.turn(on=True)


@pytest.fixture
async def disk(nursery, monkeypatch):
    async def at_once(_threads, function, *args):
        await trio.lowlevel.checkpoint()
        return function(*args)

    disk = Disk(nursery)
    monkeypatch.setattr(config_watch.Threads, "run", at_once)
    monkeypatch.setattr(config_watch, "_new_watch", lambda: disk)
    monkeypatch.setattr(config_watch, "_look", disk.look)
    disk.watch.turn(on=True)
    await wait_all_tasks_blocked()
    return disk


async def test_a_change_that_is_told_is_loaded_once_when_it_has_settled(disk, autojump_clock):
    begin = trio.current_time()
    disk.write(lb=b"2")
    disk.tell()
    await trio.sleep(5)
    assert disk.reloads == [(begin + UNCHANGED_FOR, {**FIRST, "lb.toml": b"2"})]


async def test_files_that_change_one_after_the_other_are_loaded_together(disk, autojump_clock):
    for number in range(5):
        disk.write(lb=b"%d" % (number + 2))
        disk.tell()
        await trio.sleep(UNCHANGED_FOR * 0.6)
    disk.write(key=b"2")
    disk.tell()
    await trio.sleep(5)
    assert [found for _, found in disk.reloads] == [{"lb.toml": b"6", "key.pem": b"2"}]


async def test_what_is_told_without_a_change_is_no_reason(disk, autojump_clock):
    for _ in range(5):
        disk.tell()
        await trio.sleep(1)
    assert not disk.reloads


async def test_a_file_that_is_gone_and_back_is_no_reason(disk, autojump_clock):
    disk.write(key=b"No such file or directory")
    disk.tell()
    await trio.sleep(UNCHANGED_FOR / 2)
    disk.write(key=b"1")
    disk.tell()
    await trio.sleep(5)
    assert not disk.reloads


async def test_a_file_that_somebody_still_writes_is_not_loaded(disk, autojump_clock):
    disk.is_being_written = True
    disk.write(lb=b"half")
    disk.tell()
    await trio.sleep(MOST_SETTLING / 2)
    assert not disk.reloads
    disk.write(lb=b"whole")
    disk.is_being_written = False
    disk.tell()
    await trio.sleep(2 * UNCHANGED_FOR)
    assert [found["lb.toml"] for _, found in disk.reloads] == [b"whole"]


async def test_a_writer_who_never_ends_is_waited_for_no_longer(disk, autojump_clock):
    disk.is_being_written = True
    disk.write(lb=b"2")
    disk.tell()
    await trio.sleep(MOST_SETTLING + 1)
    assert len(disk.reloads) == 1


async def test_what_another_reload_has_read_is_not_loaded_again(disk, autojump_clock):
    disk.write(lb=b"2")
    disk.tell()
    await trio.sleep(UNCHANGED_FOR / 2)
    disk.load()
    await trio.sleep(5)
    assert not disk.reloads


async def test_a_change_during_a_reload_is_seen_after_it(disk, autojump_clock):
    """What the load has read counts, not what was seen before it."""
    disk.write(lb=b"2")
    disk.tell()
    await trio.sleep(5)
    disk.read["lb.toml"] = b"1 still"
    disk.watch.turn(on=True)
    await trio.sleep(5)
    assert len(disk.reloads) == 2


async def test_files_that_a_load_has_read_for_the_first_time_are_watched_at_once(disk, autojump_clock):
    disk.files["ca.pem"] = b"1"
    disk.load()
    await wait_all_tasks_blocked()
    disk.files["ca.pem"] = b"2"
    disk.tell()
    await trio.sleep(2 * UNCHANGED_FOR)
    assert [found["ca.pem"] for _, found in disk.reloads] == [b"2"]


@pytest.mark.parametrize(("is_complete", "seconds"), [(True, LOOK_AFTER), (False, LOOK_AFTER_BLIND)])
async def test_a_change_that_nobody_tells_is_seen_in_the_end(disk, is_complete, seconds, autojump_clock):
    disk.is_complete = is_complete
    disk.tell()
    await wait_all_tasks_blocked()
    disk.write(lb=b"2")
    begin = trio.current_time()
    await trio.sleep(LOOK_AFTER + 5)
    assert [when for when, _ in disk.reloads] == [begin + seconds + UNCHANGED_FOR]


async def test_it_can_be_turned_off_and_on(disk, autojump_clock):
    disk.watch.turn(on=False)
    disk.write(lb=b"2")
    disk.tell()
    await trio.sleep(LOOK_AFTER + 5)
    assert not disk.reloads
    disk.watch.turn(on=True)
    await trio.sleep(5)
    assert len(disk.reloads) == 1


async def test_a_quiet_disk_is_left_alone(disk, autojump_clock):
    await trio.sleep(10 * LOOK_AFTER - 1)
    assert disk.looks <= 10


def test_only_files_that_were_read_can_differ():
    assert differing({"a": b"1", "b": b"1"}, {"a": b"2", "c": b"3"}) == ("a",)
