"""The rules for Prometheus and the dashboards for Grafana: they ask for metrics and labels that there are."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.support.paths import EXAMPLES, ROOT
from tests.unit.admin.test_exposition import SAMPLES

DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in (EXAMPLES / "grafana").glob("*.json")}
SCRAPED = {"instance", "job"}  # labels that Prometheus adds to every target
GROUPS = yaml.safe_load((EXAMPLES / "prometheus" / "trio-lb.rules.yml").read_text())["groups"]
RULES = {rule.get("alert", rule.get("record")): rule for group in GROUPS for rule in group["rules"]}
ALERTS = {name: rule for name, rule in RULES.items() if "alert" in rule}
each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())


def expressions(dashboard):
    """Return what the panels and the variables of a dashboard ask for."""
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", ())]
    variables = dashboard["templating"]["list"]
    queries = [variable["query"]["query"] for variable in variables if variable["type"] == "query"]
    return [target["expr"] for target in targets] + queries


def asked(expression):
    """Yield the metrics of an expression, each with its matchers."""
    return re.findall(r"(?<!:)\b(lb_\w+)\b(?!:)(?:\{([^}]*)\})?", expression)


PANELS = [expression for dashboard in DASHBOARDS.values() for expression in expressions(dashboard)]


@pytest.mark.parametrize("expression", [*PANELS, *(rule["expr"] for rule in RULES.values())])
def test_an_expression_asks_for_what_there_is(expression):
    labels = set(SCRAPED) | ({"pool", "zone"} if ":lb_" in expression else set())
    for name, matchers in asked(expression):
        assert name in SAMPLES
        known = SAMPLES[name] | SCRAPED
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers)) <= known, name
        labels |= known
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    assert {label.strip() for group in grouped for label in group.split(",")} <= labels
    counted = [name for name, _ in asked(expression) if name.endswith(("_total", "_bucket", "_sum", "_count"))]
    assert all(re.search(rf"\b(rate|increase)\({name}\b", expression) for name in counted), "a counter by itself"


def test_there_is_a_dashboard_for_each_mode():
    assert sorted(DASHBOARDS) == ["cache", "cluster", "forward", "http", "media", "tcp"]
    assert all(dashboard["uid"] == f"trio-lb-{name}" for name, dashboard in DASHBOARDS.items())


def test_every_metric_is_on_a_dashboard():
    assert {name for expression in PANELS for name, _ in asked(expression)} == set(SAMPLES)


@each_dashboard
def test_a_legend_names_only_labels_that_are_left(dashboard):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            grouped = re.match(r"\w+ by \(([^)]*)\)", target["expr"])
            left = {label.strip() for label in grouped[1].split(",")} if grouped else set()
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == left, panel["title"]


@each_dashboard
def test_panels_take_the_data_source_that_is_chosen(dashboard):
    text = " ".join(expressions(dashboard))
    variables = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert variables == ["datasource", "instance", *(["pool"] if "$pool" in text else [])]
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


@each_dashboard
def test_panels_lie_side_by_side(dashboard):
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns, lines = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in lines}
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


# The alerts


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_about_and_what_to_do(name):
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {*rule["annotations"]} == {"summary", "runbook"}
    known = {label for metric, _ in asked(rule["expr"]) for label in SAMPLES[metric]} | SCRAPED | {"zone"}
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= known


def test_the_page_has_every_alert_and_every_recorded_rule():
    text = (ROOT / "docs" / "how-to" / "monitor.md").read_text()
    rows = re.findall(r"^\| `(TrioLb\w+)` \| (\w+) \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)
    expected = [(name, rule["labels"]["severity"], rule["annotations"]["runbook"]) for name, rule in ALERTS.items()]
    assert rows == expected
    assert re.findall(r"^\| `(\w+:\w+:\w+)` \|", text, re.MULTILINE) == [name for name in RULES if name not in ALERTS]


def test_every_rule_is_tested():
    """By promtool, in tests/e2e/examples/test_prometheus.py."""
    tests = yaml.safe_load((EXAMPLES / "prometheus" / "trio-lb.tests.yml").read_text())["tests"]
    alerts = [alert for each in tests for alert in each.get("alert_rule_test", ())]
    asked_for = " ".join(expected["expr"] for each in tests for expected in each.get("promql_expr_test", ()))
    assert {alert["alertname"] for alert in alerts if alert.get("exp_alerts")} == set(ALERTS)
    assert {name for name in RULES if name in asked_for} == set(RULES) - set(ALERTS)
