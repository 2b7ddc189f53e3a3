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
    now = files.Reading()
    token = files.reading.set(now)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "gone")
    files.reading.reset(token)
    assert now.path == str(tmp_path / "gone")
