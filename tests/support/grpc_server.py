"""A gRPC server for tests, by grpcio: ``python grpc_server.py NAME PORT [CERTIFICATE]``. Messages are plain bytes.

Methods of ``/test.Echo/``: ``Unary`` answers NAME, a space and the message; ``Many`` the message so many times as its
number says; ``Sum`` the bytes of all messages as a number; ``Chat`` each message at once; ``First`` one message, and
ends before the client does; ``Fail`` with the code that the message has; ``Flaky`` with UNAVAILABLE, every other time;
``Hang`` never; ``Metadata`` the client's metadata, a line each. ``grpc.health.v1.Health`` knows the services ``""``,
``test.Echo`` and ``test.Ill``; ``Sick`` makes ``""`` NOT_SERVING, ``Well`` SERVING again.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

__all__ = ["NOT_SERVING", "SERVING", "grpc_server"]

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


class Echo(grpc.GenericRpcHandler):
    def __init__(self, name: str) -> None:
        self.name = name
        self.health = {b"": SERVING, b"\x0a\x09test.Echo": SERVING, b"\x0a\x08test.Ill": NOT_SERVING}
        self.calls = itertools.count()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(self.check)
        kinds: dict[str, Callable[[Any], Any]] = {
            "many": grpc.unary_stream_rpc_method_handler,
            "sum": grpc.stream_unary_rpc_method_handler,
            "chat": grpc.stream_stream_rpc_method_handler,
            "first": grpc.stream_stream_rpc_method_handler,
        }
        name = details.method.removeprefix("/test.Echo/").lower()
        method = getattr(self, name, None) if details.method.startswith("/test.Echo/") else None
        return method and kinds.get(name, grpc.unary_unary_rpc_method_handler)(method)

    def check(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        if request not in self.health:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return self.health[request]

    def sick(self, _request: bytes, _context: grpc.ServicerContext) -> bytes:
        self.health[b""] = NOT_SERVING
        return b""

    def well(self, _request: bytes, _context: grpc.ServicerContext) -> bytes:
        self.health[b""] = SERVING
        return b""

    def unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x-name", self.name),))
        return self.name.encode() + b" " + request

    def many(self, request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from itertools.repeat(request, int(request.split()[0]))

    def sum(self, requests: Iterator[bytes], _context: grpc.ServicerContext) -> bytes:
        return b"%d" % sum(map(len, requests))

    def chat(self, requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from requests

    def first(self, requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield next(requests)

    def fail(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        code = next(code for code in grpc.StatusCode if code.name == request.decode())
        context.abort(code, f"failed with {code.name} at {self.name}, as “asked”")
        return b""

    def flaky(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        if not next(self.calls) % 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return self.unary(request, context)

    def hang(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        ended = threading.Event()
        context.add_callback(ended.set)
        print("hangs", flush=True)
        ended.wait()
        print("cancelled", flush=True)
        return b""

    def metadata(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        return b"\n".join(f"{key}: {value}".encode() for key, value in context.invocation_metadata())


def main(name: str, port: str, certificate: str = "") -> None:
    server = grpc.server(
        futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
    )
    server.add_generic_rpc_handlers([Echo(name)])
    if certificate:
        pem = Path(certificate).read_bytes()
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(pem, pem)]))
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


@asynccontextmanager
async def grpc_server(name: str = "a", *, port: int | None = None, certificate: bytes = b"") -> Any:
    """Run the server in a process of its own. ``certificate``: with its key, for TLS."""
    from tests.support.real_databases import home, running
    from tests.support.servers import free_port

    directory, port = home(), port or free_port()
    command = [sys.executable, __file__, name, str(port)]
    if certificate:
        (directory / "certificate.pem").write_bytes(certificate)
        command.append(str(directory / "certificate.pem"))
    async with running(command, port=port, directory=directory) as server:
        yield server


if __name__ == "__main__":
    main(*sys.argv[1:])
