"""The metrics: their names follow the rules of Prometheus; the reference has exactly these."""

from __future__ import annotations

import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from lb.admin.exposition import ClusterFigures, ServerFigures, Values, exposition
from lb.dataplane.stats import Connects, Counters
from lb.events import Attempt, ConnectionClosed
from lb.model.address import Client
from lb.model.cache_figures import CacheFigures, CacheTier
from lb.model.media_figures import MediaFigures, StreamFigures
from lb.model.stream_status import MediaSnapshot, StreamStatus
from tests.support.paths import ROOT
from tests.unit.log.test_request_line import request

CACHE = CacheFigures(
    CacheTier(3, 4000, 8000),
    CacheTier(5, 6000, 9000),
    requests={"HIT": 7, "MISS": 2},
    fills=2,
    evictions={"size": 1},
    errors={"full": 4},
)


def values():
    """Values with at least one series per metric."""
    figures = Counters(batches=3, edges=7)
    tried = (Attempt("b", "connection refused", 0.1),)
    client = Client("10.0.0.9", 5555)
    figures.note(ConnectionClosed(1, "web", "web", "a", client, tried, 0.7, 3.0, 10, 20, "client", "eof"))
    figures.note_request(request(duration_ms=12.0, wait_ms=0.7, attempts=tried))
    figures.note_forward("proxy", "connect", "ok", b"example.com:443")
    media = MediaFigures({"live/show": StreamFigures(1_000)}, jumps=2, refused={"key": 3})
    media.segment_done("live/show", "v0", 2.0)
    media.segment_done("live/show", "v0", 4.004)
    media.packaging.note(0.007)
    return Values(
        version="1.2.3",
        figures=figures,
        handshakes_waiting=3,
        descriptors_used=0.25,
        certificates={"/etc/ssl/site.pem": 1_800_000_000.0},
        kept_connections={"backend": 5},
        caches={"zone": CACHE},
        media=MediaSnapshot({"live/show": StreamStatus(since=1.0), "live/quiet": StreamStatus()}, {"live": 1}, media),
        viewers={"live/show": 9},
        active={"web": 2},
        pool_servers={"web": {"up": 1, "down": 1, "ejected": 0, "draining": 0, "checking": 0}},
        servers=(ServerFigures("web", "a", True, "up", 2, 1), ServerFigures("web", "b", False, "down", 0, 1)),
        checks={"pass": 5, "fail": 1},
        late_checks=2,
        reloads={"applied": 1, "rejected": 0},
        discovery_failures={"web": 4},
        announced={"203.0.113.5/32": True},
        log_lines_dropped=0,
        cluster=ClusterFigures(3, 2, joined=True, overrides={"told": 4, "not_told": 1}),
    )


FAMILIES = list(text_string_to_metric_families("".join(exposition(values()))))
SAMPLES = {}
for _family in FAMILIES:
    for _sample in _family.samples:
        SAMPLES.setdefault(_sample.name, set()).update(_sample.labels)


def in_text():
    """Return the names of the metric families in the text, by type."""
    found = re.findall(r"^# TYPE (\w+) (\w+)$", "".join(exposition(values())), re.MULTILINE)
    return dict(found)


@pytest.mark.parametrize(("name", "kind"), in_text().items())
def test_a_name_follows_the_rules_of_prometheus(name, kind):
    """The rules of ``promtool check metrics`` and of https://prometheus.io/docs/practices/naming/."""
    assert re.fullmatch(r"lb_[a-z]+(_[a-z]+)*", name)
    assert name.endswith("_total") == (kind == "counter")
    assert not name.endswith(("_count", "_sum", "_bucket"))
    assert not re.search(r"_(counter|gauge|histogram|summary|milliseconds|ms|kilobytes|minutes|percent)(_|$)", name)
    assert not {label for label in SAMPLES.get(name, ()) if not re.fullmatch(r"[a-z]+", label) or label == "type"}


def test_every_metric_says_what_it_is():
    assert not [family.name for family in FAMILIES if not family.documentation.endswith(".")]


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(server=names, count=st.integers(0, 10**12), seconds=st.floats(0, 1e9))
def test_any_name_and_any_value_are_read_back(server, count, seconds):
    figures = Counters(connections={("web", "web", server, "eof"): count}, connects={"web": Connects(seconds=seconds)})
    text = "".join(exposition(attrs.evolve(values(), figures=figures)))
    found = {sample.name: sample for family in text_string_to_metric_families(text) for sample in family.samples}
    labels = {"listener": "web", "pool": "web", "server": server, "reason": "eof"}
    assert found["lb_connections_total"].labels == labels
    assert found["lb_connections_total"].value == count
    assert found["lb_connect_seconds_sum"].value == seconds


def test_the_buckets_of_the_histogram_add_up():
    samples = [sample for family in FAMILIES if family.name == "lb_connect_seconds" for sample in family.samples]
    buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert list(buckets.values()) == sorted(buckets.values())
    assert (buckets["0.0005"], buckets["0.001"], buckets["+Inf"]) == (0, 1, 1)
    assert {sample.value for sample in samples if sample.name.endswith("_count")} == {1}


def test_a_request_is_in_its_class_and_its_times_in_their_buckets():
    samples = [sample for family in FAMILIES for sample in family.samples if sample.labels.get("route") == "videos"]
    assert {sample.labels["listener"] for sample in samples} == {"www"}
    counts = {sample.labels["status"]: sample.value for sample in samples if "status" in sample.labels}
    assert counts == {"none": 0, "1xx": 0, "2xx": 1, "3xx": 0, "4xx": 0, "5xx": 0}
    for name, below in (("lb_http_request_seconds", 0.01), ("lb_http_first_byte_seconds", 0.0005)):
        buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name == f"{name}_bucket"}
        assert [*buckets.values()] == sorted(buckets.values())
        assert [float(bound) for bound, count in buckets.items() if not count][-1] == below
        assert buckets["+Inf"] == 1
    (seconds,) = [sample.value for sample in samples if sample.name == "lb_http_request_seconds_sum"]
    assert seconds == 0.012


def test_retries_and_kept_connections_are_by_pool():
    by_name = {sample.name: sample for family in FAMILIES for sample in family.samples}
    retries, kept = by_name["lb_http_retries_total"], by_name["lb_http_kept_connections"]
    assert (retries.labels, retries.value) == ({"pool": "backend"}, 1)
    assert (kept.labels, kept.value) == ({"pool": "backend"}, 5)


def test_a_cache_has_its_tiers_results_and_reasons_as_labels():
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in FAMILIES
        for sample in family.samples
        if sample.name.startswith("lb_cache_")
    }
    assert found == {
        ("lb_cache_requests_total", "HIT", "zone"): 7,
        ("lb_cache_requests_total", "MISS", "zone"): 2,
        ("lb_cache_bytes", "memory", "zone"): 4000,
        ("lb_cache_bytes", "disk", "zone"): 6000,
        ("lb_cache_objects", "memory", "zone"): 3,
        ("lb_cache_objects", "disk", "zone"): 5,
        ("lb_cache_fills_total", "zone"): 2,
        ("lb_cache_evictions_total", "size", "zone"): 1,
        ("lb_cache_errors_total", "full", "zone"): 4,
    }


def test_media_are_counted_by_stream_and_their_histograms_add_up():
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in FAMILIES
        for sample in family.samples
        if sample.name.startswith("lb_media_")
    }
    buckets = {key: value for key, value in found.items() if key[0].endswith("_bucket")}
    assert {key: value for key, value in found.items() if key not in buckets} == {
        ("lb_media_publishers", "live"): 1,
        ("lb_media_live", "live/show"): 1,
        ("lb_media_live", "live/quiet"): 0,
        ("lb_media_viewers", "live/show"): 9,
        ("lb_media_viewers", "live/quiet"): 0,
        ("lb_media_bytes_in_total", "live/show"): 1_000,
        ("lb_media_segments_total", "live/show", "v0"): 2,
        ("lb_media_segment_seconds_count",): 2,
        ("lb_media_segment_seconds_sum",): 6.004,
        ("lb_media_jumps_total",): 2,
        ("lb_media_refused_total", "key"): 3,
        ("lb_media_vod_package_seconds_count",): 1,
        ("lb_media_vod_package_seconds_sum",): 0.007,
    }
    lengths = {bound: count for (name, bound), count in buckets.items() if name == "lb_media_segment_seconds_bucket"}
    assert [lengths[bound] for bound in ("1.5", "2.0", "4.0", "5.0", "+Inf")] == [0, 1, 1, 2, 2]


def test_the_text_comes_line_by_line():
    """So that the traffic can be served in between."""
    servers = tuple(ServerFigures("web", f"s{number}", True, "up", 0, 1) for number in range(1000))
    lines = list(exposition(attrs.evolve(values(), servers=servers)))
    assert len(lines) > 4 * 1000
    assert {line.count("\n") for line in lines} == {1}


def test_the_reference_has_every_metric_with_its_labels():
    text = (ROOT / "docs" / "reference" / "admin.md").read_text().partition("## Metrics")[2]
    rows = re.findall(r"^\| `(lb_\w+)` \|([^|]*)\|", text, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    exposed = {name: SAMPLES.get(name, SAMPLES.get(f"{name}_bucket", set())) - {"le"} for name in in_text()}
    assert documented == exposed
