"""Watched paths: whatever happens to a file, a link or a directory on the way is noticed, and nothing else is."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
import trio

from lb.net import path_watch
from lb.net.path_watch import PathWatch
from tests.support.balancer import PATIENCE

QUIET = 0.02
"""Seconds to wait for an event that does not come: events are there when the call that causes them returns."""


@pytest.fixture
def watch():
    watch = PathWatch()
    yield watch
    watch.close()


@pytest.fixture
def volume(tmp_path):
    """A volume as Kubernetes lays it: two links before the file. Returns the path of the file."""
    new_content(tmp_path / "volume", "1")
    path = tmp_path / "volume" / "lb.toml"
    path.symlink_to("..data/lb.toml")
    return path


def new_content(volume, text):
    """Put content into a volume as kubelet does: a new directory, and a link to it that is renamed."""
    directory = volume / f"..{text}"
    directory.mkdir(parents=True)
    (directory / "lb.toml").write_text(text)
    (volume / "..data_tmp").symlink_to(directory.name)
    (volume / "..data_tmp").rename(volume / "..data")


async def noticed(watch):
    with trio.fail_after(PATIENCE):
        await watch.changed()


async def is_quiet(watch):
    with trio.move_on_after(QUIET) as scope:
        await watch.changed()
    return scope.cancelled_caught


def write_in_place(path):
    path.write_text("2")


def append(path):
    with path.open("a") as file:
        file.write("2")


def rename_over(path):
    path.with_name(".4711.swp").write_text("2")
    path.with_name(".4711.swp").rename(path)


def hide(path):
    path.chmod(0)


def put_another_directory(path):
    """The directory, its contents and all, is another one."""
    home = path.parent
    shutil.copytree(home, home.with_name("new"), symlinks=True)
    home.rename(home.with_name("old"))
    home.with_name("new").rename(home)


CHANGES = [write_in_place, append, rename_over, hide, os.unlink, put_another_directory]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_of_a_file_is_noticed(tmp_path, watch, change):
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "lb.toml"
    path.write_text("1")
    watch.follow([str(path)])
    assert watch.is_complete
    assert await is_quiet(watch)
    change(path)
    await noticed(watch)


@pytest.mark.parametrize("change", [rename_over, put_another_directory])
async def test_what_is_there_after_a_change_is_watched_again(tmp_path, watch, change):
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "lb.toml"
    path.write_text("1")
    watch.follow([str(path)])
    change(path)
    await noticed(watch)
    watch.follow([str(path)])
    while not await is_quiet(watch):
        pass
    write_in_place(path)
    await noticed(watch)


async def test_a_file_that_is_not_there_is_noticed_when_it_comes_with_its_directories(tmp_path, watch):
    path = tmp_path / "later" / "certs" / "key.pem"
    watch.follow([str(path)])
    assert watch.is_complete
    for come in (path.parent.parent.mkdir, path.parent.mkdir, path.touch):
        come()
        await noticed(watch)
        watch.follow([str(path)])


async def test_the_swap_of_a_volume_of_kubernetes_is_noticed_each_time(volume, watch):
    for text in ("2", "3"):
        watch.follow([str(volume)])
        while not await is_quiet(watch):
            pass
        new_content(volume.parent, text)
        await noticed(watch)


async def test_a_link_that_leads_elsewhere_is_noticed_and_so_is_what_it_leads_to(tmp_path, watch):
    for name in ("archive", "live"):
        (tmp_path / name).mkdir()
    for number in (1, 2):
        (tmp_path / "archive" / f"cert{number}.pem").touch()
    path = tmp_path / "live" / "cert.pem"
    path.symlink_to("../archive/cert1.pem")
    watch.follow([str(path)])
    write_in_place(tmp_path / "archive" / "cert1.pem")
    await noticed(watch)
    path.unlink()
    path.symlink_to(tmp_path / "archive" / "cert2.pem")
    await noticed(watch)
    watch.follow([str(path)])
    write_in_place(tmp_path / "archive" / "cert2.pem")
    await noticed(watch)


async def test_a_path_may_be_relative_and_lead_upwards(tmp_path, watch, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "key.pem").touch()
    monkeypatch.chdir(tmp_path / "here")
    watch.follow(["../key.pem"])
    write_in_place(tmp_path / "key.pem")
    await noticed(watch)


async def test_a_relative_path_may_outlive_the_working_directory(tmp_path, watch, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "key.pem").touch()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    watch.follow(["lb.toml", str(tmp_path / "key.pem")])
    write_in_place(tmp_path / "key.pem")
    await noticed(watch)


async def test_links_in_a_circle_are_a_file_that_is_not_there(tmp_path, watch):
    (tmp_path / "lb.toml").symlink_to("lb.toml")
    watch.follow([str(tmp_path / "lb.toml")])
    rename_over(tmp_path / "lb.toml")
    await noticed(watch)


async def test_a_file_with_another_name_is_noticed_when_it_is_written_by_that(tmp_path, watch):
    """As when a container has the file alone mounted."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "lb.toml").write_text("1")
    os.link(tmp_path / "lb.toml", tmp_path / "elsewhere" / "lb.toml")
    watch.follow([str(tmp_path / "lb.toml")])
    write_in_place(tmp_path / "elsewhere" / "lb.toml")
    await noticed(watch)


async def test_other_files_beside_it_are_not_noticed(volume, watch):
    watch.follow([str(volume)])
    for directory in (volume.parent, volume.parent.parent):
        rename_over(directory / "other")
        (directory / "other").unlink()
    (volume.parent / "..data_tmp").symlink_to("nowhere")
    volume.read_text()
    assert await is_quiet(watch)


async def test_what_is_no_longer_followed_is_not_noticed(tmp_path, watch):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lb.toml").touch()
    watch.follow([str(tmp_path / "old" / "lb.toml")])
    watch.follow([str(tmp_path / "new" / "lb.toml")])
    write_in_place(tmp_path / "old" / "lb.toml")
    assert await is_quiet(watch)
    write_in_place(tmp_path / "new" / "lb.toml")
    await noticed(watch)


async def test_who_writes_and_has_not_finished_is_known(tmp_path, watch):
    path = tmp_path / "lb.toml"
    path.write_text("1")
    watch.follow([str(path)])
    with path.open("a") as file:
        file.write("2")
        file.flush()
        await noticed(watch)
        assert watch.is_being_written
    await noticed(watch)
    assert not watch.is_being_written


async def test_a_writer_whose_file_was_replaced_counts_no_longer(tmp_path, watch):
    path = tmp_path / "lb.toml"
    path.write_text("1")
    watch.follow([str(path)])
    with path.open("a") as file:
        file.write("2")
        file.flush()
        await noticed(watch)
        rename_over(path)
        await noticed(watch)
        watch.follow([str(path)])
        assert not watch.is_being_written


@pytest.mark.parametrize(
    ("number", "is_complete"), [(errno.EACCES, False), (errno.ENOSPC, False), (errno.ENOENT, True)]
)
async def test_what_the_kernel_refuses_to_watch_is_known(tmp_path, watch, monkeypatch, number, is_complete):
    def refuse(path, mask):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(watch._inotify, "add_watch", refuse)
    watch.follow([str(tmp_path / "lb.toml")])
    assert watch.is_complete == is_complete


async def test_without_inotify_nothing_is_noticed_and_that_is_known(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(path_watch, "INotify", refuse)
    watch = PathWatch()
    watch.follow([str(tmp_path / "lb.toml")])
    assert not watch.is_complete
    (tmp_path / "lb.toml").touch()
    assert await is_quiet(watch)
    watch.close()
