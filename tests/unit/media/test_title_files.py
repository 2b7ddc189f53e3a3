"""Which files a path leads to, and which it must not."""

from __future__ import annotations

import os

import pytest

from lb.media.frames import MediaError
from lb.media.title_files import is_hidden, open_title_files, stat_media_file
from tests.support.processes import open_files


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "films"
    (root / "ladder").mkdir(parents=True)
    (root / "film.mp4").write_bytes(b"film")
    for name in ("b.mp4", "a.MP4", "notes.txt", ".c.mp4"):
        (root / "ladder" / name).write_bytes(name.encode())
    (root / "empty").mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    return root


def names(root, path):
    return [file.name for file in open_title_files(str(root), path).files]


def test_a_file_is_a_title(root):
    (file,) = open_title_files(str(root), "film.mp4").files
    assert (file.name, file.size) == ("film.mp4", 4)


def test_the_mp4_files_of_a_directory_are_one(root):
    assert names(root, "ladder") == ["a.MP4", "b.mp4"]


def test_only_films_are_titles(root):
    (root / "notes.txt").write_bytes(b"notes")
    (root / "film.MKV").write_bytes(b"another kind of film")
    with pytest.raises(FileNotFoundError):
        open_title_files(str(root), "notes.txt")
    assert names(root, "film.MKV") == ["film.MKV"]


def test_names_may_be_any_bytes(root):
    name = os.fsdecode(b"caf\xe9.mp4")
    (root / name).write_bytes(b"film")
    assert names(root, name) == [name]
    assert tag(root, name)


@pytest.mark.parametrize("path", ["nothing.mp4", "empty", "film.mp4/film.mp4", "x" * 300, "null\0"])
def test_what_is_not_there_is_not_found(root, path):
    before = open_files()
    with pytest.raises(OSError, match="Errno"):
        open_title_files(str(root), path)
    assert open_files() == before


@pytest.mark.parametrize("path", ["../secret.mp4", "ladder/../../secret.mp4", "/etc/passwd"])
def test_no_path_leads_out_of_the_root(root, path):
    for function in (open_title_files, stat_media_file):
        with pytest.raises(OSError, match="Errno"):
            function(str(root), path)


def test_no_link_leads_out_of_the_root(root):
    (root / "link.mp4").symlink_to("../secret.mp4")
    (root / "absolute.mp4").symlink_to(root.parent / "secret.mp4")
    (root / "up").symlink_to("..")
    (root / "ladder" / "c.mp4").symlink_to("../../secret.mp4")
    for path in ("link.mp4", "absolute.mp4", "up/secret.mp4", "up", "ladder"):
        with pytest.raises(OSError, match="Errno"):
            open_title_files(str(root), path)
    for path in ("link.mp4", "absolute.mp4", "up/secret.mp4"):
        with pytest.raises(OSError, match="Errno"):
            stat_media_file(str(root), path)


def test_a_link_to_another_film_is_followed(root):
    (root / "other.mp4").symlink_to("film.mp4")
    assert names(root, "other.mp4") == ["other.mp4"]
    assert stat_media_file(str(root), "other.mp4")[0] == 4


def test_a_pipe_is_no_film_and_nobody_waits_for_it(root):
    os.mkfifo(root / "pipe.mp4")
    os.mkfifo(root / "ladder" / "pipe.mp4")
    before = open_files()
    for path in ("pipe.mp4", "ladder"):
        with pytest.raises(OSError, match="Errno"):
            open_title_files(str(root), path)
    with pytest.raises(OSError, match="Errno"):
        stat_media_file(str(root), "pipe.mp4")
    assert open_files() == before


def test_a_directory_full_of_films_is_no_title(root):
    for number in range(17):
        (root / "empty" / f"{number}.mp4").touch()
    with pytest.raises(MediaError, match="more than 16 MP4 files"):
        open_title_files(str(root), "empty")


def test_files_are_closed_when_nobody_uses_them(root):
    before = open_files()
    files = open_title_files(str(root), "ladder")
    assert len(open_files().keys() - before.keys()) == 2
    del files
    assert open_files() == before


def tag(root, path="film.mp4", segment=6.0):
    return open_title_files(str(root), path).tag(segment)


def test_a_tag_stays_as_long_as_the_files_do(root):
    assert tag(root) == tag(root)
    assert tag(root, "ladder") == tag(root, "ladder")


def test_a_tag_does_not_depend_on_the_node(root, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "film.mp4").write_bytes(b"film")
    status = (root / "film.mp4").stat()
    os.utime(copy / "film.mp4", ns=(0, status.st_mtime_ns))
    assert tag(copy) == tag(root)


def test_a_tag_changes_with_size_time_renditions_and_segments(root):
    film, first = root / "film.mp4", tag(root)
    modified = film.stat().st_mtime_ns
    film.write_bytes(b"other film")
    os.utime(film, ns=(0, modified))
    longer = tag(root)
    os.utime(film, ns=(0, modified + 1))
    later = tag(root)
    assert len({first, longer, later, tag(root, segment=4.0)}) == 4
    ladder = tag(root, "ladder")
    (root / "ladder" / "c.mp4").touch()
    assert tag(root, "ladder") != ladder


def test_a_change_of_an_open_file_is_seen(root):
    files = open_title_files(str(root), "film.mp4")
    assert files.are_unchanged()
    (root / "film.mp4").write_bytes(b"longer")
    assert not files.are_unchanged()


def test_an_open_file_that_was_replaced_is_what_it_was(root):
    files = open_title_files(str(root), "film.mp4")
    (root / "new.mp4").write_bytes(b"new")
    (root / "new.mp4").rename(root / "film.mp4")
    assert files.are_unchanged()


def test_only_films_are_sent_as_they_are(root):
    assert stat_media_file(str(root), "ladder/a.MP4")[0] == 5
    for path in ("ladder/notes.txt", "ladder", ""):
        with pytest.raises(OSError, match="Errno"):
            stat_media_file(str(root), path)


@pytest.mark.parametrize("path", ["", ".film.mp4", ".git/film.mp4", "a//b", "a/", "/a", "..", "a/./b"])
def test_hidden_names_lead_nowhere(path):
    assert is_hidden(path)


def test_other_names_do(root):
    assert not is_hidden("ladder/a.MP4")
