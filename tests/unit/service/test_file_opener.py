"""The file opener: which files it opens, and for which configuration."""

from __future__ import annotations

import json
import os
import socket
import threading

import pytest

from lb.net import privileged_files
from lb.net.files import read_file
from lb.service.file_opener import SECRET_KEYS, named_files, serve
from lb.tools.schema.document import schema

CONFIG = """
[admin]
token_file = "token"
[listeners.web.tls]
certificates = [{ certificate = "/etc/a.pem", key = "keys/a.pem" }]
[pools.web]
strategy = { name = "consistent-hash", key = "source-ip" }
servers_file = "list"
proxy = { user = "ann", password_file = "password" }
[users.staff]
file = "htpasswd"
"""
OPENED_OTHERWISE = {"servers_file"}
"""Files that change without a reload: the balancer's user must be able to read them."""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "lb.toml"
    path.write_text(CONFIG)
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    return path


@pytest.fixture
def opener(config, monkeypatch):
    """An opener in a thread. This process may read no file by itself."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = threading.Thread(target=serve, args=(theirs, config))
    thread.start()
    monkeypatch.setattr(privileged_files, "_channel", ours)
    yield
    ours.close()
    thread.join()
    theirs.close()


def forbid_open(monkeypatch):
    """Let the thread of the tests open nothing, as if the files were root's."""
    really, me = os.open, threading.get_ident()

    def opened(path, flags, *more, **options):
        if threading.get_ident() == me:
            raise PermissionError(13, "Permission denied")
        return really(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", opened)


def test_it_opens_what_the_configuration_names(config, opener, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("secret")
    forbid_open(monkeypatch)
    assert read_file(tmp_path / "token") == b"secret"
    assert read_file(config) == CONFIG.encode()


def test_it_opens_nothing_else(opener, monkeypatch, tmp_path):
    (tmp_path / "other").write_text("secret")
    (tmp_path / "list").write_text("127.0.0.1:1")
    forbid_open(monkeypatch)
    for path in (tmp_path / "other", tmp_path / "list", "/etc/shadow", tmp_path / "x" / ".." / "token"):
        with pytest.raises(PermissionError):
            read_file(path)


def test_a_file_that_is_not_there_is_told_as_such(opener, monkeypatch, tmp_path):
    forbid_open(monkeypatch)
    with pytest.raises(OSError, match="No such file"):
        read_file(tmp_path / "token")


def test_the_names_are_those_of_the_keys_for_files(config, tmp_path):
    names = {"lb.toml", "token", "keys/a.pem", "source-ip", "password", "htpasswd"}
    assert named_files(config) == {*(tmp_path / name for name in names), *{config.parent / "/etc/a.pem"}}


def keys_of(shape):
    """Yield the names of all properties in a schema."""
    if isinstance(shape, dict):
        yield from shape.get("properties", {})
    for each in shape.values() if isinstance(shape, dict) else shape if isinstance(shape, list) else ():
        yield from keys_of(each)


def test_each_key_that_ends_like_a_files_name_is_one_of_them():
    named = {key for key in keys_of(json.loads(json.dumps(schema()))) if key.endswith("_file")}
    assert named - OPENED_OTHERWISE == {*SECRET_KEYS}


def test_a_configuration_that_others_may_change_is_not_believed(config, tmp_path):
    """Whoever writes it could have any file of root opened."""
    for path, mode in ((config, 0o664), (config, 0o646), (tmp_path, 0o777)):
        before = path.stat().st_mode & 0o777
        path.chmod(mode)
        with pytest.raises(PermissionError):
            named_files(config)
        path.chmod(before)
    assert named_files(config)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_configuration_of_another_user_is_not_believed(config):
    os.chown(config, 65534, -1)
    with pytest.raises(PermissionError):
        named_files(config)
