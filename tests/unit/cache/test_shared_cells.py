"""What processes that share a directory know together. Two in one process behave as two: locks are of open files."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from lb.cache import shared_cells
from lb.cache.shared_cells import COLUMNS, SHARED_NAME, TICKS, SharedCells, read_name

DIGEST = bytes.fromhex("abcdef" + 29 * "00")
LIMIT = 1000


@pytest.fixture
def attach(path):
    path.mkdir()
    attached = []

    def attach():
        attached.append(SharedCells.attach(str(path)))
        return attached[-1]

    def leave(cells):
        attached.remove(cells)
        cells.detach()

    attach.leave = leave
    yield attach
    for each in attached:
        each.detach()


def test_all_see_the_sum(attach):
    one, two = attach(), attach()
    one.set_counted(100, 1)
    assert one.column != two.column
    assert one.reserve(300, LIMIT)
    assert two.reserve(500, LIMIT)
    assert one.size == two.size == 900
    assert not one.reserve(101, LIMIT)
    assert one.size == 900, "what is not reserved is withdrawn"
    two.keep(500)
    two.placed()
    one.give_back(300)
    one.removed(500, 1)
    assert (two.size, two.objects) == (100, 1)


def test_a_use_is_seen_by_all(attach):
    one, two = attach(), attach()
    assert two.table[two.cell(DIGEST)] == 0
    one.touch(DIGEST, 5.52)
    assert two.table[two.cell(DIGEST)] == shared_cells.EPOCH + 5 * TICKS + TICKS // 2
    assert two.cell(DIGEST) == 0xABCDE


def test_only_the_first_process_begins_at_zero(attach, memory):
    first = attach()
    first.set_counted(100, 1)
    second = attach()
    assert second.counted
    attach.leave(first)
    assert second.size == 100
    attach.leave(second)
    assert list(memory.iterdir()) == [], "the last one removes it"
    third = attach()
    assert not third.counted
    assert (third.size, third.objects) == (0, 0)


def test_after_a_kill_of_all_uses_are_known_and_counts_begin_at_zero(attach, path, memory):
    process = killed(path, memory)
    column = next(process)
    next(process)
    ours = attach()
    assert ours.column == column
    assert (ours.size, ours.counted) == (0, False)
    assert ours.table[ours.cell(DIGEST)] == shared_cells.EPOCH + 7 * TICKS
    seen = free_all(ours)
    assert seen | {column} == set(range(COLUMNS)), "whatever any process left is cleared"


def test_one_does_the_upkeep_until_it_leaves(attach):
    one, two = attach(), attach()
    assert one.leads()
    assert one.leads()
    assert not two.leads()
    attach.leave(one)
    assert two.leads()


KILLED = """
import sys, time
from pathlib import Path
from lb.cache import shared_cells
shared_cells.MEMORY = Path(sys.argv[2])
cells = shared_cells.SharedCells.attach(sys.argv[1])
cells.reserve(300, 1000)
cells.reserve(200, 1000)
cells.keep(200)
cells.touch(bytes.fromhex("abcdef" + 29 * "00"), 7)
print(cells.column, flush=True)
sys.stdin.read()
"""


def free_all(cells):
    """Free the columns of all who were there before."""
    seen = set()
    while dead := cells.dead():
        seen.update(dead)
        for each in dead:
            cells.free(each)
    return seen


def killed(path, memory):
    """A process that was killed after it stored 200 bytes, with 300 reserved. Return its column."""
    command = [sys.executable, "-c", KILLED, str(path), str(memory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        column = int(process.stdout.readline())
        yield column
        process.send_signal(signal.SIGKILL)
        process.wait()
    yield column


def test_what_a_killed_process_had_reserved_is_given_back(attach, path, memory):
    ours = attach()
    process = killed(path, memory)
    column = next(process)
    free_all(ours)
    assert ours.size == 500
    next(process)
    assert ours.dead() == [column]
    ours.free(column)
    assert ours.size == 200
    assert ours.dead() == []
    assert attach().column == column


def test_one_of_two_gives_it_back(attach, path, memory):
    one, two = attach(), attach()
    free_all(one)
    process = killed(path, memory)
    column = next(process)
    next(process)
    assert one.dead() == [column]
    assert two.dead() == []
    one.free(column)
    assert two.size == 200


def test_who_takes_a_dead_column_gives_it_back_too(attach, path, memory):
    ours = attach()
    process = killed(path, memory)
    column = next(process)
    next(process)
    assert attach().column == column
    assert ours.size == 200


def test_what_is_reserved_when_a_process_leaves_is_given_back(attach):
    one, two = attach(), attach()
    free_all(one)
    one.reserve(100, LIMIT)
    attach.leave(one)
    assert two.size == 100
    assert two.dead() == [one.column]
    two.free(one.column)
    assert two.size == 0


def test_after_leaving_nothing_changes_and_there_is_no_room(attach):
    one, two = attach(), attach()
    attach.leave(one)
    assert not one.reserve(1, LIMIT)
    one.give_back(100)
    one.removed(100, 1)
    assert (two.size, two.objects) == (0, 0)


def test_a_process_that_joins_now_makes_another_one_wait(attach, path):
    lock = os.open(path / SHARED_NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        attach()
    os.close(lock)
    attach()


def test_a_removed_directory_is_a_new_one(attach, path):
    one = attach()
    assert read_name(str(path)) == one.name
    (path / SHARED_NAME).unlink()
    assert read_name(str(path)) == ""
    two = attach()
    assert two.name != one.name
    assert one.leads()
    assert two.leads()


@pytest.mark.parametrize("text", ["", "../../etc/passwd", "trio-lb-" + 32 * "0", "trio-lb-" + 32 * "g", "\0\xff"])
def test_whatever_the_file_says_there_is_memory(attach, path, text, memory):
    (path / SHARED_NAME).write_text(text)
    cells = attach()
    assert read_name(str(path)) == cells.name
    assert [each.name for each in memory.iterdir()] == [cells.name]


def test_memory_of_another_version_is_left_alone_while_it_is_used(attach, path, memory, monkeypatch):
    one = attach()
    monkeypatch.setattr(shared_cells, "VERSION", 0)
    with pytest.raises(OSError, match="another version"):
        attach()
    attach.leave(one)
    two = attach()
    assert two.name != one.name
    assert [each.name for each in memory.iterdir()] == [two.name]


def test_there_is_an_end_of_columns(attach, monkeypatch):
    for _ in range(COLUMNS):
        attach()
    with pytest.raises(OSError, match=f"in use by {COLUMNS} processes"):
        attach()


def test_a_link_in_place_of_the_file_is_not_followed(attach, path, tmp_path):
    (path / SHARED_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"[Tt]oo many"):
        attach()
    assert not (tmp_path / "elsewhere").exists()
