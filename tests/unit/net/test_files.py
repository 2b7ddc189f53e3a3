"""Reading of small files."""

from __future__ import annotations

import os

import pytest

from lb.net import files
from lb.net.files import read_file


def test_the_whole_file_is_read(tmp_path):
    path = tmp_path / "list"
    path.write_bytes(b"a:1\n" * 100_000)
    assert read_file(str(path)) == b"a:1\n" * 100_000


def test_a_pipe_is_refused_and_waits_for_nobody(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match=r"is not a plain file|Is a directory"):
            read_file(str(path))


def test_what_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_SIZE", 1 << 20)
    path = tmp_path / "list"
    path.write_bytes(b"#" * (1 << 20))
    read_file(str(path))
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(OSError, match="is larger than 1 MiB"):
        read_file(str(path))


def test_who_gives_up_waiting_can_say_for_which_file(tmp_path):
    with files.note_reads("lb.toml") as now:
        assert now.path == "lb.toml"
        with pytest.raises(FileNotFoundError):
            read_file(tmp_path / "gone")
    assert now.path == str(tmp_path / "gone")


@pytest.mark.parametrize("read", [read_file, files.read_file_or_pipe])
def test_what_was_read_is_noted_so_that_a_change_can_be_seen(tmp_path, read):
    path = tmp_path / "key.pem"
    path.write_text("1")
    with files.note_reads("lb.toml") as now:
        read(path)
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "gone")
    assert now.marks == {str(each): files.mark_of_file(each) for each in (path, tmp_path / "gone")}
    path.touch()
    assert files.mark_of_file(path) == now.marks[str(path)], "the same content is no change"
    path.write_text("2")
    (tmp_path / "gone").mkdir()
    assert all(files.mark_of_file(each) != mark for each, mark in now.marks.items())


def test_of_a_file_that_is_read_twice_the_first_counts(tmp_path):
    """So one that changes in between is seen to have changed."""
    path = tmp_path / "key.pem"
    path.write_text("1")
    before = files.mark_of_file(path)
    with files.note_reads(path) as now:
        read_file(path)
        path.write_text("2")
        read_file(path)
    assert now.marks == {str(path): before}


def test_nothing_is_noted_after_the_block(tmp_path):
    with files.note_reads(tmp_path) as now:
        pass
    (tmp_path / "list").touch()
    read_file(tmp_path / "list")
    assert now.marks == {}
