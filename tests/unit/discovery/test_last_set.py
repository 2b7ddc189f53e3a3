"""The file with the last servers that were found."""

from __future__ import annotations

import stat

import pytest

from lb.discovery.last_set import LastSet
from lb.model import EtcdSource, EtcdSpec

SOURCE = EtcdSource(EtcdSpec(("http://10.0.0.1:2379",), "/x/"), directory="/etc/lb")
SERVERS = {"b": {"address": "10.0.0.2:80", "weight": 2}, "a": {"address": "10.0.0.1:80"}}


@pytest.fixture
def file(tmp_path):
    return LastSet(tmp_path / "set.json", "etcd /x/")


def test_what_is_written_is_read_and_nobody_else_can_read_it(file):
    assert file.read() == {}
    file.write(SERVERS)
    file.write({**SERVERS, "c": {}})
    assert file.read() == {**SERVERS, "c": {}}
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [*file.path.parent.iterdir()] == [file.path]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is not JSON: Expecting value: line 1 column 1"),
        ("[]", "is not a set of servers"),
        ('{"source": "etcd /x/", "servers": {"a": 1}}', "is not a set of servers"),
        ('{"source": "etcd /y/", "servers": {}}', "is of another source"),
        ("[" * 100_000, "is not JSON: "),
    ],
)
def test_what_is_of_no_use_is_told(file, content, reason):
    file.path.write_text(content)
    with pytest.raises(ValueError, match=f"^{reason}"):
        file.read()


def test_what_cannot_be_read_or_written_is_told(file, tmp_path):
    file.path.mkdir()
    with pytest.raises(ValueError, match="cannot be read: is a directory"):
        file.read()
    with pytest.raises(ValueError, match="cannot be written: "):
        file.write(SERVERS)
    assert [*tmp_path.iterdir()] == [file.path]


def test_the_file_is_the_configured_one_or_that_of_the_pool(monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert str(LastSet.of("web", SOURCE).path) == "/etc/lb/lb-etcd-web.json"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/lb:/var/lib/other")
    assert str(LastSet.of("web", SOURCE).path) == "/var/lib/lb/lb-etcd-web.json"
    named = EtcdSource(SOURCE.etcd, file="/srv/web.json")
    assert str(LastSet.of("web", named).path) == "/srv/web.json"
