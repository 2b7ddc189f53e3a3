"""``python -m chaos.http_fuzz``: garbage from clients and from a server, and what honest clients notice: nothing.

Fuzzed clients and honest ones share the listener, the server ``good`` and the connections to it. The server ``bad``
answers with mutated responses. Exit code 1 if a process dies, an event ``fault`` comes, or an honest request fails.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs
import trio

from chaos.balancer import RunningBalancer
from chaos.http_clients import HTTP_KINDS, RESETS, HttpClients
from chaos.judge import fates, judge
from chaos.ledger import Ledger
from chaos.outside import ProcessStats
from chaos.servers import ServerProcess
from chaos.verdict import Line, of_processes, table

__all__ = ["FuzzOutcome", "fuzz", "fuzz_lines", "mutated_message"]

HONEST, FUZZED = 6, 24
"""Concurrent clients of each kind."""
DESCRIPTORS = 1024
PATIENCE = 0.2
"""Maximum seconds that a fuzzed client, or the fuzzed server, waits for something."""
CONFIG = """\
[process]
workers = 2
stop_timeout = "5s"
[listeners.www]
mode = "http"
bind = "127.0.0.1:0"
pool = "good"
header_timeout = "2s"
keep_alive = "5s"
idle_timeout = "5s"
[[listeners.www.routes]]
path = "/bad"
pool = "bad"
compress = true
[pools.good]
health = false
servers = ["$good"]
http = { keep_alive_timeout = "1s" }
[pools.bad]
health = false
servers = ["$bad"]
passive = { failures = 0 }
http = { keep_alive_timeout = "1s", response_timeout = "1s", retry_on = ["reset", "timeout", "502", "503", "504"] }
"""
TRAILER = b"X-Trailer: 1\r\n"
CHUNKED_BODY = b"5;a=b\r\nhello\r\n3\r\nyou\r\n0\r\n" + TRAILER + b"\r\n"
REQUESTS = (
    b"GET /bad/1?q HTTP/1.1\r\nHost: www.example.com\r\nAccept-Encoding: gzip, br\r\nCookie: a=b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: fuzz\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: www.example.com:8080\r\nContent-Length: 12\r\n\r\nhello, world",
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n" + CHUNKED_BODY,
    b"POST /bad HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /bad/socket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HEAD http://www.example.com/%7Ea/../b HTTP/1.1\r\nHost: www.example.com\r\nRange: bytes=0-1\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    *(b"GET /bad/%d HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n" % number for number in range(3)),
    b"GET /bad HTTP/1.0\r\n\r\n",
    b"PUT /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
)
RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_BODY,
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
    b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 77\r\n\r\n',
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
    b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 1\r\n\r\nbusy",
    b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No Content\r\n\r\n",
)
PIECES = (
    *(bytes([byte]) for byte in (0, 9, 10, 13, 32, 34, 44, 58, 59, 92, 127, 255)),
    *(b"\r\n", b"\r\n ", b"\r\n\r\n", b" :", b"%00", b"..", b"-1", b"99999999999999999999", b"0x5", b"f\r\n"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Upgrade: h2c\r\n"),
    *(b"Host: b\r\n", b"Expect: 100-continue\r\n", b"a" * 9_000, b"A: b\r\n" * 200, b"HTTP/1.1 200 OK\r\n\r\n"),
)


def mutated_message(rng: random.Random, messages: tuple[bytes, ...]) -> bytes:
    """Return one of the messages with up to four changes, or sometimes only garbage."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randint(1, 3_000))
    data = rng.choice(messages)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.choice((0, 0, 1, 1, 5, 40)))
        middle = rng.choice((b"", rng.choice(PIECES), rng.randbytes(1), data[start:end] * 2))
        data = data[:start] + middle + data[end:]
    return data


class FuzzedPeer:
    """Sends mutated messages, as a client or as a server."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.count = 0
        """Messages sent."""

    async def visit(self, port: int) -> None:
        """Be a client of one connection: send requests, with or without reading the responses."""
        with suppress(OSError), trio.socket.socket() as sock:
            await sock.connect(("127.0.0.1", port))
            stream = trio.SocketStream(sock)
            with suppress(trio.BrokenResourceError):
                for _ in range(self._rng.randint(1, 4)):
                    await self._send(stream, REQUESTS)
                    if self._rng.random() < 0.7:
                        with trio.move_on_after(self._rng.uniform(0, PATIENCE)):
                            await stream.receive_some()
            self._end(stream)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Be the server of one connection: answer what comes with responses, or something of the kind."""
        async with stream:
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some() and self._rng.random() < 0.9:
                    await self._send(stream, RESPONSES)
            self._end(stream)

    async def _send(self, stream: trio.SocketStream, messages: tuple[bytes, ...]) -> None:
        """Send a message, in up to three pieces."""
        data = mutated_message(self._rng, messages)
        self.count += 1
        for at in sorted(self._rng.randint(0, len(data)) for _ in range(self._rng.choice((0, 0, 1, 2)))):
            await stream.send_all(data[:at])
            await trio.sleep(0.001)
            data = data[at:]
        await stream.send_all(data)

    def _end(self, stream: trio.SocketStream) -> None:
        if self._rng.random() < 0.3:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)


@attrs.define
class FuzzOutcome:
    """The result besides the ledger."""

    requests: int = 0
    """Messages of fuzzed clients."""
    responses: int = 0
    """Messages of the fuzzed server."""
    deaths: int = 0
    exit_code: int | None = None
    before: dict[str, ProcessStats] = attrs.field(factory=dict)
    after: dict[str, ProcessStats] = attrs.field(factory=dict)


async def fuzz(ledger: Ledger, seed: int, seconds: float) -> FuzzOutcome:
    """Fuzz for some seconds. Raises chaos.balancer.BrokenError if the balancer does not start or stop."""
    rng = random.Random(seed)
    clients, server = FuzzedPeer(rng), FuzzedPeer(rng)
    good = ServerProcess("good", partial(ledger.report, "good"))
    outcome = FuzzOutcome()
    with tempfile.TemporaryDirectory(prefix="lb-fuzz-") as folder:
        async with trio.open_nursery() as nursery:
            await good.start(nursery)
            (listener,) = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
            bad = listener.socket.getsockname()[1]
            addresses = {"good": f"127.0.0.1:{good.port}", "bad": f"127.0.0.1:{bad}"}
            balancer = RunningBalancer(Path(folder), ledger, addresses)
            try:
                await balancer.start(nursery, CONFIG, DESCRIPTORS)
                honest = HttpClients(ledger, balancer.ports["www"], seed)
                for kind in HTTP_KINDS:
                    await honest.session(kind)
                outcome.before = await balancer.calm_stats()
                await _run(honest, partial(clients.visit, balancer.ports["www"]), seconds)
                await balancer.records()
                outcome.after = await balancer.settled_stats(outcome.before)
                outcome.exit_code = await balancer.stop()
                outcome.deaths = balancer.counts["worker.died"]
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    balancer.kill()
                    await good.kill()
    outcome.requests, outcome.responses = clients.count, server.count
    return outcome


async def _run(honest: HttpClients, visit: Callable[[], object], seconds: float) -> None:
    over = trio.Event()

    async def fuzz_on() -> None:
        while not over.is_set():
            await visit()  # type: ignore[misc]  # an async function

    async with trio.open_nursery() as nursery:
        for _ in range(HONEST):
            nursery.start_soon(honest.one_after_another, over)
        for _ in range(FUZZED):
            nursery.start_soon(fuzz_on)
        await trio.sleep(seconds)
        over.set()


def fuzz_lines(ledger: Ledger, outcome: FuzzOutcome) -> list[Line]:
    """Return the results of all checks."""
    violations = judge(ledger)
    failed = [
        f"request {session.number}: {session.failure}"
        for session in ledger.sessions.values()
        if session.failure is not None
    ]
    results = ", ".join(f"{count} {result}" for result, count in fates(ledger).most_common())
    sent = f"{outcome.requests} from clients, {outcome.responses} from the server"
    return [
        Line(
            f"no process dies of mutated messages ({sent})",
            f"{outcome.deaths} workers died, exit code {outcome.exit_code}",
            () if (outcome.deaths, outcome.exit_code) == (0, 0) else ("a process died",),
        ),
        Line("every honest request gets its response, with one record", results, (*violations, *failed)),
        *of_processes(outcome.before, outcome.after),
    ]


def main() -> int:
    """Run the command and return the exit code."""
    parser = argparse.ArgumentParser(prog="chaos.http_fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    ledger = Ledger()
    results = fuzz_lines(ledger, trio.run(fuzz, ledger, options.seed, options.seconds))
    print(table(results))
    return 1 if any(line.wrong for line in results) else 0


if __name__ == "__main__":
    sys.exit(main())
