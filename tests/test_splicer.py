"""Both splicers, through real sockets: whatever enters on one side leaves on the other, and ends as it ended."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import random
import socket
import termios

import pytest
import trio
import trio.testing

from tests.splicing import Owner, open_descriptors, reset, running_splicer

pytestmark = pytest.mark.usefixtures("splicer_kind")
MIB = 1024 * 1024


def in_order(joined, first):
    """The outer ends, the one that is called ``first`` before the other."""
    return (joined.client, joined.server) if first == "client" else (joined.server, joined.client)


async def read_all(stream):
    """The digest and the number of all bytes until the end of file."""
    digest, count = hashlib.sha256(), 0
    async for chunk in stream:
        digest.update(chunk)
        count += len(chunk)
    return digest.hexdigest(), count


async def expect_reset(stream):
    """Read until the reset; returns what came before it."""
    received = b""
    with pytest.raises(trio.BrokenResourceError) as caught, trio.fail_after(10):
        while data := await stream.receive_some():
            received += data
    assert caught.value.__cause__.errno == errno.ECONNRESET
    return received


async def send_until_blocked(stream, limit=64 * MIB):
    """Write until nobody takes any more; returns the number of bytes."""
    sock, sent, settled = stream.socket._sock, 0, False
    while sent < limit:
        try:
            sent += sock.send(bytes(64 * 1024))
            settled = False
        except BlockingIOError:
            if settled:
                return sent
            await trio.testing.wait_all_tasks_blocked(0.01)  # window updates travel outside of trio
            settled = True
    return sent


async def send_until_held(joined):
    """Let the client write until the server takes no more, and no more than the balancer's kernel has acknowledged."""
    sock, sent = joined.client.socket._sock, 0
    while not joined.relay.holds_bytes:
        sent += sock.send(bytes(1000))
        await trio.testing.wait_all_tasks_blocked()
    assert fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)) == bytes(4), "something is not acknowledged yet"
    return sent


# Bytes


async def test_bytes_travel_both_ways():
    async with running_splicer() as bench:
        joined = await bench.join()
        await joined.client.send_all(b"ping")
        assert await joined.server.receive_some() == b"ping"
        await joined.server.send_all(b"pong")
        assert await joined.client.receive_some() == b"pong"
        await joined.client.aclose()
        await joined.server.aclose()
        await joined.owner.until(lambda owner: owner.ended)
        assert (joined.relay.bytes_in, joined.relay.bytes_out) == (4, 4)


async def test_the_server_may_speak_first():
    async with running_splicer() as bench:
        joined = await bench.join()
        await joined.server.send_all(b"220 ready\r\n")
        assert await joined.client.receive_some() == b"220 ready\r\n"


@pytest.mark.parametrize("unix", [False, True])
async def test_the_server_may_have_spoken_before_the_relay_is_there(unix):
    async with running_splicer() as bench:
        joined = await bench.join(unix=unix, early=lambda client, server: server.sendall(b"220 ready\r\n"))
        assert await joined.client.receive_some() == b"220 ready\r\n"


@pytest.mark.parametrize("unix", [False, True])
async def test_the_server_may_have_spoken_and_finished_before_the_relay_is_there(unix):
    """Say, "too many connections". No further edge comes: what the connect's edge said must not be forgotten."""

    def speak_and_go(client, server):
        server.sendall(b"421 try later\r\n")
        server.close()

    async with running_splicer() as bench:
        joined = await bench.join(unix=unix, early=speak_and_go)
        with trio.fail_after(10):
            assert (await read_all(joined.client))[1] == 15
            await joined.client.send_eof()
            await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == ("server", "eof")


@pytest.mark.parametrize("unix", [False, True])
async def test_the_client_may_have_spoken_and_finished_before_the_relay_is_there(unix):
    def speak_and_finish(client, server):
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)

    async with running_splicer() as bench:
        joined = await bench.join(unix=unix, early=speak_and_finish)
        with trio.fail_after(10):
            assert (await read_all(joined.server))[1] == 7
            await joined.server.send_all(b"answer")
            await joined.server.send_eof()
            assert (await read_all(joined.client))[1] == 6
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == ("client", "eof")


async def test_a_client_that_was_reset_before_the_relay_is_there_resets_the_server():
    async with running_splicer() as bench:
        joined = await bench.join(early=lambda client, server: reset(client))
        assert await expect_reset(joined.server) == b""
        assert joined.owner.ended == ("client", "reset")


async def test_a_server_that_resets_at_once_is_a_failed_connect():
    async with running_splicer() as bench:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            owner = Owner()
            bench.splicer.connect((socket.AF_INET, listening.getsockname()), owner)
            server, _ = listening.accept()
            reset(server)
            await owner.until(lambda owner: owner.error)
        assert owner.error.errno == errno.ECONNRESET


@pytest.mark.parametrize("size", [1, 64 * 1024, 5 * MIB])
@pytest.mark.parametrize("first", ["client", "server"])
async def test_the_last_bytes_and_the_end_arrive_together(first, size):
    async with running_splicer() as bench:
        joined = await bench.join()
        one, other = in_order(joined, first)

        async def send():
            await one.send_all(bytes(size))
            await one.send_eof()

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                assert (await read_all(other))[1] == size


async def test_50_mb_reach_a_reader_that_stalls_until_the_server_has_gone():
    async with running_splicer() as bench:
        joined = await bench.join()
        data = random.Random(1).randbytes(MIB) * 50
        gone = trio.Event()

        async def serve():
            await joined.server.send_all(data)
            await joined.server.aclose()
            gone.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert joined.relay.bytes_out < len(data), "the reader stalls"
            digest, count = await read_all(joined.client)
        assert gone.is_set()
        assert count == len(data)
        assert digest == hashlib.sha256(data).hexdigest()


async def test_what_the_kernel_holds_of_a_server_that_has_gone_reaches_a_late_reader():
    """All that is still to come, and the end, are there when the reader wakes up: no further edge from the server."""
    async with running_splicer() as bench:
        joined = await bench.join()
        sent = await send_until_blocked(joined.server)
        await joined.server.aclose()
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(10):
            assert (await read_all(joined.client))[1] == sent


@pytest.mark.parametrize("unix", [False, True])
async def test_writes_through_small_buffers(unix):
    async with running_splicer() as bench:
        joined = await bench.join(buffer=4096, unix=unix)
        data = random.Random(2).randbytes(MIB)

        async def send():
            for start in range(0, len(data), 16 * 1024):
                await joined.client.send_all(data[start : start + 16 * 1024])
            await joined.client.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            digest, count = await read_all(joined.server)
        assert (digest, count) == (hashlib.sha256(data).hexdigest(), len(data))


async def test_random_chunks_both_ways_at_once():
    async with running_splicer() as bench:
        joined = await bench.join()
        results = {}

        async def send(stream, seed):
            dice, digest = random.Random(seed), hashlib.sha256()
            for _ in range(100):
                chunk = dice.randbytes(dice.choice([1, 100, 5000, 65536, 200_000, 1_000_000]))
                digest.update(chunk)
                await stream.send_all(chunk)
            await stream.send_eof()
            results["sent", seed] = digest.hexdigest()

        async def receive(stream, seed):
            results["received", seed], _ = await read_all(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, joined.client, 1)
            nursery.start_soon(receive, joined.server, 1)
            nursery.start_soon(send, joined.server, 2)
            nursery.start_soon(receive, joined.client, 2)
        assert results["sent", 1] == results["received", 1]
        assert results["sent", 2] == results["received", 2]


@pytest.mark.parametrize("size", [3, 300_000, 5 * MIB])
async def test_urgent_data_does_not_stall_the_stream(size):
    """A read stops short at the urgent mark (tcp(7)): that does not mean that nothing is left. FTP and telnet do this."""
    async with running_splicer() as bench:
        joined = await bench.join()
        sock = joined.client.socket._sock

        async def send():
            for data, flags in ((b"a" * size, 0), (b"!", socket.MSG_OOB), (b"b" * size, 0)):
                while data:
                    try:
                        data = data[sock.send(data, flags) :]
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(sock)

        received = b""
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                while received.count(b"b") < size:
                    received += await joined.server.receive_some()
            assert received.replace(b"!", b"") == b"a" * size + b"b" * size
            await joined.client.send_eof()
            assert await joined.server.receive_some() == b""


# Ends


@pytest.mark.parametrize("first", ["client", "server"])
async def test_a_half_close_travels_and_cuts_nothing(first):
    async with running_splicer() as bench:
        joined = await bench.join()
        one, other = in_order(joined, first)
        await one.send_all(b"last words")
        await one.send_eof()
        assert (await read_all(other))[1] == 10
        for _ in range(3):  # the kernel repeats EPOLLRDHUP with each edge; it ends nothing
            await other.send_all(b"answer" * 1000)
            await trio.testing.wait_all_tasks_blocked()
        await other.send_eof()
        assert (await read_all(one))[1] == 18_000
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == (first, "eof")


@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_reset_travels_as_a_reset(who):
    async with running_splicer() as bench:
        joined = await bench.join()
        one, other = in_order(joined, who)
        reset(one)
        await expect_reset(other)
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == (who, "reset")


async def test_a_reset_after_the_answer_travels_as_a_reset():
    """Whichever the splicer meets first, the reset in reading or in writing what the client still sends."""
    for _ in range(10):
        async with running_splicer() as bench:
            joined = await bench.join()
            await joined.server.send_all(b"answer")
            assert await joined.client.receive_some() == b"answer"
            await joined.client.send_all(b"more")
            reset(joined.server)
            await expect_reset(joined.client)
            assert joined.owner.ended == ("server", "reset")


@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_reset_reaches_a_stalled_side_after_what_was_sent_before(who):
    async with running_splicer() as bench:
        joined = await bench.join(buffer=64 * 1024)
        one, other = in_order(joined, who)
        sent = await send_until_blocked(one)
        reset(one)
        await trio.testing.wait_all_tasks_blocked()
        received = await expect_reset(other)
        assert 0 < len(received) <= sent
        assert joined.owner.ended == (who, "reset")


@pytest.mark.parametrize("first", ["client", "server"])
async def test_sides_that_are_reset_while_both_stall_are_both_noticed(first):
    """Neither direction can read any more: both writes fail."""
    async with running_splicer() as bench:
        joined = await bench.join(buffer=64 * 1024)
        one, other = in_order(joined, first)
        await send_until_blocked(one)
        await send_until_blocked(other)
        reset(one)
        await trio.testing.wait_all_tasks_blocked()
        reset(other)
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == (first, "reset")


async def test_a_closed_reader_resets_the_writer():
    """The client closes while the server still sends: the server must hear of it."""
    async with running_splicer() as bench:
        joined = await bench.join()
        await joined.client.aclose()
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(10):
            while True:
                await joined.server.send_all(bytes(MIB))
        await joined.owner.until(lambda owner: owner.ended)
        assert joined.owner.ended == ("client", "reset")


async def test_a_request_arrives_whole_though_its_sender_takes_no_answer():
    """Writing the answer fails while part of the request is unread: the error must not cost a byte of the request."""
    async with running_splicer() as bench:
        joined = await bench.join(buffer=4096)
        sent = await send_until_held(joined)
        await joined.client.aclose()
        await joined.server.send_all(b"answer")
        await trio.testing.wait_all_tasks_blocked()
        await joined.server.send_all(b"more of it")
        received = 0
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            while data := await joined.server.receive_some():
                received += len(data)
        assert joined.relay.bytes_in == sent
        assert received <= sent
        assert joined.owner.ended == ("client", "reset")


async def test_closing_a_relay_with_reset_is_seen_as_a_reset_on_both_sides():
    async with running_splicer() as bench:
        joined = await bench.join()
        joined.relay.close(reset=True)
        await expect_reset(joined.client)
        await expect_reset(joined.server)
        assert joined.owner.ended is None
        bench.forget(joined)


async def test_the_owner_hears_nothing_after_it_has_closed_the_relay():
    """Also if bytes or the end came in at the very same moment: trio wakes the tasks of one moment in any order."""
    for _ in range(10):
        witness, poke = socket.socketpair()
        with witness, poke:
            async with running_splicer() as bench:
                queue = bench.deadlines.queue("idle", 100)
                joined = [await bench.join(idle=100) for _ in range(4)]
                await trio.testing.wait_all_tasks_blocked()
                for number, each in enumerate(joined):
                    sock = each.client.socket._sock
                    sock.send(b"x")
                    if number % 2:
                        sock.shutdown(socket.SHUT_WR)
                        each.server.socket._sock.shutdown(socket.SHUT_WR)
                poke.send(b".")
                await trio.lowlevel.wait_readable(witness)
                closed = [each for each in joined if each.owner.ended is None]
                for each in closed:
                    each.relay.close(reset=False)
                await trio.testing.wait_all_tasks_blocked()
                assert len(queue) == 0
                for each in closed:
                    assert each.owner.ended is None
                    bench.forget(each)


# Deadlines


async def test_idle_connections_expire_and_busy_ones_do_not(autojump_clock):
    async with running_splicer() as bench:
        quiet, busy = await bench.join(idle=30), await bench.join(idle=30)
        for _ in range(5):
            await busy.client.send_all(b".")
            assert await busy.server.receive_some() == b"."
            await trio.sleep(20)
        assert quiet.owner.expirations == ["idle"]
        assert busy.owner.expirations == []
        await trio.sleep(20)
        assert busy.owner.expirations == ["idle"]


async def test_bytes_that_nobody_takes_are_no_sign_of_life(autojump_clock):
    """Idle with data outstanding: it expires, and the relay says that closing would cut something short."""
    async with running_splicer() as bench:
        joined, quiet = await bench.join(idle=30, buffer=64 * 1024), await bench.join(idle=30)
        autojump_clock.autojump_threshold = 1
        await send_until_blocked(joined.server)
        autojump_clock.autojump_threshold = 0
        await trio.sleep(31)
        assert joined.owner.expirations == ["idle"]
        assert joined.relay.holds_bytes
        assert quiet.owner.expirations == ["idle"]
        assert not quiet.relay.holds_bytes


async def test_a_flowing_answer_is_never_cut_by_the_half_close_timeout(autojump_clock):
    async with running_splicer() as bench:
        joined = await bench.join(idle=1000, half_close=10)
        await joined.client.send_eof()
        assert await joined.server.receive_some() == b""
        for _ in range(8):
            await trio.sleep(9)
            await joined.server.send_all(b".")
            assert await joined.client.receive_some() == b"."
        assert joined.owner.expirations == []
        await trio.sleep(11)
        assert joined.owner.expirations == ["half_close"]


# Pressure


async def test_a_reader_that_does_not_read_stops_the_writer():
    """Bounded memory: what is under way is what kernel buffers, one pipe and one buffer hold."""
    async with running_splicer() as bench:
        joined = await bench.join(buffer=64 * 1024)
        before = await send_until_blocked(joined.server)
        assert joined.relay.holds_bytes
        assert joined.relay.bytes_out < before <= joined.relay.bytes_out + 3 * MIB
        assert await send_until_blocked(joined.server) == 0, "it stays stopped"
        assert bench.descriptors.used <= 2, "one pipe"
        read = 0
        while read < before:
            read += len(await joined.client.receive_some())
        await joined.server.send_all(b"and on it goes")
        assert await joined.client.receive_some() == b"and on it goes"


async def test_a_fast_stream_does_not_starve_another_connection():
    """Counted in bytes, not in time: between ping and pong the stream gets a bounded share."""
    async with running_splicer() as bench:
        stream, pinging = await bench.join(), await bench.join()
        sender, receiver = (side.socket._sock for side in (stream.server, stream.client))
        for sock in (sender, receiver):
            sock.setblocking(True)

        def blast():
            block = bytes(MIB)
            for _ in range(400):
                sender.sendall(block)
            sender.shutdown(socket.SHUT_WR)

        def drain():
            buffer = bytearray(MIB)
            while receiver.recv_into(buffer):
                pass

        shares = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, blast)
            nursery.start_soon(trio.to_thread.run_sync, drain)
            while stream.relay.bytes_out < 300 * MIB:
                before = stream.relay.bytes_out
                await pinging.client.send_all(b"ping")
                assert await pinging.server.receive_some() == b"ping"
                shares.append(stream.relay.bytes_out - before)
        assert len(shares) > 4
        assert max(shares) < 100 * MIB


async def test_a_turn_moves_no_more_than_its_share(splicer_kind):
    if splicer_kind != "epoll":
        pytest.skip("the portable splicer has no turns of its own")
    async with running_splicer() as bench:
        joined = await bench.join()
        await send_until_blocked(joined.server)
        turns, turn = [], bench.splicer._turn

        def counted():
            before = joined.relay.bytes_out
            went_on = turn()
            turns.append(joined.relay.bytes_out - before)
            return went_on

        bench.splicer._turn = counted
        await joined.server.aclose()
        await read_all(joined.client)
        assert sum(turns) > 0
        assert max(turns) <= 6 * MIB, "three pumps a turn, each of one share and the pipe that went beyond it"


async def test_pipes_come_back_and_descriptors_are_given_back():
    async with running_splicer() as bench:
        before = open_descriptors()
        for _ in range(3):
            joined = await bench.join()

            async def send(joined=joined):
                await joined.server.send_all(bytes(20 * MIB))
                await joined.server.aclose()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                assert (await read_all(joined.client))[1] == 20 * MIB
            await joined.client.aclose()
            await joined.owner.until(lambda owner: owner.ended)
        assert bench.descriptors.used <= 2, "one idle pipe is kept, no more"
        assert open_descriptors() == before + bench.descriptors.used


async def test_bulk_goes_on_without_pipes():
    async with running_splicer(limit=0) as bench:
        joined = await bench.join()

        async def send():
            await joined.server.send_all(bytes(20 * MIB))
            await joined.server.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert (await read_all(joined.client))[1] == 20 * MIB
        assert bench.descriptors.used == 0


# Connecting


async def test_a_refused_connect_is_told():
    async with running_splicer() as bench:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            owner = Owner()
            bench.splicer.connect((socket.AF_INET, nobody.getsockname()), owner)
            await owner.until(lambda owner: owner.error)
        assert owner.error.errno == errno.ECONNREFUSED


async def test_a_connect_that_fails_at_once_raises_and_leaves_nothing():
    async with running_splicer() as bench:
        before = open_descriptors()
        with pytest.raises(FileNotFoundError):
            bench.splicer.connect((socket.AF_UNIX, "/nowhere/at/all"), Owner())
        assert open_descriptors() == before


async def test_a_cancelled_connect_is_not_told_and_leaves_nothing():
    async with running_splicer() as bench:
        before = open_descriptors()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            owner = Owner()
            bench.splicer.connect((socket.AF_INET, listening.getsockname()), owner).cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert (owner.server, owner.error) == (None, None)
        assert open_descriptors() == before


@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "0:0:0:0:0:0:0:1")],
)
async def test_a_socket_that_is_connected_with_itself_is_a_refused_connect(monkeypatch, family, host):
    """The kernel may pick the target's port for our own end; bound to it beforehand, it must."""
    bare = socket.SocketType

    class Bound(socket.socket):
        def connect_ex(self, target):
            self.bind(target)
            return super().connect_ex(target)

    with socket.socket(family) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    async with running_splicer() as bench:
        owner = Owner()
        monkeypatch.setattr(socket, "socket", Bound)
        monkeypatch.setattr(socket, "SocketType", Bound)
        bench.splicer.connect((family, (host, port)), owner)
        monkeypatch.undo()
        assert socket.SocketType is bare
        await owner.until(lambda owner: owner.error or owner.server)
        assert owner.error.errno == errno.ECONNREFUSED


# Bugs stay where they are


async def test_an_exception_ends_its_connection_only_and_looks_like_no_end(splicer_kind, monkeypatch):
    """Injected into the queue of one connection, which each byte touches."""

    class Boom(Exception):
        pass

    async with running_splicer() as bench:
        broken, sound = await bench.join(idle=1000), await bench.join(idle=2000)

        def touch(wait, now):
            raise Boom

        monkeypatch.setattr(bench.deadlines.queue("idle", 1000), "touch", touch)
        await broken.client.send_all(b"x")
        await expect_reset(broken.server)
        await expect_reset(broken.client)
        await broken.owner.until(lambda owner: owner.ended)
        assert broken.owner.ended == ("lb", "reset")
        ((_, exception),) = bench.faults
        bench.faults.clear()
        while isinstance(exception, ExceptionGroup):
            exception = exception.exceptions[0]
        assert isinstance(exception, Boom)
        await sound.client.send_all(b"ping")
        assert await sound.server.receive_some() == b"ping"


@pytest.mark.parametrize("call", ["connected", "relay_ended", "connect_failed"])
async def test_an_owner_that_raises_reaches_no_other_connection(call):
    async with running_splicer() as bench:
        sound, broken = await bench.join(), await bench.join()

        def boom(*args):
            raise RuntimeError("boom")

        if call == "relay_ended":
            broken.owner.relay_ended = boom
            reset(broken.client)
            await expect_reset(broken.server)
            broken.owner.ended = ("nobody", "knows")
        else:
            owner = Owner()
            setattr(owner, call, boom)
            with socket.socket() as server:
                server.bind(("127.0.0.1", 0))
                if call == "connected":
                    server.listen()
                bench.splicer.connect((socket.AF_INET, server.getsockname()), owner)
                await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert str(bench.faults[0][1]) == "boom"
        bench.faults.clear()
        await sound.client.send_all(b"ping")
        assert await sound.server.receive_some() == b"ping"


async def test_an_edge_of_a_closed_socket_reaches_nobody_else(splicer_kind):
    """Two relays become ready in one batch; the first one's edge closes the second, and opens sockets in its stead."""
    if splicer_kind != "epoll":
        pytest.skip("the portable splicer has no batches")
    async with running_splicer() as bench:
        joined = [await bench.join() for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        opened = []

        def ended(first, second):
            def relay_ended(ended_by, reason):
                first.owner.ended = (ended_by, reason)
                numbers = {second.relay.client.sock.fileno(), second.relay.server.sock.fileno()}
                second.relay.close(reset=False)
                fresh = socket.socketpair()
                assert numbers.isdisjoint(sock.fileno() for sock in fresh), "given out again within the batch"
                opened.extend(fresh)

            return relay_ended

        one, other = joined
        one.owner.relay_ended, other.owner.relay_ended = ended(one, other), ended(other, one)
        for each in joined:
            reset(each.client)
        await trio.testing.wait_all_tasks_blocked()
        assert len(opened) == 2, "the second edge of the batch found its relay closed"
        for each in joined:
            each.owner.ended = each.owner.ended or ("nobody", "knows")
        for sock in opened:
            sock.close()


# Accepting


class Listening(socket.socket):
    """A listening socket whose accept fails with each of ``errors`` first."""

    def __init__(self):
        super().__init__()
        self.errors = []
        self.calls = 0
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.setblocking(False)

    def _accept(self):
        self.calls += 1
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, "as the test wants it")
        return super()._accept()


class Clients:
    """Listens over a splicer and keeps what it is given."""

    def __init__(self, bench, listening):
        self.accepted = []
        self.exhausted = []
        self.allowed = 1000
        self.acceptor = bench.splicer.listen(
            listening,
            may_accept=lambda: len(self.accepted) < self.allowed,
            accepted=lambda sock, peer: self.accepted.append(sock),
            exhausted=self.exhausted.append,
        )

    def close(self):
        for sock in self.accepted:
            sock.close()


@pytest.fixture
async def bench(splicer_kind):
    async with running_splicer() as bench:
        yield bench


@pytest.fixture
async def accepting(bench):
    """A splicer that listens, with its clients; all is closed at the end."""
    with Listening() as listening:
        clients = Clients(bench, listening)
        yield listening, clients
        clients.acceptor.close()
        clients.close()


def knock(listening, times=1):
    callers = []
    for _ in range(times):
        callers.append(socket.create_connection(listening.getsockname()))
    return callers


def hang_up(callers):
    for caller in callers:
        caller.close()


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN])
async def test_a_client_that_is_gone_before_it_is_accepted_costs_nothing(autojump_clock, accepting, number):
    listening, clients = accepting
    listening.errors = [number] * 3
    start = trio.current_time()
    callers = knock(listening, 2)
    await trio.testing.wait_all_tasks_blocked()
    assert len(clients.accepted) == 2
    assert clients.exhausted == []
    assert trio.current_time() == start, "no pause"
    hang_up(callers)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_out_of_descriptors_pauses_and_goes_on_by_itself(autojump_clock, accepting, number):
    listening, clients = accepting
    listening.errors = [number] * 10
    callers = knock(listening, 3)
    start = trio.current_time()
    await trio.sleep(5)
    assert len(clients.accepted) == 3
    assert [error.errno for error in clients.exhausted] == [number] * 10
    assert listening.calls <= 10 + 3 + 1
    assert trio.current_time() - start >= 10 * 0.1, "a pause after each"
    hang_up(callers)


async def test_an_unknown_accept_error_is_a_fault_and_the_listener_goes_on(autojump_clock, bench, accepting):
    listening, clients = accepting
    listening.errors = [errno.EBADE] * 2
    callers = knock(listening)
    await trio.sleep(5)
    assert [exception.errno for _, exception in bench.faults] == [errno.EBADE] * 2
    bench.faults.clear()
    assert len(clients.accepted) == 1
    hang_up(callers)


async def test_a_client_that_cannot_be_taken_in_is_a_fault_and_the_listener_goes_on(autojump_clock, bench):
    taken = []

    def accepted(sock, peer):
        taken.append(sock)
        if len(taken) == 1:
            raise RuntimeError("boom")

    with Listening() as listening:
        acceptor = bench.splicer.listen(
            listening, may_accept=lambda: True, accepted=accepted, exhausted=lambda error: None
        )
        callers = knock(listening, 2)
        await trio.sleep(5)
        assert [str(exception) for _, exception in bench.faults] == ["boom"]
        bench.faults.clear()
        assert len(taken) == 2
        acceptor.close()
        hang_up(callers + taken)


async def test_clients_wait_in_the_backlog_until_they_may_be_accepted(accepting):
    listening, clients = accepting
    clients.allowed = 1
    callers = knock(listening, 3)
    await trio.testing.wait_all_tasks_blocked()
    assert len(clients.accepted) == 1
    clients.allowed = 2
    clients.acceptor.resume()
    await trio.testing.wait_all_tasks_blocked()
    assert len(clients.accepted) == 2
    clients.allowed = 3
    clients.acceptor.resume()
    await trio.testing.wait_all_tasks_blocked()
    assert len(clients.accepted) == 3
    hang_up(callers)


async def test_closing_takes_the_clients_in_that_wait(bench):
    with Listening() as listening:
        clients = Clients(bench, listening)
        callers = knock(listening, 3)
        clients.acceptor.close()
        assert len(clients.accepted) == 3
        assert listening.fileno() == -1
        clients.close()
        hang_up(callers)


async def test_closing_stops_at_what_may_be_accepted_and_survives_faults(bench):
    with Listening() as listening:
        clients = Clients(bench, listening)
        clients.allowed = 2
        callers = knock(listening, 5)
        clients.acceptor.close()
        assert len(clients.accepted) == 2
        clients.close()
        hang_up(callers)
    with Listening() as listening:
        clients = Clients(bench, listening)
        listening.errors = [errno.EBADE]
        callers = knock(listening)
        clients.acceptor.close()
        assert listening.fileno() == -1
        assert [exception.errno for _, exception in bench.faults] == [errno.EBADE]
        bench.faults.clear()
        clients.close()
        hang_up(callers)


async def test_a_socket_that_is_let_go_serves_somebody_else(bench):
    with Listening() as listening:
        first = Clients(bench, listening)
        await trio.testing.wait_all_tasks_blocked()
        callers = knock(listening)
        first.acceptor.detach()
        first.acceptor.resume()
        second = Clients(bench, listening)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(first.accepted), len(second.accepted)) == (0, 1)
        second.acceptor.close()
        second.close()
        hang_up(callers)
