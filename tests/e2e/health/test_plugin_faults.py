"""Plug-ins that raise: the traceback is logged, one connection or check fails, everything else continues."""

from __future__ import annotations

import pytest

from tests.support.balancer import ask, balancer, config, connect, read_all, request
from tests.support.servers import serving

pytestmark = pytest.mark.slow

STRATEGY = """
from pathlib import Path
from strategies.base import Strategy
from strategies.round_robin import RoundRobin

class Fragile(RoundRobin):
    def pick(self, client, tried):
        if Path(__file__).with_name("broken").exists():
            raise LookupError("no luck today")
        return super().pick(client, tried)

class Nonsense(RoundRobin):
    def pick(self, client, tried):
        return "the best one"

class Forgetful(Strategy):
    def __init__(self):
        self.forgotten = "super().__init__()"

    def pick(self, client, tried):
        return next(self.candidates(tried), None)

class Unusable(RoundRobin):
    def use(self, servers, built):
        if Path(__file__).with_name("broken").exists():
            raise LookupError("not with these")
        super().use(servers, built)

class Unbuildable(RoundRobin):
    def build(self, servers):
        raise LookupError("no table today")
        yield

class ForOne(RoundRobin):
    def build(self, servers):
        if len(servers) > 1:
            raise LookupError("one is enough")
        yield
"""
PROBE = """
from pathlib import Path
from healthcheck.probe import Probe

class StillbornProbe(Probe):
    made = 0

    def __init__(self):
        StillbornProbe.made += 1
        if StillbornProbe.made > 1:  # the first is the configuration's, to see whether it can be made
            raise LookupError("not today")

    async def check(self, target):
        return "fine"

class FragileProbe(Probe):
    async def check(self, target):
        if target.server == "a" and Path(__file__).with_name("broken").exists():
            raise LookupError("no luck today")
        return "fine"
"""


@pytest.fixture
def plugin(tmp_path, request):
    """Plug-in modules in the directory of the configuration file. ``touch`` the returned file to make them fail."""
    (tmp_path / "plugin.py").write_text(STRATEGY + PROBE)
    return tmp_path / "broken"


async def test_a_strategy_that_raises_costs_the_connection_that_met_it(tmp_path, plugin):
    async with (
        serving() as server,
        balancer(tmp_path, config(server, pool='strategy = "plugin:Fragile"'), faults=True) as lb,
    ):
        async with await connect(lb.port) as before:
            assert await request(before, b"name") == b"s"
            plugin.touch()
            async with await connect(lb.port) as stream:
                assert await read_all(stream) == b""
            record = await lb.event("connection.closed")
            assert (record["reason"], record["ended_by"], record["attempts"]) == ("no_server", "lb", [])
            assert await request(before, b"echo still here") == b"still here"
            plugin.unlink()
            assert await ask(lb.port) == b"s\n"
        assert await lb.stop() == 0
    (fault,) = lb.of("fault")
    assert fault["where"] == "pool web: strategy plugin:Fragile"
    assert "Traceback" in fault["exception"]
    assert "LookupError: no luck today" in fault["exception"]
    assert 'plugin.py", line 9' in fault["exception"]


async def test_a_strategy_that_answers_nonsense_is_reported_too(tmp_path, plugin):
    async with (
        serving() as server,
        balancer(tmp_path, config(server, pool='strategy = "plugin:Nonsense"'), faults=True) as lb,
    ):
        async with await connect(lb.port) as stream:
            assert await read_all(stream) == b""
        assert (await lb.only_record())["reason"] == "no_server"
    assert "which is not available" in lb.of("fault")[0]["exception"]


async def test_a_strategy_that_cannot_take_the_new_list_leaves_the_old_one(tmp_path, plugin):
    async with serving(name="a") as a, serving(name="b") as b, balancer(tmp_path, config(a), faults=True) as lb:
        rejected = await lb.reload(config(b, pool='strategy = "plugin:Unbuildable"'))
        assert rejected["errors"] == ["LookupError: no table today"]
        assert await ask(lb.port) == b"a\n"


@pytest.mark.usefixtures("worker_count")
async def test_a_strategy_that_cannot_take_servers_that_were_found_leaves_the_old_ones(tmp_path, plugin):
    file = tmp_path / "list"
    async with serving(name="a") as a, serving(name="b") as b:
        file.write_text(a.address)
        text = config(pool='servers_file = "list"\nstrategy = "plugin:ForOne"')
        async with balancer(tmp_path, text, faults=True) as lb:
            file.write_text(f"{a.address}\n{b.address}")
            rejected = await lb.event("config.rejected")
            assert rejected["errors"][0].endswith("LookupError: one is enough")
            assert {await ask(lb.port) for _ in range(4)} == {b"a\n"}
            file.write_text(b.address)
            await lb.event("config.applied")
            assert await ask(lb.port) == b"b\n"
    assert lb.of("fault")[0]["where"] == "discovery"


async def test_a_probe_that_raises_takes_down_its_own_server_only_and_recovers(tmp_path, plugin):
    checks = 'probe = "plugin:FragileProbe"\ninterval = "50ms"\nfast_interval = "50ms"'
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a, b, health=checks), faults=True) as lb,
    ):
        plugin.touch()
        ejected = await lb.event("backend.ejected", server="a")
        assert ejected["reason"] == "probe error: LookupError: no luck today"
        assert [await ask(lb.port) for _ in range(3)] == [b"b\n"] * 3
        plugin.unlink()
        await lb.event("backend.restored", server="a")
        assert {await ask(lb.port) for _ in range(4)} == {b"a\n", b"b\n"}
    assert not lb.of("backend.ejected", server="b")
    assert all("no luck today" in fault["exception"] for fault in lb.of("fault"))
    assert lb.of("fault")[0]["where"] == "pool web: probe of a"


async def test_a_probe_that_cannot_be_made_costs_its_checks_only(tmp_path, plugin):
    health = 'probe = "plugin:StillbornProbe"'
    async with serving() as server, balancer(tmp_path, config(server, health=health), faults=True) as lb:
        fault = await lb.event("fault")
        assert "LookupError: not today" in fault["exception"]
        assert await ask(lb.port) == b"s\n"
        assert await lb.stop() == 0


async def test_a_strategy_need_not_call_the_constructor_of_its_base(tmp_path, plugin):
    async with serving() as server, balancer(tmp_path, config(server, pool='strategy = "plugin:Forgetful"')) as lb:
        assert await ask(lb.port) == b"s\n"


async def test_a_strategy_that_cannot_use_the_new_list_does_not_leave_the_reload_half_done(tmp_path, plugin):
    """The strategy only affects its own pool. The rest of the configuration is applied and reported."""
    async with serving(name="a") as a, serving(name="b") as b:
        text = config(a, pool='strategy = "plugin:Unusable"')
        async with balancer(tmp_path, text, faults=True) as lb:
            assert await ask(lb.port) == b"a\n"
            plugin.touch()
            other = f'[listeners.other]\nbind = "127.0.0.1:0"\nservers = ["{b.address}"]\n'
            verdict = await lb.reload(config((a, "weight = 2"), pool='strategy = "plugin:Unusable"', top=other))
            assert verdict["event"] == "config.applied"
            assert "LookupError: not with these" in (await lb.event("fault"))["exception"]
            assert await ask(lb.ports["other"]) == b"b\n"
