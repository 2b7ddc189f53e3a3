"""``lb top``: its state after keys and responses, its screen, and the real command on a terminal."""

from __future__ import annotations

import signal
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from lb.console.text import since
from lb.console.top_picture import picture
from lb.console.top_view import Order, TopView
from tests.support.balancer import balancer, config, run_lb
from tests.support.operating import ADMIN
from tests.support.servers import backends, free_port
from tests.support.terminals import on_terminal


def server(**fields):
    return {
        "address": "10.0.0.1:80",
        "state": "up",
        "reason": "",
        "weight": 1,
        "backup": False,
        "active": 0,
        "total": 0,
        "failed_connects": 0,
        "max_connections": 0,
        "last_change": "2026-01-31T12:00:00.000+00:00",
        "last_check": None,
        "history": [],
        "override": None,
        **fields,
    }


def pool(servers, **fields):
    up = sum(each["state"] == "up" for each in servers.values())
    figures = {"connects": 0, "connect_seconds": 0.0, "retries": 0, "kept_connections": 0, **fields}
    return {"strategy": "least-conn", "available": up, "servers": servers, **figures}


def status(*, at=0.0, total=0, moved=0, ended=None, **pools):
    """A status of the balancer, ``at`` seconds after noon."""
    return {
        "listeners": {"web": {"active": 7, "total": total}},
        "pools": pools,
        "caches": {},
        "streams": {},
        "ended": ended or {},
        "bytes_in": moved,
        "bytes_out": 2 * moved,
        "timestamp": f"2026-01-31T12:00:{at:06.3f}+00:00",
    }


def of_three(**fields):
    return status(web=pool({name: server() for name in "abc"}), **fields)


def view_of(*answers):
    view = TopView("127.0.0.1:9900")
    for answer in answers:
        view.update(answer)
    return view


def shown(view, width=80, height=24):
    """The lines of the screen."""
    console = Console(width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(picture(view, width, height), height=height)
    return capture.get().splitlines()


def line_with(text, lines):
    (line,) = [line for line in lines if text in line]
    return line


# State


def test_keys_select_and_steer_a_server():
    view = view_of(of_three())
    assert view.press("d") == Order("web", "a", "drain")
    for key in ("down", "j", "j"):
        assert view.press(key) is None
    assert view.press("e") == Order("web", "c", "enable")
    view.press("k")
    assert view.selected == ("web", "b")
    for key, name in {"home": "a", "up": "a", "end": "c", "page up": "a", "page down": "c"}.items():
        view.press(key)
        assert view.selected == ("web", name)
    assert view.press("x") is None


def test_a_selection_stays_with_its_server_whatever_a_reload_adds():
    view = view_of(of_three())
    view.press("end")
    view.update(status(other=pool({"z": server()}), web=pool({"c": server(), "a": server()})))
    assert view.selected == ("web", "c")
    view.update(status(web=pool({"a": server()})))
    assert view.selected == ("web", "a")
    view.update(status(web=pool({})))
    assert (view.selected, view.press("d"), view.press("down")) == (None, None, None)


def test_rates_are_of_the_last_seconds():
    view = view_of(of_three())
    assert (view.connection_rate, view.byte_rate("bytes_in")) == (0, 0)
    for second in range(1, 11):
        served = pool({"a": server(total=10 * second)}, connects=second * second, connect_seconds=second / 100)
        view.update(status(at=second, total=second * second, moved=100 * second, web=served))
    assert view.server_rate(("web", "a")) == 10
    assert view.connection_rate == pytest.approx((100 - 25) / 5)
    assert (view.byte_rate("bytes_in"), view.byte_rate("bytes_out")) == (100, 200)
    assert view.connect_seconds("web") == pytest.approx(0.05 / 75)
    assert list(view.rates) == [2 * second - 1 for second in range(1, 11)]


def test_who_counts_from_nothing_again_has_no_negative_rates():
    view = view_of(of_three(total=100, moved=100), of_three(at=1, total=3, moved=3))
    assert (view.connection_rate, view.byte_rate("bytes_in"), [*view.rates]) == (0, 0, [0])
    view.mark_lost("connection refused")
    view.update(of_three(at=2, total=5, moved=5))
    assert (view.connection_rate, view.lost) == (2, "")


def test_connects_of_a_quiet_pool_are_those_of_all_its_time():
    quiet = {"web": pool({}, connects=4, connect_seconds=0.01), "new": pool({})}
    view = view_of(status(**quiet), status(at=1, **quiet))
    assert (view.connect_seconds("web"), view.connect_seconds("new")) == (0.0025, None)


def test_a_pause_holds_the_events_too():
    view = view_of(of_three())
    view.add_event({"event": "one"})
    view.press(" ")
    view.add_event({"event": "two"})
    assert (view.paused, [*view.events]) == (True, [{"event": "one"}])
    view.press("p")
    assert (view.paused, [*view.events]) == (False, [{"event": "one"}, {"event": "two"}])


def test_trouble_alone_can_be_looked_at():
    view = view_of(status(web=pool({"a": server(), "b": server(state="down")}), ok=pool({"c": server()})))
    view.press("t")
    assert (view.servers, view.selected) == ([("web", "b")], ("web", "b"))
    view.press("t")
    assert (len(view.servers), view.selected) == (3, ("web", "b"))


def test_help_ends_with_any_key_which_does_nothing_else():
    view = view_of(of_three())
    view.press("?")
    assert (view.show_help, view.press("d"), view.show_help) == (True, None, False)


# Screen


def test_a_server_that_is_not_up_says_why_and_since_when():
    refused = {"ok": False, "detail": "connection refused", "ms": 0.31}
    servers = {
        "a": server(active=1234, weight=3, override={"drained": False, "weight": 3}, history=[1, 1]),
        "b": server(state="down", reason="connection refused", history=[1, 0], last_check=refused, failed_connects=3),
        "c": server(state="draining", weight=0, override={"drained": True, "weight": None}),
    }
    view = view_of(status(at=31, web=pool(servers, connects=2, connect_seconds=0.001, retries=5)))
    view.press("down")
    lines = shown(view, 100)
    assert "● 1 of 3 servers up" in lines[0]
    assert "least-conn  1 of 3 available  connect 0.5 ms  retries 5" in line_with(" web ", lines)
    assert " 3*  1,234 " in line_with("a ", [line for line in lines if "● up" in line])
    assert "▂▂" in line_with("● up", lines)
    down = line_with("● down", lines)
    assert "▸ b" in down
    assert " 31s " in down
    assert "▂█  connection refused" in down
    assert "drained by an operator" in line_with("● draining", lines)
    assert "10.0.0.1:80, connection refused, last check failed in 0.3 ms, 3 failed connects" in line_with(
        "web/b", lines
    )


def test_a_server_whose_checks_are_shared_says_which_nodes_check_it():
    view = view_of(status(web=pool({"a": server(checked_by=["lb1", "lb2", "lb4"])})))
    view.press("down")
    assert "10.0.0.1:80, checked by lb1, lb2, lb4" in line_with("web/a", shown(view, 100))


def test_the_first_line_says_how_it_stands():
    view = view_of(of_three())
    assert "● 3 of 3 servers up" in shown(view)[0]
    view.press("p")
    assert "● paused" in shown(view)[0]
    view.press("p")
    view.mark_lost("cannot reach 127.0.0.1:9900: connection refused")
    assert "● no response; retrying" in shown(view)[0]
    assert line_with("cannot reach 127.0.0.1:9900: connection refused", shown(view))
    view.update(status(web=pool({"a": server(state="ejected")})))
    assert "● no available server: web" in shown(view)[0]


def test_totals_and_events_are_there():
    view = view_of(of_three(), of_three(at=2, total=100, moved=4000, ended={"eof": 1234, "reset": 5}))
    for number in range(20):
        view.add_event(
            {"event": "x.happened", "level": "info", "timestamp": view.status["timestamp"], "number": number}
        )
    lines = shown(view, 100)
    assert "open 7   new/s 50   in 2.0 kB/s   out 4.0 kB/s   ended 1,234 eof, 5 reset" in lines[1]
    assert "█" in lines[2]
    happened = [line for line in lines if "x.happened" in line]
    assert "number=19" in happened[0]
    assert 2 < len(happened) < 10


def test_two_hundred_servers_scroll_with_the_selected_one():
    view = view_of(status(web=pool({f"s{number:03}": server() for number in range(200)})))
    first = shown(view)
    assert "servers, 1 of 200" in first[3]
    assert "s000" in first[6]
    for key in ["page down"] * 9:
        view.press(key)
    assert "▸ s090" in line_with("▸", shown(view))
    view.press("end")
    assert "▸ s199" in line_with("▸", shown(view))


def test_what_servers_say_cannot_steer_the_terminal():
    bad = "\x1b[2Jred\nline"
    view = view_of(status(web=pool({"a": server(state="down", reason=bad)})))
    view.add_event({"event": bad, "level": "info", "timestamp": view.status["timestamp"], "reason": bad})
    view.message = bad
    assert "\x1b[2J" not in "\n".join(shown(view))
    assert len(shown(view)) == 24


@given(st.integers(1, 220), st.integers(1, 60), st.integers(0, 30), st.sampled_from(["", "?", "t", "p"]))
def test_it_fills_the_terminal_whatever_its_size(width, height, count, key):
    view = view_of(status(web=pool({f"server {number}": server(history=[1, 0] * 30) for number in range(count)})))
    view.press(key)
    lines = shown(view, width, height)
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {width}


@pytest.mark.parametrize(
    ("now", "text"),
    [
        ("2026-01-31T12:00:00+00:00", "0"),
        ("2026-01-31T12:02:04+00:00", "2m4s"),
        ("2026-01-31T17:02:04+00:00", "5h2m"),
        ("2026-02-12T12:00:00+00:00", "12d"),
        ("2026-01-31T11:00:00+00:00", "0"),
    ],
)
def test_how_long_ago_in_words(now, text):
    assert since("2026-01-31T12:00:00+00:00", now) == text


# The command


@pytest.mark.slow
async def test_a_killed_server_is_seen_one_is_drained_and_the_balancer_may_return(tmp_path):
    admin = f'[admin]\nbind = "127.0.0.1:{free_port()}"'
    async with backends("a", "b") as servers:
        text = config(*servers, top=admin)
        async with (
            balancer(tmp_path, text) as lb,
            on_terminal("top", "--config", str(lb.config_file)) as (top, terminal),
        ):
            await top.until("2 of 2 servers up")
            await servers[0].kill()
            await top.until(r"a +● (ejected|down) .*connection refus")
            await top.until("backend.ejected pool=web server=a")
            await servers[0].start()
            await top.until("2 of 2 servers up")
            top.press("\x1b[Bd")
            await top.until("▸ b +● draining")
            await lb.event("backend.overridden", server="b", drained=True)
            top.press("e")
            await top.until("web/b: up, weight 1")
            termios.tcsetwinsize(terminal, (30, 130))
            top.process.send_signal(signal.SIGWINCH)
            await top.until(f"a +{servers[0].address} +● up")
            await lb.stop()
            await top.until("● no response; retrying")
            await top.until("cannot reach .*: connection refused")
            async with balancer(tmp_path, text):
                await top.until("2 of 2 servers up")
                await top.until("server.started")
                top.press("q")
                assert await top.process.wait() == 0
            assert "Traceback" not in top.text


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_leaves_the_terminal_as_it_was(tmp_path, number):
    async with backends("a") as servers, balancer(tmp_path, config(*servers, top=ADMIN)) as lb:
        address = (await lb.event("admin.started"))["bind"]
        async with on_terminal("top", "--admin", address) as (top, terminal):
            before = termios.tcgetattr(terminal)
            await top.until("1 of 1 servers up")
            assert termios.tcgetattr(terminal) != before
            top.process.send_signal(number)
            assert await top.process.wait() == 0
            assert termios.tcgetattr(terminal) == before


@pytest.mark.slow
async def test_who_cannot_be_asked_at_first_is_one_line():
    address = f"127.0.0.1:{free_port()}"
    async with on_terminal("top", "--admin", address) as (top, _):
        await top.until(f"lb: cannot reach the admin endpoint at {address}: connection refused\n")
        assert await top.process.wait() == 1


async def test_without_a_terminal_it_says_so():
    code, out, err = await run_lb("top", "--admin", "127.0.0.1:1")
    assert (code, out) == (2, "")
    assert err == "lb: top needs a terminal; without one, use lb ctl servers or lb ctl events\n"
