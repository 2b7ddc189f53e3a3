"""The examples: the configurations load and match their comments, the plug-ins work, the systemd unit is valid."""

from __future__ import annotations

import grp
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from lb.config.load import load
from tests.support.paths import EXAMPLES
from tests.support.tls_peers import write_certificate

CONFIGS = sorted(EXAMPLES.glob("*.toml"))
UNIT = EXAMPLES / "lb.service"
LB = "/usr/bin/lb"


def unit_lines():
    """Return the settings of the unit: key -> values, in order."""
    settings = {}
    for line in UNIT.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(key, []).append(value)
    return settings


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_loads(path):
    config = load(path)
    assert all(pool.servers for pool in config.pools.values())


def test_the_web_site_loads_without_a_warning(tmp_path):
    """It names files of a real host: certificates, directories."""
    text = (EXAMPLES / "http" / "lb.toml").read_text()
    write_certificate(tmp_path, "site", "www.example.com")
    (tmp_path / "staff.htpasswd").write_text("alice:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n")
    text = re.sub(r'"/etc/[^"]+chain\.pem"', '"site.pem"', re.sub(r'"/etc/[^"]+key\.pem"', '"site.key"', text))
    path = tmp_path / "lb.toml"
    path.write_text(re.sub(r'files = "[^"]+"', 'files = "."', text))
    config = load(path)
    assert [route.name for route in config.listeners["www"].settings.routes] == [
        "example.com/",
        "static",
        "staff",
        "api",
        "app",
    ]


@pytest.mark.parametrize(
    ("path", "cache", "pool"),
    [
        ("video-cache/lb.toml", "video_cache", "backend_video_server"),
        ("cdn/edge.toml", "edge", "parents"),
        ("cdn/parent.toml", "parent", "origin"),
        ("live/edge.toml", "video", "origin"),
    ],
)
def test_the_caches_load(path, cache, pool):
    config = load(EXAMPLES / path)
    [route] = config.listeners["www"].settings.routes
    assert (route.cache.zone, route.target.pool) == (config.caches[cache], pool)


def test_the_forward_proxy_loads():
    config = load(EXAMPLES / "forward" / "lb.toml")
    settings = config.listeners["proxy"].settings
    assert (settings.connect_ports, settings.private) == ((443,), False)
    assert settings.cache.zone == config.caches["packages"]


def test_the_streams_and_the_films_load(tmp_path):
    for name in ("live", "vod"):
        shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns("films"))
    for missing in ("players", "vod/films"):  # the command makes the films
        (tmp_path / missing).mkdir()
    [live] = load(tmp_path / "live" / "lb.toml").media.live
    assert (live.name, live.part, [each.name for each in live.publish]) == ("live", 0.5, ["show"])
    [films] = load(tmp_path / "vod" / "lb.toml").media.vod
    assert (films.name, films.root) == ("films", str(tmp_path / "vod" / "films"))


def test_the_example_with_compose_has_a_service_for_each_name_that_is_used():
    directory = EXAMPLES / "compose"
    services = yaml.safe_load((directory / "compose.yaml").read_text())["services"]
    config = load(directory / "lb.toml")
    assert [server.name for server in config.pools["web"].servers] == ["a:8000", "b:8000", "c:8000"]
    assert services.keys() == {"lb", "a", "b", "c", "prometheus", "grafana"}
    assert all(services[each]["read_only"] for each in ("lb", "a", "b", "c"))
    scraped = yaml.safe_load((directory / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"] == [{"targets": ["lb:9900"]}]
    for service in services.values():
        for source, *_ in (each.split(":") for each in service.get("volumes", [])):
            assert (directory / source).exists(), source


def test_none_is_missing():
    assert [path.stem for path in CONFIGS] == [
        "failover",
        "galera",
        "kubernetes",
        "mqtt",
        "patroni",
        "postgres",
        "quickstart",
        "redis-sentinel",
        "redis",
        "smtp",
        "sticky",
        "weighted",
    ]


@pytest.mark.parametrize(
    ("name", "pool", "strategy", "probe"),
    [
        ("quickstart", "web", "weighted", "tcp"),
        ("weighted", "web", "weighted", "http"),
        ("failover", "db", "first", "tcp"),
        ("sticky", "cache", "consistent-hash", "tcp"),
        ("redis", "redis", "weighted", "redis"),
        ("postgres", "postgres", "least-conn", "postgres"),
        ("smtp", "smtp", "weighted", "smtp"),
    ],
)
def test_it_shows_what_it_is_for(name, pool, strategy, probe):
    spec = load(EXAMPLES / f"{name}.toml").pools[pool]
    assert (spec.strategy.name, spec.health.probe.name) == (strategy, probe)


@pytest.mark.parametrize(
    ("plug_in", "expected"),
    [
        ('strategy = "strategies_first_up:FirstUp"', "strategies_first_up:FirstUp"),
        ('health = { probe = "probe_banner:Banner", text = "220 " }', "probe_banner:Banner"),
    ],
)
def test_a_plug_in_beside_the_configuration_is_found(plug_in, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path])  # load() adds to it
    for example in EXAMPLES.glob("*.py"):
        shutil.copy(example, tmp_path)
    config = tmp_path / "lb.toml"
    config.write_text(f'[listeners.x]\nbind = ":0"\n[pools.x]\nservers = ["127.0.0.1:1"]\n{plug_in}\n')
    pool = load(config).pools["x"]
    assert expected in (pool.strategy.name, pool.health.probe.name)


def test_the_unit_checks_the_configuration_before_a_reload_and_is_not_tried_again_with_a_bad_one():
    unit = unit_lines()
    check = f"{LB} check --config /etc/trio-lb/lb.toml"
    assert "ExecStartPre" not in unit  # its exit code would prevent no restart
    assert unit["ExecStart"] == [f"{LB} run --config /etc/trio-lb/lb.toml"]
    assert unit["ExecReload"] == [f"+/usr/bin/nsenter --target $MAINPID --mount {check}", "/bin/kill -HUP $MAINPID"]
    assert unit["RestartPreventExitStatus"] == ["2"]


def test_the_unit_waits_until_it_serves_and_believes_the_process_that_is_the_service():
    unit = unit_lines()
    assert (unit["Type"], unit["NotifyAccess"]) == (["notify"], ["main"])
    assert unit["WatchdogSec"] == ["30s"]


def test_the_unit_gives_open_connections_longer_than_the_default_stop_timeout():
    (timeout,) = unit_lines()["TimeoutStopSec"]
    assert int(timeout.removesuffix("s")) > load(EXAMPLES / "quickstart.toml").process.stop_timeout


def test_the_unit_gives_no_more_rights_than_needed():
    unit = unit_lines()
    assert unit["NoNewPrivileges"] == unit["ProtectHome"] == ["yes"]
    assert unit["User"] == unit["Group"] == ["trio-lb"]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    assert unit["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    assert unit["UMask"] == ["0077"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to a group")
def test_certbots_hook_gives_the_group_copies_and_reloads(tmp_path):
    """certbot runs it with the directory of the renewed certificate in the environment."""
    live, to, bin_ = tmp_path / "live" / "example.org", tmp_path / "tls", tmp_path / "bin"
    for directory in (live, bin_):
        directory.mkdir(parents=True)
    for name in ("fullchain.pem", "privkey.pem"):
        (live / name).write_text(name)
        (live / name).chmod(0o600)
    (bin_ / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n')
    (bin_ / "systemctl").chmod(0o755)
    group = grp.getgrgid(1).gr_name
    hook = (EXAMPLES / "certbot-deploy-hook.sh").read_text()
    script = hook.replace("/etc/trio-lb/tls", str(to)).replace("group=trio-lb", f"group={group}")
    environment = {"PATH": f"{bin_}:{os.environ['PATH']}", "RENEWED_LINEAGE": str(live)}
    for _ in range(2):  # a renewal replaces the files
        subprocess.run(["sh", "-c", script], check=True, env=environment)
    assert sorted(path.name for path in (to / "example.org").iterdir()) == ["fullchain.pem", "privkey.pem"]
    key = (to / "example.org" / "privkey.pem").stat()
    assert (key.st_uid, key.st_gid, key.st_mode & 0o777) == (0, 1, 0o640)
    assert (to.stat().st_mode & 0o777, to.stat().st_gid) == (0o750, 1)
    assert (tmp_path / "calls").read_text() == "try-reload-or-restart lb\n" * 2


def test_systemd_finds_little_left_to_forbid():
    """The threshold is ten times the exposure level of systemd, 0 to 10. The remaining exposure is the network."""
    command = [systemd_analyze(), "security", "--offline=yes", "--threshold=17", UNIT]
    verdict = subprocess.run(command, check=False, capture_output=True, text=True)
    assert verdict.returncode == 0, verdict.stdout


def systemd_analyze():
    """Return the path of a program. Without it the test is skipped; in CI it must exist."""
    path = shutil.which("systemd-analyze")
    if path is None:
        assert not os.environ.get("CI"), "systemd is not installed"
        pytest.skip("there is no systemd-analyze")
    return path


def test_systemd_understands_the_unit(tmp_path):
    unit = tmp_path / "lb.service"
    unit.write_text(UNIT.read_text().replace(LB, "/bin/true"))  # systemd requires an existing program
    verdict = subprocess.run([systemd_analyze(), "verify", unit], check=False, capture_output=True, text=True)
    assert (verdict.returncode, verdict.stdout + verdict.stderr) == (0, "")
