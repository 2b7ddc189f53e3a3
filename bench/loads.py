"""What is done to a balancer: requests, connections, transfers, connections that only stay."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
from backends import LARGE, TOTAL
from processes import HOST

__all__ = ["Work", "download", "idle_connections", "pings", "upload", "wrk"]

CONNECTIONS = 32
SCRIPT = Path(__file__).with_name("report.lua")
ERRORS = ("connect", "read", "write", "status", "timeout")
CHUNK = bytes(256 * 1024)
SMALL_REQUEST = b"GET /small HTTP/1.1\r\nHost: bench\r\n\r\n"
PATIENCE = 30.0
"""Seconds without progress after which a transfer has failed."""


@attrs.frozen
class Work:
    """What was done in ``seconds``, and what went wrong, in words."""

    count: int
    seconds: float
    problems: tuple[str, ...] = ()


def wrk(port: int, path: str, seconds: int, *, close: bool = False) -> Work:
    """Requests over 32 connections, with ``close`` each over a connection of its own."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "5s", "-s", str(SCRIPT)]
    if close:
        command += ["-H", "Connection: close"]
    done = subprocess.run([*command, f"http://{HOST}:{port}{path}"], check=True, capture_output=True, text=True)
    figures = done.stdout.rpartition("RESULT ")[2].split()
    requests, microseconds, *errors = map(int, figures)
    problems = [f"{count} {kind} errors" for kind, count in zip(ERRORS, errors, strict=True) if count]
    if not requests:
        problems.append("no request was answered")
    return Work(requests, microseconds / 1e6, tuple(problems))


def download(port: int, times: int) -> Work:
    """Fetch ``/large`` so many times, each over its own connection. Counts bytes."""
    buffer = bytearray(len(CHUNK))
    request = b"GET /large HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
    started = time.perf_counter()
    total = 0
    for _ in range(times):
        with socket.create_connection((HOST, port), PATIENCE) as connection:
            connection.sendall(request)
            head = connection.recv(4096)
            total += len(head.partition(b"\r\n\r\n")[2])
            while count := connection.recv_into(buffer):
                total += count
    seconds = time.perf_counter() - started
    missing = times * LARGE - total
    return Work(total, seconds, (f"{missing} bytes are missing",) if missing else ())


def upload(port: int, size: int) -> Work:
    """Send so many bytes to the sink, and hear how many came. Counts bytes."""
    started = time.perf_counter()
    with socket.create_connection((HOST, port), PATIENCE) as connection:
        for start in range(0, size, len(CHUNK)):
            connection.sendall(CHUNK[: size - start])
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(TOTAL.size, socket.MSG_WAITALL)
    seconds = time.perf_counter() - started
    total = TOTAL.unpack(answer)[0] if len(answer) == TOTAL.size else 0
    return Work(total, seconds, (f"{size - total} bytes are missing",) if size != total else ())


def pings(port: int, times: int) -> list[float]:
    """One request after the other over one connection: the seconds that each took, in ascending order."""
    taken = []
    with socket.create_connection((HOST, port), PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer_size = _small_request(connection)
        for _ in range(times):
            started = time.perf_counter()
            connection.sendall(SMALL_REQUEST)
            received = 0
            while received < answer_size:
                received += len(_received(connection))
            taken.append(time.perf_counter() - started)
    return sorted(taken)


@contextlib.contextmanager
def idle_connections(port: int, count: int) -> Iterator[None]:
    """Hold so many connections open, each after one request."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            _small_request(stack.enter_context(socket.create_connection((HOST, port), PATIENCE)))
        yield


def _small_request(connection: socket.socket) -> int:
    """Ask once; returns the bytes of the whole answer."""
    connection.sendall(SMALL_REQUEST)
    answer = _received(connection)
    while not answer.endswith(b"\r\n\r\nok"):
        answer += _received(connection)
    return len(answer)


def _received(connection: socket.socket) -> bytes:
    """Raises ConnectionError at the end of the stream: the other side should have kept it open."""
    data = connection.recv(4096)
    if not data:
        raise ConnectionError("an idle connection was closed")
    return data
