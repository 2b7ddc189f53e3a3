import errno
import os
import re
import signal

import pytest
import trio

from healthcheck.probe import Target
from healthcheck.probes.exec import ExecProbe
from lb.model.address import Address
from tests.support.balancer import PATIENCE
from tests.support.probe_server import failure, target_at


def shell(script):
    return ExecProbe(command=("/bin/sh", "-c", script))


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        ("echo all well; echo more", "all well"),
        ("echo warned >&2", "warned"),
        ("true", "exit 0"),
        ("printf 'a\\033[31mb'", "a?[31mb"),
        ("head -c 1000000 /dev/zero | tr '\\0' x", "x" * 199 + "…"),
    ],
)
async def test_exec_passes_with_exit_0_and_the_first_line(script, detail):
    assert await shell(script).check(target_at(80)) == detail


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (shell("echo replica is behind; exit 3"), "replica is behind"),
        (shell("exit 3"), "exit 3"),
        (shell("echo oh; kill -9 $$"), "killed by SIGKILL"),
        (ExecProbe(command=("./no-such-check",)), "cannot run ./no-such-check: no such file or directory"),
        (ExecProbe(command=("/",)), "cannot run /: permission denied"),
    ],
)
async def test_exec_fails(probe, reason):
    assert await failure(probe, target_at(80)) == reason


async def test_exec_tells_the_command_about_the_server():
    script = 'echo "$LB_POOL $LB_SERVER $LB_HOST $LB_PORT ${PATH:+with path}"'
    assert await shell(script).check(target_at(80)) == "web a 127.0.0.1 80 with path"
    unix = Target("web", "a", Address.parse("unix:/run/x"), ())
    assert await shell('echo "[$LB_HOST] [$LB_PORT]"').check(unix) == "[/run/x] []"


async def test_a_lack_of_processes_is_the_balancer_s_own(monkeypatch):
    async def no_fork(*args, **kwargs):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(trio.lowlevel, "open_process", no_fork)
    with pytest.raises(BlockingIOError):
        await shell("true").check(target_at(80))


@pytest.mark.parametrize("closes_output", [False, True])
async def test_exec_kills_the_whole_group_when_cancelled_and_reaps_the_command(monkeypatch, tmp_path, closes_output):
    """The command's child ignores SIGTERM and holds a pipe of the test: end of file shows that it has ended."""
    opened = []
    open_process = trio.lowlevel.open_process

    async def remember(*args, **options):
        opened.append(await open_process(*args, pass_fds=[writing], **options))
        return opened[0]

    monkeypatch.setattr(trio.lowlevel, "open_process", remember)
    reading, writing = os.pipe()
    quiet = "exec >/dev/null 2>&1;" if closes_output else ""
    script = f"trap '' TERM; {quiet} (echo started >/dev/fd/{writing}; exec sleep 1000) & wait"
    async with trio.lowlevel.FdStream(reading) as pipe, trio.open_nursery() as nursery:
        nursery.start_soon(shell(script).check, target_at(80))
        with trio.fail_after(PATIENCE):
            assert await pipe.receive_some() == b"started\n"
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
                while not opened or opened[0].returncode is None:
                    await trio.lowlevel.checkpoint()
                os.close(writing)
                assert await pipe.receive_some() == b""
    assert opened[0].returncode == -signal.SIGKILL


async def test_exec_kills_what_has_left_the_group(monkeypatch):
    """A command of the check in a session of its own lived on, with a process more for each check."""
    reading, writing = os.pipe()
    open_process = trio.lowlevel.open_process

    async def with_pipe(*args, **options):
        return await open_process(*args, pass_fds=[writing], **options)

    monkeypatch.setattr(trio.lowlevel, "open_process", with_pipe)
    script = f"setsid sh -c 'echo started >/dev/fd/{writing}; sleep 1000; true' & wait"
    async with trio.lowlevel.FdStream(reading) as pipe, trio.open_nursery() as nursery:
        nursery.start_soon(shell(script).check, target_at(80))
        with trio.fail_after(PATIENCE):
            assert await pipe.receive_some() == b"started\n"
            os.close(writing)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
                assert await pipe.receive_some() == b"", "all that hold the pipe have ended"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "./check"}, 'command: must be a list of strings like ["./check", "arg"], not \'./check\''),
        ({"command": ()}, 'command: must be a list of strings like ["./check", "arg"], not ()'),
        ({"command": ("a", 1)}, 'command: must be a list of strings like ["./check", "arg"], not (\'a\', 1)'),
        ({"command": ("a\0",)}, r"command: ['a\x00'] cannot be run"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        ExecProbe(**options)
