"""Attacks on the balancer by clients without any rights, and what an honest client of another listener notices.

    python -m chaos.attacks [--only NAME] [--workers N] [--haproxy] [--seconds N]

Each attack runs for some seconds against a balancer of its own. Meanwhile one client measures its echoes through a
plain listener, and in turn those of the echo server without the balancer: what both show is the machine's doing, not
the balancer's. The attackers have a low priority, so they take little CPU that anything else wants. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import multiprocessing
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from lb.tls.openssl import openssl

__all__ = [
    "ATTACKS",
    "TlsStream",
    "certificate",
    "client_hello",
    "key_updates",
    "proxy_header",
    "tiny_records",
    "update_keys",
]

HOST = "127.0.0.1"
HELLOS, HEADERS, STREAMS = 3_000, 1_500, 300
"""Connections of the attacks: ClientHellos, PROXY headers, TLS streams."""
STREAM_BYTES = 64 * 1024
"""Bytes that each of the TLS streams sends."""
PATIENCE = 60.0
"""Timeout in seconds of anything that should be immediate. An estimate for a busy machine."""
PAUSE = 0.001
"""Seconds between two echoes."""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
KEY_UPDATE_REQUESTED = 1
"""SSL_KEY_UPDATE_REQUESTED of openssl/ssl.h."""


# The bytes


def _client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def client_hello(name: str = "localhost") -> bytes:
    """Return a usual ClientHello of TLS 1.3. A server answers it with its whole handshake, however often it comes."""
    outgoing = ssl.MemoryBIO()
    connection = _client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def proxy_header(size: int, tlv: int) -> bytes:
    """Return a PROXY header of version 2 with ``size`` bytes after the fixed part: TLVs of ``tlv`` bytes, type NOOP."""
    addresses = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 54_321, 443)
    tlvs = b""
    while (left := size - len(addresses) - len(tlvs)) >= 3:
        length = min(tlv, left) if left - tlv >= 3 or left <= tlv else left
        tlvs += struct.pack("!BH", 4, length - 3) + bytes(length - 3)
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11, len(addresses) + len(tlvs)) + addresses + tlvs


class TlsStream:
    """A client's TLS connection on a blocking socket, for records that Python's ssl does not send."""

    def __init__(self, sock: socket.socket, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = _client_context(version).wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        done = False
        while not done:
            try:
                self._object.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            sock.sendall(self._outgoing.read())
            if not done:
                received = sock.recv(65536)
                if not received:
                    raise ConnectionError("closed during the handshake")
                self._incoming.write(received)

    def sealed(self, data: bytes) -> bytes:
        """Return a record with these bytes."""
        self._object.write(data)
        return self._outgoing.read()

    def key_update(self) -> bytes:
        """Return a KeyUpdate that asks for an answer, RFC 8446, 4.6.3."""
        update_keys(self._object)
        return self._outgoing.read()


def update_keys(connection: ssl.SSLObject) -> None:
    """Let a connection send a KeyUpdate that asks for an answer, RFC 8446, 4.6.3. Python's ssl has no call for it."""
    calls = openssl()
    assert calls is not None
    pointer, library = calls._pointer(connection), calls._library  # noqa: SLF001
    library.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.SSL_do_handshake.argtypes = [ctypes.c_void_p]
    library.SSL_key_update(pointer, KEY_UPDATE_REQUESTED)
    library.SSL_do_handshake(pointer)


def key_updates(stream: TlsStream) -> bytes:
    """Return STREAM_BYTES of KeyUpdates."""
    return _repeated(stream.key_update)


def tiny_records(stream: TlsStream) -> bytes:
    """Return STREAM_BYTES of records with one byte of the stream each."""
    return _repeated(lambda: stream.sealed(b"x"))


def _repeated(record: Callable[[], bytes]) -> bytes:
    first = record()
    return first + b"".join(record() for _ in range(STREAM_BYTES // len(first) - 1))


# The attacks. Each runs for ever in a process of its own


def flood(port: int, count: int, message: bytes) -> None:
    """Open connections, then send the message on all of them at once, and wait until they have an answer or an end."""
    while True:
        with contextlib.ExitStack() as stack:
            poll = select.epoll()
            stack.callback(poll.close)
            waiting = {}
            for _ in range(count):
                sock = stack.enter_context(socket.create_connection((HOST, port), PATIENCE))
                sock.setblocking(False)
                waiting[sock.fileno()] = sock
            for sock in waiting.values():
                with contextlib.suppress(OSError):
                    sock.send(message)
            for fd in waiting:
                poll.register(fd, select.EPOLLIN)
            until = time.monotonic() + PATIENCE
            while waiting and time.monotonic() < until:
                for fd, _ in poll.poll(1):
                    poll.unregister(fd)
                    del waiting[fd]


def streams(port: int, records: Callable[[TlsStream], bytes]) -> None:
    """Open TLS connections, then send the records on all of them at once. Nothing is read after the handshake."""
    while True:
        with contextlib.ExitStack() as stack:
            ready = []
            for _ in range(STREAMS):
                sock = stack.enter_context(socket.create_connection((HOST, port), PATIENCE))
                stream = TlsStream(sock)
                ready.append((sock, records(stream)))
            for sock, message in ready:
                sock.setblocking(False)
                with contextlib.suppress(OSError):
                    sock.send(message)
            time.sleep(1)  # noqa: TID251 - the time in which the balancer reads them


ATTACKS: Mapping[str, Callable[[Mapping[str, int]], None]] = {
    "nothing": lambda ports: signal.pause(),  # noqa: ARG005
    "hellos": lambda ports: flood(ports["tls"], HELLOS, client_hello()),
    "proxy headers of 64 KiB": lambda ports: flood(ports["proxy"], HEADERS, proxy_header(65_000, 20_000)),
    "proxy headers of 64 KiB, small TLVs": lambda ports: flood(ports["proxy"], HEADERS, proxy_header(65_000, 3)),
    "proxy headers of 4 KiB, small TLVs": lambda ports: flood(ports["proxy"], HEADERS, proxy_header(4_000, 3)),
    "key updates": lambda ports: streams(ports["tls"], key_updates),
    "tiny records": lambda ports: streams(ports["tls"], tiny_records),
}


def _attack(name: str, ports: Mapping[str, int]) -> None:
    os.nice(10)
    with contextlib.suppress(OSError):  # the balancer has ended
        ATTACKS[name](ports)


# The balancers


def certificate(folder: Path) -> Path:
    """Make an RSA certificate of 4,096 bits, and its key in the same file."""
    path = folder / "rsa.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:4096", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made = subprocess.run([*command, "-keyout", "-", "-out", "-"], capture_output=True, check=True)
    path.write_bytes(made.stdout)
    return path


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


def lb_config(folder: Path, ports: Mapping[str, int], echo: int, workers: int) -> tuple[str, list[str]]:
    """Return the configuration of trio-lb and the command that uses it."""
    lines = ["[process]", f"workers = {workers}", "[log]", 'format = "json"', "[pools.echo]", "health = false"]
    lines += [f'servers = ["{HOST}:{echo}"]']
    for name, port in ports.items():
        lines += [f"[listeners.{name}]", f'bind = "{HOST}:{port}"', 'pool = "echo"']
        lines += {"plain": [], "tls": ['tls = { certificate = "rsa.pem" }'], "proxy": ["accept_proxy = true"]}[name]
    return "\n".join([*lines, ""]), [str(Path(sys.executable).with_name("lb")), "--config", str(folder / "config")]


def haproxy_config(folder: Path, ports: Mapping[str, int], echo: int, workers: int) -> tuple[str, list[str]]:
    """Return the configuration of HAProxy and the command that uses it."""
    lines = ["global", f"  nbthread {workers}", "  maxconn 9000", "defaults", "  mode tcp"]
    lines += [f"  timeout {each} 10s" for each in ("connect", "client", "server")]
    options = {"plain": "", "tls": f" ssl crt {folder / 'rsa.pem'}", "proxy": " accept-proxy"}
    for name, port in ports.items():
        lines += [f"frontend {name}", f"  bind {HOST}:{port} backlog 4096{options[name]}", "  default_backend echo"]
    lines += ["backend echo", f"  server a {HOST}:{echo}", ""]
    return "\n".join(lines), ["haproxy", "-db", "-f", str(folder / "config")]


@contextlib.contextmanager
def _process(command: list[str], log: Path, ports: Mapping[str, int]) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            for port in ports.values():
                while socket.socket().connect_ex((HOST, port)):
                    time.sleep(0.01)  # noqa: TID251 - it starts
            yield
        finally:
            process.terminate()


def _serve_echo(listening: socket.socket) -> None:
    """Answer each message with the same bytes, on any number of connections."""
    poll = select.epoll()
    poll.register(listening.fileno(), select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listening.fileno():
                sock, _ = listening.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = sock
                poll.register(sock.fileno(), select.EPOLLIN)
                continue
            try:
                data = connections[fd].recv(65536)
                if data:
                    connections[fd].send(data, socket.MSG_DONTWAIT)
            except OSError:
                data = b""
            if not data:
                connections.pop(fd).close()


@contextlib.contextmanager
def _child(function: Callable[..., None], *arguments: object) -> Iterator[None]:
    child = multiprocessing.get_context("fork").Process(target=function, args=arguments, daemon=True)
    child.start()
    try:
        yield
    finally:
        child.kill()
        child.join()


# The measurement


@attrs.define
class Waits:
    """The seconds of echoes, one after the other."""

    seconds: list[float] = attrs.field(factory=list)

    def __str__(self) -> str:
        p50, p99, most = self._after(0.5), self._after(0.99), max(self.seconds)
        return f"{p50 * 1e3:7.2f} {p99 * 1e3:7.2f} {most * 1e3:8.2f}"

    def _after(self, share: float) -> float:
        """Return the wait of a client that comes at any moment, at this percentile.

        While one echo waits for a second, a thousand clients would have come. So each wait counts by its length.
        """
        left = share * (sum(self.seconds) + PAUSE * len(self.seconds))
        for wait in sorted(self.seconds):
            left -= wait + PAUSE
            if left <= 0:
                return wait
        return 0.0


def _echo(sock: socket.socket, waits: Waits) -> None:
    started = time.perf_counter()
    sock.sendall(b"12345678")
    sock.recv(8, socket.MSG_WAITALL)
    waits.seconds.append(time.perf_counter() - started)


def measure(through: int, direct: int, seconds: float) -> tuple[Waits, Waits]:
    """Return the waits of echoes through the balancer and without it, in turn, for some seconds."""
    ours, control = Waits(), Waits()
    with (
        socket.create_connection((HOST, through), PATIENCE) as balanced,
        socket.create_connection((HOST, direct), PATIENCE) as plain,
    ):
        for sock in (balanced, plain):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            _echo(balanced, ours)
            _echo(plain, control)
            time.sleep(PAUSE)  # noqa: TID251 - a client that thinks
    return ours, control


def _deaths(log: Path) -> int:
    """Return the number of workers that have ended."""
    lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
    return sum(json.loads(line)["event"] == "worker.died" for line in lines)


def _run(name: str, options: argparse.Namespace, folder: Path) -> str:
    ports = dict(zip(("plain", "tls", "proxy"), _free_ports(3), strict=True))
    with socket.create_server((HOST, 0), backlog=4096) as listening:
        echo = listening.getsockname()[1]
        make = haproxy_config if options.haproxy else lb_config
        text, command = make(folder, ports, echo, options.workers)
        (folder / "config").write_text(text)
        log = folder / "log"
        with (
            _child(_serve_echo, listening),
            _process(command, log, ports),
            _child(_attack, name, ports),
        ):
            ours, control = measure(ports["plain"], echo, options.seconds)
        return f"{name:36} {ours}   {control}   {_deaths(log)}"


def main() -> int:
    """Run the attacks. Print for each the median, 99th percentile and longest wait, with the balancer and without."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=ATTACKS, help="one attack")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each attack")
    parser.add_argument("--haproxy", action="store_true", help="attack HAProxy instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        certificate(Path(folder))
        print(f"{'milliseconds':36} {'p50':>7} {'p99':>7} {'longest':>8}   {'direct':>24}   dead workers")
        for name in [options.only] if options.only else ATTACKS:
            print(_run(name, options, Path(folder)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
