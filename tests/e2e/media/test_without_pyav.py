"""Without PyAV: one clear error, from the check and at the start."""

from __future__ import annotations

import os

import pytest
import trio

from tests.support.balancer import LB
from tests.support.publishing import live_config

pytestmark = pytest.mark.slow
HIDDEN = """
import sys

class WithoutAv:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name == "av" else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(WithoutAv, sys.meta_path)
"""


async def test_media_without_pyav_is_one_error_that_says_what_to_install(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    (tmp_path / "lb.toml").write_text(live_config())
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for command in (["check", tmp_path / "lb.toml"], ["--config", tmp_path / "lb.toml"]):
        done = await trio.run_process([LB, *command], env=env, capture_stdout=True, capture_stderr=True, check=False)
        written = done.stdout + done.stderr
        assert done.returncode not in (0, None)
        assert written.count(b"trio-lb[media]") == 1, written
        assert b"Traceback" not in written
