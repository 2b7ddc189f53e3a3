"""The CPUs that a process may use, by the quotas of its cgroups."""

from __future__ import annotations

import math

import pytest

from lb.net.cpus import available_cpus, cpu_quota


@pytest.fixture
def host(tmp_path):
    """Make files below a root; return the quota of a process with this /proc/self/cgroup."""

    def quota(membership, **files):
        (tmp_path / "membership").write_text(membership)
        for name, content in files.items():
            path = tmp_path / "cgroup" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return cpu_quota(tmp_path / "membership", tmp_path / "cgroup")

    return quota


def test_version_2_has_quota_and_period_in_one_file(host):
    assert host("0::/\n", **{"cpu.max": "150000 100000\n"}) == 1.5


def test_the_smallest_quota_on_the_way_up_counts(host):
    files = {"a__cpu.max": "400000 100000\n", "a__b__cpu.max": "max 100000\n", "a__b__c__cpu.max": "600000 100000\n"}
    assert host("0::/a/b/c\n", **files) == 4


def test_version_1_has_two_files(host):
    files = {"cpu,cpuacct__box__cpu.cfs_quota_us": "50000\n", "cpu,cpuacct__box__cpu.cfs_period_us": "100000\n"}
    assert host("7:memory:/box\n3:cpu,cpuacct:/box\n0::/box\n", **files) == 0.5


def test_a_container_has_the_path_of_its_host_and_files_at_its_own_root(host):
    files = {"cpu__cpu.cfs_quota_us": "200000\n", "cpu__cpu.cfs_period_us": "100000\n"}
    assert host("3:cpu:/docker/0123456789\n", **files) == 2


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        ("0::/\n", {}),
        ("0::/\n", {"cpu.max": "max 100000\n"}),
        ("3:cpu:/\n", {"cpu__cpu.cfs_quota_us": "-1\n", "cpu__cpu.cfs_period_us": "100000\n"}),
        ("", {"cpu.max": "100000 100000\n"}),
    ],
)
def test_without_a_quota_there_is_no_limit(host, membership, files):
    assert host(membership, **files) == math.inf


def test_a_quota_is_rounded_up_and_no_more_than_the_affinity(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    for quota, count in [(0.5, 1), (1.5, 2), (4.0, 4), (9.0, 4), (math.inf, 4)]:
        monkeypatch.setattr("lb.net.cpus.cpu_quota", lambda *_paths, quota=quota: quota)
        assert available_cpus() == count
