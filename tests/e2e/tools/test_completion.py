"""Completion in real shells: the script runs the real command, which asks a running balancer for names."""

from __future__ import annotations

import os
from shutil import which

import pytest
import trio

from tests.support.balancer import LB, balancer, config, run_lb
from tests.support.operating import ADMIN
from tests.support.peers import needs_program
from tests.support.servers import Named

pytestmark = pytest.mark.slow
START = {"bash": ["bash", "--norc", "-c"], "fish": ["fish", "--no-config", "-c"], "zsh": ["zsh", "-f", "-c"]}
ASK = {
    "bash": """
COMP_LINE="$LINE" COMP_POINT=${#LINE} COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
_lb; printf '%s\\n' "${COMPREPLY[@]}"
""",
    "fish": "complete -C $LINE",
    "zsh": """
compadd() { print -rl -- "${(@P)2}"; }
_files() { :; }
words=("${(@s: :)LINE}") CURRENT=$#words
_lb
""",
}
"""Ask as the shell does when the tab key is pressed. In zsh that needs its line editor: two commands are replaced."""


@pytest.fixture(params=["bash", "fish", "zsh"])
def shell(request):
    if which(request.param) is None:
        assert not os.environ.get("CI"), f"{request.param} is missing"
        pytest.skip(f"{request.param} is missing")
    return request.param


async def completions(shell, line, directory):
    """Return what the shell offers at the end of a line."""
    _, script, _ = await run_lb("ctl", "completion", shell)
    before = "compdef() { :; }\n" if shell == "zsh" else ""
    environment = {**os.environ, "PATH": f"{LB.parent}:{os.environ['PATH']}", "LINE": line, "HOME": str(directory)}
    done = await trio.run_process(
        [*START[shell], f"{before}{script}\n{ASK[shell]}"], capture_stdout=True, env=environment, cwd=directory
    )
    return sorted(filter(None, done.stdout.decode().split("\n")))


async def test_a_shell_offers_words(shell, tmp_path):
    assert await completions(shell, "lb ctl dr", tmp_path) == ["drain"]
    assert await completions(shell, "lb ctl --json completion ", tmp_path) == ["bash", "fish", "zsh"]


async def test_a_shell_offers_servers_of_a_running_balancer(shell, tmp_path):
    servers = (Named("a", "127.0.0.1:1"), Named("127.0.0.1:9001", "127.0.0.1:9001"))
    async with balancer(tmp_path, config(*servers, top=ADMIN)) as lb:
        admin = (await lb.event("admin.started"))["bind"]
        found = await completions(shell, f"lb ctl --admin {admin} drain web/127.0.0.1:9", tmp_path)
        assert found == ["9001" if shell == "bash" else "web/127.0.0.1:9001"]  # bash replaces what follows the colon
        assert await completions(shell, f"lb ctl --admin {admin} servers ", tmp_path) == ["web"]


async def test_nothing_is_offered_where_no_balancer_runs(shell, tmp_path):
    assert await completions(shell, "lb ctl --admin 127.0.0.1:1 drain w", tmp_path) == []


@needs_program("fish")
async def test_fish_offers_files_after_c(tmp_path):
    (tmp_path / "my.toml").touch()
    assert await completions("fish", "lb run -c my", tmp_path) == ["my.toml"]
