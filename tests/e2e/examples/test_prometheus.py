"""examples/prometheus and examples/grafana: promtool accepts the rules, and a real Prometheus has all series."""

from __future__ import annotations

import json
import math
import subprocess
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from tests.e2e.traffic.test_real_peers import program, until_accepts
from tests.support.balancer import PATIENCE, ask, killed_at_end
from tests.support.clustered import cluster_table
from tests.support.effort import LONG_FORM
from tests.support.etcd import etcd
from tests.support.http_peers import http_server
from tests.support.operating import ADMIN, operated
from tests.support.paths import EXAMPLES
from tests.support.publishing import live_config, publishing
from tests.support.servers import backends, free_port
from tests.support.tls_peers import write_certificate
from tests.support.viewing import viewer
from tests.unit.admin.test_dashboards import DASHBOARDS
from tests.unit.admin.test_exposition import exposition, values

pytestmark = pytest.mark.slow
RULES = EXAMPLES / "prometheus"
PAGE = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\npage"
SEEN_ONLY_IN_TROUBLE = {"lb_announced", "lb_cache_errors_total", "lb_cache_evictions_total", "lb_failed_connects_total"}
"""Series that this traffic does not make: they need a router, a broken disk, a full cache, a dead server. And films,
refused publishers:"""
SEEN_ONLY_IN_TROUBLE |= {"lb_media_vod_package_seconds", "lb_media_refused_total", "lb_discovery_failures_total"}


def promtool(*arguments, text=""):
    """Run promtool, which must succeed and have nothing to complain about."""
    done = subprocess.run(
        [program("promtool"), *arguments], input=text, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_rules_and_the_scrape_configuration_are_valid():
    assert "SUCCESS" in promtool("check", "config", str(RULES / "prometheus.yml"))


def test_each_alert_comes_when_it_should_and_only_then():
    promtool("test", "rules", str(RULES / "trio-lb.tests.yml"))


def test_promtool_has_nothing_against_the_metrics():
    assert promtool("check", "metrics", text="".join(exposition(values()))) == ""


# In a real Prometheus


class Prometheus:
    """A client of a running Prometheus."""

    def __init__(self, client):
        self._client = client

    async def query(self, expression):
        """Return the values of an expression now; those that are no number are left out."""
        answer = (await self._client.get("/query", params={"query": expression})).json()
        assert answer["status"] == "success", (expression, answer)
        found = [float(each["value"][1]) for each in answer["data"]["result"]]
        return [value for value in found if not math.isnan(value)]

    async def rules(self):
        """Return the rules by name, each with its ``health`` and ``lastError``."""
        groups = (await self._client.get("/rules")).json()["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}


@asynccontextmanager
async def prometheus(home, *targets):
    """Run Prometheus with the rules of the example, which asks these targets each second."""
    port, configuration = free_port(), home / "prometheus.yml"
    job = {"job_name": "trio-lb", "scrape_interval": "1s", "static_configs": [{"targets": targets}]}
    rules = str(RULES / "trio-lb.rules.yml")
    settings = {"global": {"evaluation_interval": "1s"}, "rule_files": [rules], "scrape_configs": [job]}
    configuration.write_text(json.dumps(settings))  # JSON is YAML
    command = [program("prometheus"), f"--config.file={configuration}", f"--storage.tsdb.path={home / 'tsdb'}"]
    with (home / "prometheus.log").open("w") as log:
        process = await trio.lowlevel.open_process(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    async with killed_at_end(process):
        await until_accepts(port)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=PATIENCE) as client:
            with trio.fail_after(PATIENCE):
                while not (await client.get(f"http://127.0.0.1:{port}/-/ready")).is_success:  # noqa: ASYNC110 - not told
                    await trio.sleep(0.02)
            yield Prometheus(client)


def site_config(etcd, tcp, origin):
    """A node of a cluster with a listener for each mode but that of streams."""
    servers = ", ".join(f'"{each.address}"' for each in tcp)
    return f"""{ADMIN}
{cluster_table(etcd)}
[listeners.web]
bind = "127.0.0.1:0"
pool = "web"
[listeners.tls]
bind = "127.0.0.1:0"
pool = "web"
tls = {{ certificate = "site.pem", key = "site.key" }}
[listeners.www]
mode = "http"
bind = "127.0.0.1:0"
[[listeners.www.routes]]
path = "/cached"
pool = "app"
cache = {{ zone = "zone" }}
[[listeners.www.routes]]
pool = "app"
[listeners.proxy]
mode = "forward"
bind = "127.0.0.1:0"
private = true
[caches.zone]
[pools.web]
servers = [{servers}]
[pools.app]
servers = ["{origin.address}"]
health = false
"""


async def visit(lb, origin, watching):
    """Send some of all traffic, again and again."""
    site, proxy = (f"http://127.0.0.1:{lb.ports[name]}" for name in ("www", "proxy"))
    async with httpx.AsyncClient(timeout=PATIENCE) as client, httpx.AsyncClient(proxy=proxy, timeout=PATIENCE) as out:
        while True:
            await ask(lb.ports["web"])
            for path in ("/cached", "/other"):
                await client.get(site + path)
            await out.get(f"http://{origin.address}/")
            await watching.get("v0.m3u8")
            await trio.sleep(0.1)


def chosen(expression):
    """Return what Grafana asks for when all instances and pools are chosen."""
    return expression.replace("$instance", ".*").replace("$pool", ".*").replace("$__rate_interval", "10s")


def panels():
    """Yield dashboard, title and expression of all that shows something in good times."""
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                if not any(metric in target["expr"] for metric in SEEN_ONLY_IN_TROUBLE):
                    yield name, panel["title"], chosen(target["expr"])


async def until_shown(server, expression):
    found = []
    with trio.move_on_after(PATIENCE):
        while not (found := await server.query(expression)):  # noqa: ASYNC110 - no event for the next scrape
            await trio.sleep(0.5)
    return found


@LONG_FORM
async def test_each_panel_shows_something_in_a_real_prometheus(tmp_path):
    for name in ("site", "media", "prometheus"):
        (tmp_path / name).mkdir()
    write_certificate(tmp_path / "site", "site", "www.example.com")
    async with (
        etcd() as registry,
        backends("a", "b") as tcp,
        http_server({b"/cached": PAGE}) as origin,
        operated(tmp_path / "site", site_config(registry, tcp, origin), env={"LB_NODE": "lb1"}) as (lb, _),
        operated(tmp_path / "media", live_config(top=ADMIN)) as (media, _),
        publishing(media) as live,
        viewer(media) as watching,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(live.follow)
        nursery.start_soon(visit, lb, origin, watching)
        targets = [(await each.event("admin.started"))["bind"] for each in (lb, media)]
        async with prometheus(tmp_path / "prometheus", *targets) as server:
            empty = [each for each in panels() if not await until_shown(server, each[2])]
            rules = await server.rules()
        nursery.cancel_scope.cancel()
    assert not empty
    assert {name: rule["lastError"] for name, rule in rules.items() if rule["health"] == "err"} == {}
