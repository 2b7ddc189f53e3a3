"""Loads for a balancer: requests, connections, transfers, idle connections."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import multiprocessing
import os
import re
import select
import socket
import subprocess
import time
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

import attrs
from backends import LARGE, TOTAL
from certificate import SERVER_NAME
from clients import PATIENCE, PLAIN, Client
from processes import HOST, give_way

__all__ = [
    "Downloads",
    "SlowHeads",
    "Work",
    "download",
    "downloads",
    "h2load",
    "http2_connections",
    "http_upload",
    "idle_connections",
    "ping_pong",
    "pings",
    "requests",
    "scrape",
    "scraper",
    "slow_heads",
    "upload",
    "wrk",
]

CONNECTIONS = 32
SCRIPT = Path(__file__).with_name("report.lua")
ERRORS = ("connect", "read", "write", "status", "timeout")
CHUNK = 256 * 1024
SMALL_REQUEST = b"GET /small HTTP/1.1\r\nHost: bench\r\n\r\n"
PART_OF_A_HEAD = b"GET /small HTTP/1.1\r\nHost: bench\r\nX-Slow: " + b"a" * 100
H2LOAD = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")
HTTP2_REQUEST = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    b"\0\0\0\4\0\0\0\0\0"  # SETTINGS
    b"\0\0\x11\1\5\0\0\0\1"  # HEADERS of a whole request on stream 1
    b"\x82\x86\x04\x06/small\x41\x05bench"  # GET, http, the path, the host
)
FLOWING = 10_000_000
"""Bytes after which a download runs at full speed: buffers and windows have grown."""


@attrs.frozen
class Work:
    """Units of work done in ``seconds``, and the errors as text."""

    count: int
    seconds: float
    problems: tuple[str, ...] = ()

    def cost(self, cpu: float) -> float | None:
        """Return the part of ``cpu`` that each unit took. None: nothing was done, or there is no balancer."""
        return cpu / self.count if cpu and self.count else None


def wrk(
    port: int, path: str, seconds: int, *, close: bool = False, tls: bool = False, vary: str = "", server: int = 0
) -> Work:
    """Run wrk with 32 connections; with ``close``, each request has its own connection.

    With ``tls``, it resumes the last TLS session of a connection if the peer can. ``vary`` is what differs between
    requests: "browsers" (the heads of four, in turn), "urls" (the query), "paths /a /b" (these paths, in turn), or
    nothing; or "proxied": all have the URL of this ``server``.
    """
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "5s", "-s", str(SCRIPT)]
    if close:
        command += ["-H", "Connection: close"]
    origin = f"https://{SERVER_NAME}" if tls else f"http://{HOST}"
    done = subprocess.run(
        [*command, f"{origin}:{port}{path}", vary, f"{HOST}:{server}"], check=True, capture_output=True, text=True
    )
    figures = done.stdout.rpartition("RESULT ")[2].split()
    requests, microseconds, *errors = map(int, figures)
    problems = [f"{count} {kind} errors" for kind, count in zip(ERRORS, errors, strict=True) if count]
    if not requests:
        problems.append("no responses")
    return Work(requests, microseconds / 1e6, tuple(problems))


def h2load(
    port: int,
    path: str,
    *,
    tls: bool = False,
    seconds: int = 0,
    requests: int = 1,
    connections: int = 1,
    streams: int = 1,
    fields: Sequence[str] = (),
    body: Path | None = None,
) -> Work:
    """Run h2load for ``seconds``, or for so many ``requests``. Counts responses.

    ``fields``: as ``name: value``. With a ``body``, which is a file, the requests are POST.
    """
    amount = [f"--duration={seconds}"] if seconds else [f"--requests={requests}"]
    windows = ["--window-bits=24", "--connection-window-bits=25"]
    command = ["h2load", *amount, f"--clients={connections}", f"--max-concurrent-streams={streams}", *windows]
    command += [f"--header={field}" for field in fields]
    if body is not None:
        command.append(f"--data={body}")
    url = f"{'https' if tls else 'http'}://{HOST}:{port}{path}"
    started = time.perf_counter()
    done = subprocess.run([*command, url], check=True, capture_output=True, text=True)
    passed = time.perf_counter() - started
    figures = H2LOAD.search(done.stdout)
    if figures is None:
        return Work(0, passed, ("h2load says nothing",))
    succeeded, *problems = map(int, figures.groups())
    kinds = zip(("failed", "errored", "timed out"), problems, strict=True)
    return Work(succeeded, float(seconds or passed), tuple(f"{count} {kind}" for kind, count in kinds if count))


@contextlib.contextmanager
def http2_connections(port: int, count: int) -> Iterator[None]:
    """Hold ``count`` connections of HTTP/2 open, each after one request."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(PLAIN.connect(port))
            connection.sendall(HTTP2_REQUEST)
            received = b""
            while not received.endswith(SMALL_BODY):
                received += _received(connection)
        yield


def requests(port: int, seconds: float, client: Client) -> Work:
    """Send small requests over 32 kept connections, which wrk does for those without a tunnel."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(client.connect(port)) for _ in range(CONNECTIONS)]
        sizes = set(map(_small_request, connections))
        ready = stack.enter_context(select.epoll())
        for connection in connections:
            ready.register(connection, select.EPOLLIN)
            connection.sendall(SMALL_REQUEST)
        count, started = 0, time.perf_counter()
        while (seconds_passed := time.perf_counter() - started) < seconds:
            for descriptor, _ in ready.poll(PATIENCE):
                size = len(os.read(descriptor, 4096))
                if size not in sizes:
                    return Work(count, seconds_passed, (f"an answer has {size} bytes, not {sizes}",))
                os.write(descriptor, SMALL_REQUEST)
                count += 1
    return Work(count, seconds_passed, () if count else ("no responses",))


def download(port: int, path: str, times: int, client: Client = PLAIN) -> Work:
    """Fetch a large response ``times`` times, each over its own connection. Counts bytes.

    Without TLS, the kernel discards the bytes (MSG_TRUNC of tcp(7)): a busy client would slow down the balancer.
    """
    buffer, flags = bytearray(CHUNK), 0 if client.tls else socket.MSG_TRUNC
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
    started = time.perf_counter()
    total = 0
    for _ in range(times):
        with client.connect(port) as connection:
            connection.sendall(request)
            head = connection.recv(4096)
            while head and b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            total += len(head.partition(b"\r\n\r\n")[2])
            while count := connection.recv_into(buffer, 0, flags):
                total += count
    seconds = time.perf_counter() - started
    missing = times * LARGE - total
    return Work(total, seconds, (f"{missing} bytes are missing",) if missing else ())


def upload(port: int, size: int, file: Path | None = None) -> Work:
    """Send ``size`` bytes to the sink; it replies with the number received. Counts bytes.

    Sends the file repeatedly by sendfile; without a file, a small buffer repeatedly by send.
    """
    started = time.perf_counter()
    with socket.create_connection((HOST, port), PATIENCE) as connection:
        if file is None:
            _send_copies(connection, size)
        else:
            _send_file(connection, size, file)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(TOTAL.size, socket.MSG_WAITALL)
    seconds = time.perf_counter() - started
    total = TOTAL.unpack(answer)[0] if len(answer) == TOTAL.size else 0
    return Work(total, seconds, (f"{size - total} bytes are missing",) if size != total else ())


def http_upload(port: int, size: int, file: Path) -> Work:
    """Send the file repeatedly by sendfile, as the body of one request; the response has the number received."""
    started = time.perf_counter()
    with socket.create_connection((HOST, port), PATIENCE) as connection:
        connection.sendall(b"PUT / HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % size)
        _send_file(connection, size, file)
        head, _, body = connection.recv(4096).partition(b"\r\n\r\n")
    seconds = time.perf_counter() - started
    whole = head.startswith(b"HTTP/1.1 200 ") and body == b"%d" % size
    return Work(size, seconds, () if whole else (f"the answer is {head[:20]!r} … {body[:20]!r}",))


def _send_copies(connection: socket.socket, size: int) -> None:
    chunk = bytes(CHUNK)
    for start in range(0, size, CHUNK):
        connection.sendall(chunk[: size - start])


def _send_file(connection: socket.socket, size: int, path: Path) -> None:
    with path.open("rb") as file:
        while size:
            size -= connection.sendfile(file, 0, min(size, LARGE))


@attrs.frozen
class Downloads:
    """Endless downloads, each in its own process, with their byte counters."""

    counters: tuple[ctypes.c_uint64, ...]
    processes: tuple[BaseProcess, ...]

    def total(self) -> int:
        """Return the bytes received so far by all."""
        return sum(counter.value for counter in self.counters)

    def problems(self) -> tuple[str, ...]:
        ended = sum(not process.is_alive() for process in self.processes)
        return (f"{ended} downloads ended",) if ended else ()


@contextlib.contextmanager
def downloads(port: int, count: int) -> Iterator[Downloads]:
    """Run ``count`` clients that receive from the source. All are at full speed when the block is entered.

    They need little CPU, as the kernel discards the bytes (MSG_TRUNC of tcp(7)), and have idle priority.
    """
    context = multiprocessing.get_context("fork")
    flowing = context.Barrier(count + 1)
    counters = tuple(context.RawValue(ctypes.c_uint64) for _ in range(count))
    readers = tuple(
        context.Process(target=_receive_all, args=(port, counter, flowing), daemon=True) for counter in counters
    )
    for reader in readers:
        reader.start()
    try:
        flowing.wait(PATIENCE)
        yield Downloads(counters, readers)
    finally:
        for reader in readers:
            reader.terminate()
            reader.join()


def _receive_all(port: int, counter: ctypes.c_uint64, flowing: Barrier) -> None:
    give_way()
    buffer = bytearray(CHUNK)
    with socket.create_connection((HOST, port)) as connection:
        while counter.value < FLOWING:
            counter.value += _receive_discarded(connection, buffer)
        flowing.wait(PATIENCE)
        while True:
            counter.value += _receive_discarded(connection, buffer)


def _receive_discarded(connection: socket.socket, buffer: bytearray) -> int:
    """Receive and discard; return the number of bytes. Raises ConnectionError at the end of the stream."""
    count = connection.recv_into(buffer, 0, socket.MSG_TRUNC)
    if not count:
        raise ConnectionError("the source ended")
    return count


SMALL_BODY = b"ok"


def ping_pong(port: int, client: Client = PLAIN) -> Generator[float, None, None]:
    """Send requests one after the other over one connection; yield the seconds of each, without end."""
    with client.connect(port) as connection:
        _small_request(connection)
        while True:
            started = time.perf_counter()
            connection.sendall(SMALL_REQUEST)
            while not _received(connection).endswith(SMALL_BODY):  # heads of a cache differ in length
                pass
            yield time.perf_counter() - started


def pings(port: int, seconds: float) -> list[float]:
    """Return the seconds of each request during ``seconds`` of ping-pong, in ascending order."""
    until = time.perf_counter() + seconds
    with contextlib.closing(ping_pong(port)) as waits:
        return sorted([next(waits), *itertools.takewhile(lambda _: time.perf_counter() < until, waits)])


def scrape(admin: Path, path: str = "/metrics") -> bytes:
    """Request the metrics as Prometheus does, or another path; return the response."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(admin))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            return answer.read()


@contextlib.contextmanager
def scraper(admin: Path, times: int) -> Iterator[BaseProcess]:
    """Read metrics and status in turn, this many times each, in a process with idle priority; yield the process."""
    process = multiprocessing.get_context("fork").Process(target=_scrape_all, args=(admin, times), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        process.join()


def _scrape_all(admin: Path, times: int) -> None:
    give_way()
    for path in ("/metrics", "/api/v1/status") * times:
        if not scrape(admin, path).startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"{path} was not answered")


@contextlib.contextmanager
def idle_connections(port: int, count: int, client: Client = PLAIN) -> Iterator[None]:
    """Hold ``count`` connections open, each after one request."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            _small_request(stack.enter_context(client.connect(port)))
        yield


@attrs.frozen
class SlowHeads:
    """Connections whose clients send the head of a request byte by byte."""

    connections: tuple[socket.socket, ...]

    def drip(self) -> Iterator[None]:
        """Send one byte on one of them at each step, without end."""
        for connection in itertools.cycle(self.connections):
            connection.send(b"a")
            yield


@contextlib.contextmanager
def slow_heads(port: int, count: int) -> Iterator[SlowHeads]:
    """Hold ``count`` connections open, each with a part of a head."""
    with contextlib.ExitStack() as stack:
        connections = tuple(stack.enter_context(PLAIN.connect(port)) for _ in range(count))
        for connection in connections:
            connection.sendall(PART_OF_A_HEAD)
        yield SlowHeads(connections)


def _small_request(connection: socket.socket) -> int:
    """Send one request; return the size of the whole response."""
    connection.sendall(SMALL_REQUEST)
    answer = _received(connection)
    while not answer.endswith(b"\r\n\r\nok"):
        answer += _received(connection)
    return len(answer)


def _received(connection: socket.socket) -> bytes:
    """Receive bytes. Raises ConnectionError at the end of the stream: the peer should keep it open."""
    data = connection.recv(4096)
    if not data:
        raise ConnectionError("the peer closed a connection that should stay open")
    return data
