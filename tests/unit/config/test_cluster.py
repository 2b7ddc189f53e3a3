"""``[cluster]``: its defaults, and the hash of the file."""

from __future__ import annotations

import hashlib
import socket

import pytest

from lb.config.load import ConfigError, load, parse
from lb.config.toml_file import read_toml
from lb.control.plan import plan

WEB = '[listeners.web]\nbind = ":1"\nservers = ["127.0.0.1:1"]\n[admin]\nbind = "127.0.0.1:9900"\n'
LEAST = WEB + '[cluster]\nname = "edge"\n%s\netcd = { endpoints = ["http://10.0.0.1:2379"] %s }\n'


def cluster_of(more="", etcd=""):
    return parse(LEAST % (more, etcd), "lb.toml").cluster


def test_all_nodes_can_run_one_file(monkeypatch):
    monkeypatch.delenv("LB_NODE", raising=False)
    assert cluster_of().node == socket.gethostname()
    monkeypatch.setenv("LB_NODE", "lb7")
    assert cluster_of().node == "lb7"
    assert cluster_of('node = "lb1"').node == "lb1"


def test_the_prefix_is_that_of_the_clusters_name():
    assert cluster_of().etcd.prefix == "/trio-lb/cluster/edge/"
    assert cluster_of(etcd=', prefix = "/mine/"').etcd.prefix == "/mine/"


@pytest.mark.parametrize("name", ["a/b", "a\nb"])
def test_a_name_from_elsewhere_that_is_none_says_where_it_is_from(monkeypatch, name):
    monkeypatch.setenv("LB_NODE", name)
    with pytest.raises(ConfigError) as caught:
        cluster_of()
    (error,) = caught.value.errors
    assert error.startswith("lb.toml: cluster.node: $LB_NODE is no name of a node: a name must not hold")


def test_without_it_there_is_no_cluster():
    assert parse(WEB, "lb.toml").cluster is None


@pytest.mark.parametrize("content", [WEB, f"\ufeff{WEB}", WEB.replace("\n", "\r\n"), f"{WEB}# caf\u00e9\n"])
def test_the_hash_is_that_of_the_files_bytes(tmp_path, content):
    file = tmp_path / "lb.toml"
    file.write_bytes(content.encode())
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    assert load(file).hash == load(file, beside_traffic=True).hash == read_toml(file).hash == wanted


def test_two_files_that_say_the_same_are_equal_and_have_hashes_of_their_own():
    one, other = parse(WEB, "lb.toml"), parse(f"# a comment\n{WEB}", "lb.toml")
    assert one == other
    assert one.hash != other.hash


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (WEB, LEAST % ('node = "a"', ""), "changed     cluster  name off -> edge"),
        (LEAST % ('node = "a"', ""), WEB, "changed     cluster  name edge -> off"),
        (LEAST % ('node = "a"', ""), LEAST % ('node = "b"', ""), "changed     cluster  node a -> b"),
        (
            LEAST % ('node = "a"', ""),
            LEAST % ('node = "a"', ', prefix = "/b/"'),
            "changed     cluster  etcd.prefix /trio-lb/cluster/edge/ -> /b/",
        ),
    ],
)
def test_a_reload_tells_what_it_changes(old, new, line):
    steps = plan(parse(old, "lb.toml"), parse(new, "lb.toml"))
    assert steps.lines() == (line,)
    assert not steps.is_empty
