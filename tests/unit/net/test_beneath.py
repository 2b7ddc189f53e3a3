"""Files below a directory, by the kernel's own resolution and without it."""

from __future__ import annotations

import errno
import os

import pytest

from lb.net import beneath
from tests.support.splicing import open_descriptors


@pytest.fixture(params=["openat2", "a kernel without it", "a filter that refuses it"])
def open_file(request, monkeypatch, tmp_path):
    """Open a path below ``tmp_path/root`` and return what it holds, or the name of the error."""
    if request.param != "openat2":
        number = errno.ENOSYS if "kernel" in request.param else errno.EPERM
        monkeypatch.setattr(beneath, "_openat2", lambda *_: (-1, number))
    tree(tmp_path)
    root = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    before = open_descriptors()

    def opened(path):
        try:
            fd = beneath.open_beneath(root, path.encode(), os.O_RDONLY)
        except OSError as error:
            return errno.errorcode[error.errno]
        with os.fdopen(fd, "rb") as file:
            assert not os.get_inheritable(fd)
            return file.read()

    yield opened
    assert open_descriptors() == before
    os.close(root)


def tree(directory):
    (directory / "secret").write_bytes(b"secret")
    root = directory / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_bytes(b"inside")
    (root / "top").write_bytes(b"top")
    for name, target in {
        "inside": "a/b/file",
        "a/b/up": "../../top",
        "a/sibling": "b",
        "out": "../secret",
        "a/b/out": "../../../secret",
        "out-and-back": "../root/top",
        "absolute": str(root / "top"),
        "parent": "..",
        "loop": "loop",
        "magic": "/proc/self/cwd",
    }.items():
        (root / name).symlink_to(target)


def test_files_below_are_opened(open_file):
    assert open_file("top") == b"top"
    assert open_file("a/b/file") == b"inside"


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "/",
        "out",
        "a/b/out",
        "out-and-back",
        "absolute",
        "parent/secret",
        "magic/top",
        "loop",
        "top/",
        "top/file",
        "a//../../secret",
        "nothing",
        "x" * 300,
        "top\0",
    ],
)
def test_nothing_else_is(open_file, path):
    assert open_file(path) in {"EXDEV", "ENOENT", "ELOOP", "ENOTDIR", "ENAMETOOLONG", "EINVAL"}


@pytest.mark.parametrize(
    ("path", "content"), [("inside", b"inside"), ("a/b/up", b"top"), ("a/sibling/file", b"inside")]
)
def test_links_that_stay_below_are_followed_by_the_kernel(tmp_path, path, content):
    tree(tmp_path)
    root = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    with os.fdopen(beneath.open_beneath(root, path.encode(), os.O_RDONLY), "rb") as file:
        assert file.read() == content
    os.close(root)


@pytest.mark.parametrize("path", ["inside", "a/b/up", "a/sibling/file"])
def test_without_the_kernel_no_link_is_followed(tmp_path, monkeypatch, path):
    monkeypatch.setattr(beneath, "_openat2", lambda *_: (-1, errno.ENOSYS))
    tree(tmp_path)
    root = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        beneath.open_beneath(root, path.encode(), os.O_RDONLY)
    os.close(root)


def test_what_is_in_memory_is_opened_without_waiting(tmp_path):
    tree(tmp_path)
    root = beneath.open_directory(str(tmp_path / "root"), wait=False)
    with os.fdopen(beneath.open_beneath(root, b"a/b/file", os.O_RDONLY, wait=False), "rb") as file:
        assert file.read() == b"inside"
    with pytest.raises(BlockingIOError):
        beneath.open_beneath(root, b"../secret", os.O_RDONLY, wait=False)
    os.close(root)


def test_another_file_system_is_not_opened_without_waiting():
    root = beneath.open_directory("/", wait=False)
    with pytest.raises(BlockingIOError):
        beneath.open_beneath(root, b"proc/version", os.O_RDONLY, wait=False)
    os.close(beneath.open_beneath(root, b"proc/version", os.O_RDONLY))
    os.close(root)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EAGAIN])
def test_a_kernel_that_cannot_do_without_waiting_waits(tmp_path, monkeypatch, number):
    monkeypatch.setattr(beneath, "_openat2", lambda *_: (-1, number))
    with pytest.raises(BlockingIOError):
        beneath.open_directory(str(tmp_path), wait=False)
    with pytest.raises(BlockingIOError):
        beneath.open_beneath(0, b"x", os.O_RDONLY, wait=False)
    with pytest.raises(BlockingIOError):
        beneath.open_cached(str(tmp_path), os.O_RDONLY)


def test_any_file_in_memory_is_opened_without_waiting(tmp_path):
    (tmp_path / "file").write_bytes(b"text")
    with os.fdopen(beneath.open_cached(str(tmp_path / "file"), os.O_RDONLY), "rb") as file:
        assert file.read() == b"text"
        assert not os.get_inheritable(file.fileno())
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="Too many levels"):
        beneath.open_cached(str(tmp_path / "link"), os.O_RDONLY | os.O_NOFOLLOW)
    with pytest.raises((FileNotFoundError, BlockingIOError)):
        beneath.open_cached(str(tmp_path / "missing"), os.O_RDONLY)


def test_it_is_tried_again_while_directories_are_renamed(tmp_path, monkeypatch):
    answers = [(-1, errno.EAGAIN), (-1, errno.EINTR), (7, 0)]
    monkeypatch.setattr(beneath, "_openat2", lambda *_: answers.pop(0))
    assert beneath.open_beneath(0, b"x", os.O_RDONLY) == 7


def test_it_is_not_tried_for_ever(monkeypatch):
    monkeypatch.setattr(beneath, "_openat2", lambda *_: (-1, errno.EAGAIN))
    with pytest.raises(BlockingIOError):
        beneath.open_beneath(0, b"x", os.O_RDONLY)
