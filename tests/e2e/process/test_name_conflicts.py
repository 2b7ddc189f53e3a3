"""Modules with the names of our packages: plug-ins beside the configuration, and strangers that hide ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

import healthcheck
from tests.support.balancer import LB, ask, balancer, config
from tests.support.servers import serving

pytestmark = pytest.mark.slow
OWN = """
from strategies.base import Strategy

class Own(Strategy):
    def pick(self, client, tried):
        return next(self.candidates(tried), None)
"""


async def run(*arguments, cwd, path=""):
    done = await trio.run_process(
        [LB, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("workers", [1, 2])
async def test_traffic_goes_by_a_strategy_in_a_file_named_strategies(tmp_path, workers):
    (tmp_path / "strategies.py").write_text(OWN)
    async with serving(name="a") as a, serving(name="b") as b:
        text = config(a, b, pool='strategy = "strategies:Own"', top=f"[process]\nworkers = {workers}")
        async with balancer(tmp_path, text) as lb:
            assert {await ask(lb.port) for _ in range(4)} == {b"a\n"}
            assert await lb.stop() == 0


async def test_a_strategy_in_a_file_named_strategies_can_be_tested(tmp_path):
    (tmp_path / "strategies.py").write_text(OWN)
    code, out, err = await run("strategy", "test", "strategies:Own", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "determinism" in out


async def test_python_m_lb_finds_its_own_packages(tmp_path):
    (tmp_path / "strategies.py").write_text(OWN)
    (tmp_path / "lb.toml").write_text(config(pool="servers = ['a:1']\nstrategy = 'strategies:Own'", health=""))
    done = await trio.run_process([sys.executable, "-m", "lb", "check"], cwd=tmp_path, capture_stdout=True)
    assert b"pool web: strategies:Own" in done.stdout


@pytest.mark.parametrize("command", ["run", "check"])
async def test_another_healthcheck_is_told_of_in_one_line(tmp_path, command):
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / "healthcheck.py"
    other.write_text("class HealthCheck: pass\n")
    (tmp_path / "lb.toml").write_text(config(top="", pool="servers = ['a:1']"))
    code, out, err = await run(command, cwd=tmp_path, path=other.parent)
    assert (code, out) == (1, "")
    ours = Path(healthcheck.__file__).parent
    assert err == (
        f"lb: Python finds another 'healthcheck', {other}, before that of trio-lb, {ours}: "
        "rename it or take it out of PYTHONPATH, or install trio-lb in a virtual environment of its own\n"
    )
