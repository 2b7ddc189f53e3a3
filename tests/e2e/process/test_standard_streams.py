"""stdin, stdout and stderr that are closed or cannot be written, and locales without the characters of a name."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
import trio

from tests.support.balancer import PATIENCE, config, exec_lb, killed_at_end, read_all, run_lb
from tests.support.servers import Named, serving

pytestmark = pytest.mark.slow
NOBODY = Named("s", "127.0.0.1:1")
PRINTING = {
    "check": ["check", "-c", "lb.toml"],
    "diff": ["diff", "lb.toml", "lb.toml"],
    "explain": ["explain", "-c", "lb.toml", "--listener", "web", "--source", "10.0.0.1"],
    "strategy list": ["strategy", "list"],
    "strategy test": ["strategy", "test", "weighted"],
    "completion": ["ctl", "completion", "bash"],
    "migrate": ["migrate", "--explain"],
    "rehearse": ["rehearse", "lb.toml", "scenario.toml"],
    "version": ["--version"],
    "help": ["--help"],
    "help of a command": ["help", "check"],
    "complete": ["complete", "--", "c"],
    "demo": ["demo", "--seconds", "1"],
}
SCENARIO = """
duration = "2s"
[clients.some]
rate = 10
"""


def redirected(to):
    """Return a command that execs the one after it with a redirection of the shell."""
    return ["sh", "-c", f'exec "$@" {to}', "sh"]


@pytest.mark.parametrize("to", [">/dev/full", ">&-"], ids=["full", "closed"])
@pytest.mark.parametrize("command", PRINTING.values(), ids=PRINTING)
async def test_an_output_that_cannot_be_written_is_one_line_and_an_exit_code(tmp_path, command, to):
    (tmp_path / "lb.toml").write_text(config(NOBODY, health=None))
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    process = await exec_lb(*command, through=redirected(to), stderr=subprocess.PIPE, cwd=tmp_path)
    async with killed_at_end(process):
        said = (await read_all(process.stderr)).decode()
        assert await process.wait() == 1
    reason = "no space left on device" if "full" in to else "bad file descriptor"
    assert said == f"lb: cannot write to stdout: {reason}\n"


@pytest.mark.parametrize("to", ["2>/dev/full", "2>&-", ">/dev/full 2>/dev/full"], ids=["full", "closed", "both"])
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["check", "none.toml"], 2),
        (["nonsense"], 2),
        (["run", "none.toml"], 2),
        (["ctl", "--admin", "127.0.0.1:1", "status"], 1),
    ],
    ids=["check", "usage", "run", "ctl"],
)
async def test_the_exit_code_is_that_of_the_error_though_nobody_can_be_told(tmp_path, command, expected, to):
    process = await exec_lb(*command, through=redirected(to), cwd=tmp_path)
    async with killed_at_end(process):
        assert await process.wait() == expected


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_no_connection_gets_the_number_of_a_closed_stream(tmp_path, closed):
    """A client once received the log."""
    path, front = tmp_path / "lb.toml", tmp_path / "front.sock"
    async with serving() as server:
        path.write_text(config(server, bind=f"unix:{front}"))
        process = await exec_lb("-c", path, through=redirected(closed), stderr=subprocess.DEVNULL)
        async with killed_at_end(process):
            for _ in range(2):
                async with await connected(front) as stream:
                    await stream.send_all(b"name\n")
                    await stream.send_eof()
                    assert await read_all(stream) == b"s\n"
            assert not any(each.startswith("socket:") for each in standard_streams(process.pid))
            process.send_signal(signal.SIGTERM)
            with trio.fail_after(PATIENCE):
                assert await process.wait() == 0


def standard_streams(pid):
    return [str(Path(f"/proc/{pid}/fd/{fd}").readlink()) for fd in range(3)]


async def connected(path: Path):
    with trio.fail_after(PATIENCE):
        while True:
            try:
                return await trio.open_unix_socket(path)
            except OSError:  # it has not started yet
                await trio.sleep(0.01)


async def test_names_are_printed_in_any_locale(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    path = tmp_path / "lb.toml"
    path.write_text(config(Named("größe", "127.0.0.1:1"), pool='stratägy = "x"').replace("stratägy", '"stratägy"'))
    code, _, err = await run_lb("check", "-c", path)
    assert code == 2
    assert "strat\\xe4gy" in err
    path.write_text(config(Named("größe", "127.0.0.1:1"), health=None))
    code, out, err = await run_lb("check", "-c", path)
    assert (code, err) == (0, "")
    assert "gr\\xf6\\xdfe" in out
