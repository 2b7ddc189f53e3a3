"""Values of metrics that are computed from others, or from the configuration."""

from __future__ import annotations

from datetime import UTC, datetime

from lb.admin.values import certificate_ends, without_servers
from lb.config.load import load
from lb.dataplane.stats import Connects, Counters
from tests.support.tls_peers import write_certificate


def test_the_end_of_each_certificate_is_the_start_of_its_last_day(tmp_path):
    for name in ("site", "own"):
        write_certificate(tmp_path, name, "www.example.com")
    path = tmp_path / "lb.toml"
    path.write_text(
        '[listeners.web]\nbind = ":1"\npool = "web"\ntls = { certificate = "site.pem", key = "site.key" }\n'
        '[pools.web]\nservers = ["a.example:443"]\ntls = { certificate = "own.pem", key = "own.key" }\n'
    )
    config = load(path)
    (certificate,) = config.listeners["web"].tls.certificates
    ends = certificate_ends(config)
    assert ends.keys() == {"site.pem", "own.pem"}
    assert datetime.fromtimestamp(ends["site.pem"], UTC).isoformat() == f"{certificate.until}T00:00:00+00:00"


async def test_without_metrics_of_servers_the_counters_are_sums():
    figures = Counters(
        connections={("web", "web", "a", "eof"): 3, ("web", "web", "b", "eof"): 4, ("web", "web", "", "denied"): 1},
        connects={"web": Connects(seconds=2.0)},
        failed_connects={("web", "a"): 5, ("web", "b"): 6, ("db", "a"): 1},
    )
    found = await without_servers(figures)
    assert found.connections == {("web", "web", "", "eof"): 7, ("web", "web", "", "denied"): 1}
    assert found.failed_connects == {("web", ""): 11, ("db", ""): 1}
    assert found.connects == figures.connects
