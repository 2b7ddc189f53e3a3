"""Requests of http listeners in ``lb top`` and ``lb ctl status``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from lb.console.tables import status_table
from lb.console.text import milliseconds
from tests.e2e.admin.test_top import line_with, pool, server, shown, status, view_of

NOTHING = {"none": 0.0, "1xx": 0.0, "2xx": 0.0, "3xx": 0.0, "4xx": 0.0, "5xx": 0.0}


def times(p50, p90, p99):
    return {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99}


def requests(per_second=0.0, *, slowest=(), percentiles=(None, None, None), **statuses):
    """The requests of a listener."""
    names = {"of_none": "none", "of_2xx": "2xx", "of_4xx": "4xx", "of_5xx": "5xx"}
    rates = NOTHING | {names[name]: rate for name, rate in statuses.items()}
    routes = [{"route": name, "per_second": 1.0, **times(*found)} for name, found in slowest]
    latest = {
        "seconds": 60.0,
        "per_second": per_second,
        "statuses": rates,
        **times(*percentiles),
        "first_byte": times(*percentiles),
        "slowest_routes": routes,
    }
    return {"total": 7, "statuses": NOTHING, "last_minute": latest}


def http_status(**listeners):
    servers = {name: server() for name in "abc"}
    answer = status(web=pool(servers, kept_connections=12))
    for name, each in listeners.items():
        answer["listeners"][name] = {"active": 0, "total": 0, "bind": ["127.0.0.1:80"], "pool": "web", "requests": each}
    return answer


def words(line):
    """A line without its padding."""
    return " ".join(line.split())


BUSY = requests(
    123.4,
    of_2xx=120.0,
    of_5xx=3.4,
    percentiles=(1.25, 42.4, 812.0),
    slowest=[("videos", (700.0, 800.0, 1500.0)), ("", (0.5, 0.6, 0.7))],
)


def test_without_an_http_listener_nothing_is_said_of_requests():
    view = view_of(status(web=pool({"a": server()})))
    view.press("r")
    screen = "\n".join(shown(view, 100))
    assert "requests" not in screen
    assert "kept" not in screen
    assert "▸ a" in screen


def test_a_line_has_the_rates_of_all_and_the_worst_percentile():
    view = view_of(http_status(www=BUSY, api=requests(6.6, of_2xx=6.6, percentiles=(1.0, 2.0, 3.0))))
    lines = shown(view, 100)
    assert "requests/s 130   2xx 127   5xx 3.4   p99 812ms www" in lines[2]
    assert "3 of 3 available  kept 12" in line_with(" web ", lines)
    assert "▸ a" in line_with("▸", lines)


def test_a_key_shows_each_listener_with_its_slowest_routes_in_place_of_the_servers():
    view = view_of(http_status(www=BUSY, api=requests()))
    view.press("r")
    lines = shown(view, 100)
    assert words(line_with("│ www ", lines)) == "│ www 123 120 3.4 1.2ms 42ms 812ms │"
    assert words(line_with("videos", lines)) == "│ videos 1.0 700ms 800ms 1.5s │"
    assert "(no route)" in "\n".join(lines)
    assert words(line_with("│ api ", lines)) == "│ api 0.0 │"
    assert not [line for line in lines if "▸" in line]
    view.press("r")
    assert line_with("▸ a", shown(view, 100))


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 12), st.sampled_from(["", "r", "?"]), st.floats(0, 1e7))
def test_it_fills_the_terminal_whatever_its_size(width, height, count, key, rate):
    busy = requests(rate, of_2xx=rate, of_4xx=rate, percentiles=(rate, rate, rate), slowest=[("x" * 99, (1, 2, 3))] * 5)
    view = view_of(http_status(**{f"listener{number}": busy for number in range(count)}))
    view.press(key)
    lines = shown(view, width, height)
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {width}


def test_names_of_routes_cannot_steer_the_terminal():
    view = view_of(http_status(www=requests(1.0, slowest=[("\x1b[2J", (1, 2, 3))])))
    view.press("r")
    assert "\x1b[2J" not in "\n".join(shown(view))


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, ""), (0.04, "0.0ms"), (9.94, "9.9ms"), (42.4, "42ms"), (1500, "1.5s"), (60_000, "60.0s")],
)
def test_times_are_short(amount, text):
    assert milliseconds(amount) == text


def printed(answer):
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(status_table(answer))
    return capture.get()


def full(answer):
    """Add what only ``lb ctl status`` needs."""
    answer["listeners"]["web"] |= {"bind": ["127.0.0.1:80"], "pool": "web"}
    for each in answer["pools"].values():
        each["ignored"] = []
    return answer


def test_sources_of_servers_are_shown_with_what_is_wrong():
    answer = full(status(web=pool({"a": server()})))
    assert "source" not in printed(answer)
    source = {"source": "etcd /x/", "servers": 3, "from": "file", "error": "http://etcd:1: timed out", "since": ""}
    answer["pools"]["web"]["sources"] = [source]
    assert "etcd /x/" in printed(answer)
    assert "http://etcd:1: timed out" in printed(answer)
    assert "etcd /x/: http://etcd:1: timed out" in "\n".join(shown(view_of(answer)))


def test_the_table_of_the_status_has_requests_only_where_there_are_any():
    assert "requests/s" not in printed(full(status(web=pool({"a": server()}))))
    text = printed(full(http_status(www=BUSY)))
    row = "www 123.4 120 0 0 3.4 0 1.2ms 42ms 812ms videos 800ms, (no route) 0.6ms"
    assert words(line_with("123.4", text.splitlines())) == row
    assert ["web", "12"] in [line.split() for line in text.splitlines()]
