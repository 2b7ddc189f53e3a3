"""Values of metrics that come from the configuration."""

from __future__ import annotations

from datetime import UTC, datetime

from lb.admin.values import certificate_ends
from lb.config.load import load
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
