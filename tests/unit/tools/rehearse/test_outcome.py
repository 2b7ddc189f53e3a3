"""The result of a rehearsal: figures, expectations, text and report."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from lb.tools.rehearse.expectation import parse_expectation
from lb.tools.rehearse.outcome import outcome, quantile
from lb.tools.rehearse.recorder import Recorder
from lb.tools.rehearse.report import report_page
from lb.tools.rehearse.scenario import Scenario
from lb.tools.rehearse.words import as_text, clock_text, seconds
from tests.support.rehearsing import HTTP, config_of, happens, rehearsed

FIGURES = {
    "sessions": 1010.0,
    "ok": 993.0,
    "failed": 0.0,
    "cut": 7.0,
    "left": 0.0,
    "open": 10.0,
    "retries": 2.0,
    "wait.p99": 0.25,
    "share.web/a": 30.0,
    "share.web/b": 70.0,
    "share.api/b": 100.0,
    "share.api/my own": 0.0,
    "time_to_eject": 4.0,
}


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("failed == 0", True),
        ("failed==0", True),
        (" failed != 0 ", False),
        ("wait.p99 < 250ms", False),
        ("wait.p99 <= 250ms", True),
        ("wait.p99 > 1s", False),
        ("share.web/b >= 70%", True),
        ("share.a >= 30.5", False),
        ("share.my own == 0 %", True),
        ("ok >= 99.3%", True),
        ("ok >= 99.4%", False),
        ("ok > 100%", False),
        ("ok > 990", True),
        ("cut <= 0.7 %", True),
        ("cut <= 0.6%", False),
        ("time_to_eject < 5s", True),
        ("time_to_eject == 0", False),
    ],
)
def test_an_expectation_is_met_or_not(text, met):
    expectation = parse_expectation(text, FIGURES)
    assert expectation.text == text.strip()
    assert expectation.met(FIGURES) is met


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("failed", "'failed' is not a comparison like 'failed == 0'"),
        ("failed = 0", "'failed = 0' is not a comparison like 'failed == 0'"),
        ("failed == 0 or 1", "'failed == 0 or 1' is not a comparison like 'failed == 0'"),
        ("faild == 0", "there is no figure 'faild', did you mean 'failed'?"),
        ("share.c > 1", "there is no figure 'share.c', did you mean 'share.web/b'?"),
        ("share.b > 1", "'share.b' is ambiguous: 'share.web/b' or 'share.api/b'"),
        ("failed == none", "'failed == none': the value must be a whole number, or a percentage of the ended sessions"),
        ("failed == nan", "not 'nan'"),
        ("failed < inf", "not 'inf'"),
        ("failed < -1", "not '-1'"),
        ("failed < 1" + 400 * "0", "must be a whole number"),
        ("cut < 5s", "'cut < 5s': the value must be a whole number, or a percentage of the ended sessions"),
        ("ok > 101%", "from 0% to 100%, not '101%'"),
        ("retries < 5%", "'retries < 5%': the value must be a whole number, not '5%'"),
        ("time_to_eject < 5%", "the value must be a duration like '250ms', '2s' or '1m30s', not '5%'"),
        ("wait.p99 < 5", "the value needs a unit, as in '5s' or '5ms', not '5'"),
        ("share.a < 5s", "the value must be a percentage from 0% to 100%, not '5s'"),
        ("share.a < 101", "the value must be a percentage from 0% to 100%, not '101'"),
    ],
)
def test_what_is_wrong_with_an_expectation_is_told(text, error):
    with pytest.raises(ValueError, match=re.escape(error)):
        parse_expectation(text, FIGURES)


def test_what_never_comes_meets_no_limit():
    assert not parse_expectation("wait.p99 < 1h", FIGURES).met({**FIGURES, "wait.p99": math.inf})


def test_nothing_meets_no_expectation():
    assert not parse_expectation("failed == 0", FIGURES).met(dict.fromkeys(FIGURES, 0.0))
    none_ended = {**FIGURES, "ok": 0.0, "cut": 0.0}
    assert parse_expectation("cut <= 1", FIGURES).met(none_ended)
    assert not parse_expectation("cut <= 1%", FIGURES).met(none_ended)
    assert outcome(config_of("a"), SCENARIO, Recorder(60.0)).statistics["wait.p99"] == math.inf


def test_quantiles():
    assert [quantile([1, 2, 3, 4], part) for part in (0, 0.25, 0.5, 0.51, 0.99, 1)] == [1, 1, 2, 3, 4, 4]
    assert quantile([], 0.5) == 0


@pytest.mark.parametrize(
    ("time", "text"), [(0.0, "0 ms"), (0.0276, "27.6 ms"), (1.5, "1.50 s"), (90, "1m30s"), (math.inf, "never")]
)
def test_times_are_spelt_as_people_read_them(time, text):
    assert seconds(time) == text


def test_points_of_time():
    assert [clock_text(at) for at in (0, 59.9994, 3725.25)] == ["0:00:00.000", "0:00:59.999", "1:02:05.250"]


@pytest.fixture(scope="module")
def result():
    config = config_of("a", "b<script>", pool=HTTP)
    return rehearsed(
        config, happens(10, "die", "b<script>", lasts=10), happens(30, "hang", "a"), happens(40, "slow", "b<script>")
    )


SCENARIO = Scenario(duration=60.0)


def test_each_incident_has_its_times(result):
    dies, hangs, slows = result.outcome.incidents
    assert dies.ejected_after < 1
    assert 0 < dies.restored_after < 5
    assert 2 < hangs.ejected_after < 6
    assert (hangs.ended_at, hangs.restored_after) == (math.inf, math.inf)
    assert slows.ejected_after == math.inf
    assert result["time_to_eject"] == math.inf
    assert result["time_to_restore"] == dies.restored_after


def test_the_figures_have_the_same_names_before_and_after(result):
    fault_specs = (happens(10, "die", "a"),)
    scenario = Scenario(duration=60.0, fault_specs=fault_specs)
    before = outcome(config_of("a"), scenario, Recorder(60.0)).statistics
    after = rehearsed(config_of("a"), *fault_specs)
    assert before.keys() == after.outcome.statistics.keys()


def test_the_parts_make_up_the_whole(result):
    assert result["sessions"] == sum(result[name] for name in ("ok", "failed", "cut", "left", "open"))
    assert result["sessions"] == sum(part.arrived for part in result.recorder.slices)
    assert sum(result[f"share.{server.name}"] for server in result.outcome.servers) == pytest.approx(100)


def test_the_words(result):
    texts = ("failed == 0", "failed <= 1%", "wait.max < 1m", "moved == 0")
    expectations = [parse_expectation(text, result.outcome.statistics) for text in texts]
    text = as_text(SCENARIO, result.recorder, result.outcome, expectations)
    assert text.startswith("1m rehearsed, seed 1\n\n 0:00:10.000  web/b<script> dies\n")
    assert "\nmet     failed == 0  (0)\nmet     failed <= 1%  (0 %)\n" in text
    assert re.search(r"\nmet     wait.max < 1m  \(\d+ ms\)\n", text)
    assert re.search(r"\nFAILED  moved == 0  \([1-9]\)$", text)
    assert re.search(r"^web/a hangs +0:00:30\.000 +\d\.\d\d s$", text, re.MULTILINE)
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_a_long_timeline_is_cut():
    result = rehearsed(config_of("a", "b"), happens(1, "flap", "b", every=4.0), duration=300.0, rate=5.0)
    more = len(result.outcome.timeline) - 60
    assert more > 0
    assert f"…  and {more} more\n" in as_text(SCENARIO, result.recorder, result.outcome, [])


class Page(HTMLParser):
    """Collects the open tags, and the links to other resources."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.pointers = []

    def handle_starttag(self, tag, attributes):
        self.pointers += [value for name, value in attributes if name in ("src", "href", "action")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("expected", [[], ["failed == 0"], ["sessions == 0"]])
def test_the_report_is_a_whole_page_that_asks_nobody_for_anything(result, expected):
    expectations = [parse_expectation(text, result.outcome.statistics) for text in expected]
    text = report_page("x", SCENARIO, result.recorder, result.outcome, expectations)
    page = Page()
    page.feed(text)
    assert page.open == page.pointers == []
    assert "url(" not in text
    assert "@import" not in text
    assert "<script" not in text, "names are escaped"
    charts = [ET.fromstring(chart) for chart in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    assert len(charts) == 4
    verdict = {(): "No session failed", ("failed == 0",): "All expectations met"}
    assert verdict.get(tuple(expected), "1 of 1 expectations not met") in text


def test_a_report_of_nothing_says_so():
    recorder = Recorder(60.0)
    assert "No sessions" in report_page("x", SCENARIO, recorder, outcome(config_of("a"), SCENARIO, recorder), [])


def test_a_report_of_many_servers_shows_those_that_something_befell():
    names = [f"s{number}" for number in range(40)]
    result = rehearsed(config_of(*names), happens(1, "die", "s39"), duration=10.0)
    text = report_page("x", Scenario(duration=10.0), result.recorder, result.outcome, [])
    lanes = re.findall(r'class="name"[^>]*>([^<]+)<', text)
    assert len(lanes) == 24
    assert "web/s39" in lanes
    assert "33 others" in text
