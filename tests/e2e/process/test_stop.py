"""SIGTERM and SIGINT: no new clients, open connections may finish, exit code 0."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import trio

from lb.log.lines import LineWriter
from tests.support.balancer import ask, balancer, config, connect, read_all, request
from tests.support.servers import serving

pytestmark = pytest.mark.slow
every_kind = pytest.mark.usefixtures("balancer_kind")
MIB = 1024 * 1024
both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@both_signals
async def test_an_idle_balancer_stops_at_once(tmp_path, number):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        assert await ask(lb.port) == b"s\n"
        lb.signal(number)
        assert await lb.exit_code() == 0
    (stopping,) = lb.of("server.stopping")
    assert stopping["signal"] == signal.Signals(number).name
    assert lb.events[-1]["event"] == "server.stopped"


@every_kind
@both_signals
async def test_new_connections_are_refused_while_an_open_transfer_finishes_whole(tmp_path, number):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        port = lb.port
        async with await connect(port) as stream:
            await stream.send_all(b"bytes %d\n" % (64 * MIB))
            first = await stream.receive_some()
            lb.signal(number)
            await lb.event("listener.stopped")
            with pytest.raises(OSError, match="all attempts to connect"):
                await connect(port)
            await stream.send_eof()
            assert len(first) + len(await read_all(stream)) == 64 * MIB
        assert await lb.exit_code() == 0
    (record,) = lb.of("connection.closed")
    assert (record["reason"], record["bytes_out"]) == ("eof", 64 * MIB)
    assert lb.of("server.stopping")[0]["open_connections"] == 1


@pytest.mark.usefixtures("worker_count")
async def test_an_open_connection_may_go_on_talking_both_ways(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        async with await connect(lb.port) as stream:
            assert await request(stream, b"name") == b"s"
            lb.signal(signal.SIGTERM)
            await lb.event("server.stopping")
            assert await request(stream, b"echo still here") == b"still here"
        assert await lb.exit_code() == 0


@every_kind
async def test_after_the_stop_timeout_what_is_open_is_closed_as_stopped(tmp_path):
    async with serving() as server:
        text = config(server, top='[process]\nstop_timeout = "200ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            assert await request(stream, b"name") == b"s"
            lb.signal(signal.SIGTERM)
            with pytest.raises(trio.BrokenResourceError):
                await read_all(stream)
            assert await lb.exit_code() == 0
    (record,) = lb.of("connection.closed")
    assert (record["reason"], record["ended_by"], record["server"]) == ("stopped", "lb", "s")
    assert (record["bytes_in"], record["bytes_out"]) == (5, 2)


@every_kind
@both_signals
async def test_a_second_signal_stops_now(tmp_path, number):
    async with serving() as server, balancer(tmp_path, config(server)) as lb, await connect(lb.port) as stream:
        assert await request(stream, b"name") == b"s"
        lb.signal(signal.SIGTERM)
        await lb.event("server.stopping")
        lb.signal(number)
        with pytest.raises(trio.BrokenResourceError):
            await read_all(stream)
        assert await lb.exit_code() == 0
    assert [record["reason"] for record in lb.of("connection.closed")] == ["stopped"]


@every_kind
async def test_a_connection_that_is_held_for_a_server_ends_as_stopped_too(tmp_path):
    hold = 'when_all_down = "hold"\nhold_timeout = "1m"'
    async with serving() as server:
        text = config((server, "weight = 0"), pool=hold, top='[process]\nstop_timeout = "100ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port):
            assert await lb.stop() == 0
    (record,) = lb.of("connection.closed")
    assert (record["reason"], record["server"], record["connect_ms"]) == ("stopped", None, None)


@pytest.mark.usefixtures("worker_count")
async def test_a_reload_while_stopping_starts_nothing_again(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        async with await connect(lb.port) as stream:
            assert await request(stream, b"name") == b"s"
            lb.signal(signal.SIGTERM)
            await lb.event("server.stopping")
            lb.config_file.write_text(config(server, bind=["127.0.0.1:0", "127.0.0.2:0"]))
            lb.signal(signal.SIGHUP)
            assert await request(stream, b"echo still here") == b"still here"
        assert await lb.exit_code() == 0
    assert not lb.of("config.applied")
    assert len(lb.of("listener.started")) == 1


@pytest.mark.usefixtures("worker_count")
async def test_the_socket_file_of_a_listener_is_removed(tmp_path):
    path = tmp_path / "front"
    async with serving() as server, balancer(tmp_path, config(server, bind=f"unix:{path}")) as lb:
        assert path.is_socket()
        assert await lb.stop() == 0
        assert not path.exists()


async def test_the_log_loses_no_lines_that_are_being_written_at_the_end():
    """The process ends while a thread is blocked in the middle of a batch, because the pipe is full."""
    lines = [f"{number}".rjust(100_000) for number in range(10)]
    read, write = os.pipe()
    os.set_blocking(write, False)  # so that a batch takes many writes
    received = []

    def drain():
        while chunk := os.read(read, 1 << 20):
            received.append(chunk)

    reader = threading.Thread(target=drain)
    writer = LineWriter(write, lambda lost: pytest.fail(f"{lost} lines dropped"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        for line in lines:
            writer.write(line)
        received.append(await trio.to_thread.run_sync(os.read, read, 1))
        reader.start()
        nursery.cancel_scope.cancel()
    os.close(write)
    await trio.to_thread.run_sync(reader.join)
    os.close(read)
    assert b"".join(received).decode().splitlines() == lines


async def test_a_unix_socket_that_cannot_be_removed_does_not_spoil_the_stop(tmp_path):
    path = tmp_path / "front.sock"
    async with serving() as server, balancer(tmp_path, config(server, bind=["127.0.0.1:0", f"unix:{path}"])) as lb:
        async with await connect(lb.port) as stream:
            assert await request(stream, b"name") == b"s"
            path.unlink()
            path.mkdir()
            lb.signal(signal.SIGTERM)
            await lb.event("listener.stopped", count=2)
            assert await request(stream, b"name") == b"s"
        assert await lb.exit_code() == 0
    assert lb.of("connection.closed")[0]["reason"] == "eof"
