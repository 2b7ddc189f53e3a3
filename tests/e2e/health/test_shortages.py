"""A balancer whose own host is short of something: no verdict about a server, and no session is cut."""

from __future__ import annotations

import contextlib

import pytest
import trio

from tests.support.balancer import config, request
from tests.support.operating import operated
from tests.support.two_hosts import two_hosts

pytestmark = pytest.mark.slow
PORTS = 101
CHECKS = 'interval = "100ms"\nfast_interval = "50ms"\ntimeout = "30s"\nfall = 1'
PROBES = ['probe = "tcp"', 'probe = "exchange"\nsend = "name\\n"\nexpect = "^a"']
INCONCLUSIVE = 'lb_checks_total{result="inconclusive"}'


async def use_up_ports(front, lb, stack):
    """Open sessions until the balancer's host has no port left for another. Return them."""
    sessions = []
    while not lb.of("connection.closed", reason="connect_failed"):
        stream = await stack.enter_async_context(await trio.open_unix_socket(front))
        with contextlib.suppress(AssertionError, trio.BrokenResourceError):
            assert await request(stream, b"name") == b"a"
            sessions.append(stream)
    return sessions


@pytest.mark.parametrize("probe", PROBES, ids=["tcp", "exchange"])
async def test_without_a_free_port_no_server_goes_down_and_no_session_is_cut(tmp_path, probe):
    front = tmp_path / "front"
    with two_hosts(links=1) as hosts:
        hosts.near.sysctl("net.ipv4.ip_local_port_range", f"50000 {50000 + PORTS - 1}")
        async with hosts.serving("a", hosts.links[0]) as a, contextlib.AsyncExitStack() as stack:
            text = config(
                a,
                bind=f"unix:{front}",
                pool='on_down = "close"',
                health=f"{probe}\n{CHECKS}",
                top=f'[admin]\nbind = "unix:{tmp_path / "admin"}"',
            )
            async with operated(tmp_path, text, preexec=hosts.near.enter) as (lb, operator):
                sessions = await use_up_ports(front, lb, stack)
                await operator.until(operator.metrics, lambda metrics: metrics[INCONCLUSIVE] >= 5)
                for stream in sessions:
                    assert await request(stream, b"name") == b"a"
                assert len(sessions) > PORTS / 2
                attempts = [attempt for record in lb.of("connection.closed") for attempt in record["attempts"]]
                assert {attempt["error"] for attempt in attempts} == {"out of local ports"}
                assert not lb.of("backend.ejected")
