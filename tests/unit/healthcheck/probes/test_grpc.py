"""The grpc probe with scripted servers, and with a real one."""

import struct

import pytest
import trio
from hpack import Encoder

from healthcheck.probe import Secure, Target
from healthcheck.probes.grpc import GrpcProbe
from tests.support.grpc_server import NOT_SERVING, SERVING, grpc_server
from tests.support.probe_server import failure, server, stays_silent, target_at
from tests.support.tls_peers import certificate, client_context

HEAD = [(":status", "200"), ("content-type", "application/grpc")]
SETTINGS = struct.pack(">HBBBI", 0, 0, 4, 0, 0)


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload


def head(*fields, flags=0x4):
    encoder = Encoder()
    encoder.header_table_size = 0
    return frame(1, flags, 1, encoder.encode(fields, huffman=True))


def body(message, flags=0):
    return frame(0, flags, 1, struct.pack(">BI", 0, len(message)) + message)


def ends(*fields):
    return head(*fields, flags=0x5)


def answers(*frames):
    """A server that sends these frames, and reads on until the client has ended."""

    async def handle(stream):
        await stream.receive_some()
        for each in frames:
            await stream.send_all(each)
        async for _ in stream:
            pass

    return handle


@pytest.mark.slow
async def test_a_real_server():
    async with grpc_server() as running:
        target = target_at(running.port)
        assert await GrpcProbe().check(target) == "SERVING"
        assert await GrpcProbe("test.Echo").check(target) == "SERVING"
        assert await failure(GrpcProbe(service="test.Ill"), target) == "NOT_SERVING"
        assert await failure(GrpcProbe(service="no"), target) == "NOT_FOUND: unknown service"


@pytest.mark.slow
async def test_a_real_server_with_tls():
    pem = certificate("localhost").private_key_and_cert_chain_pem.bytes()
    async with grpc_server(certificate=pem) as running:
        plain = target_at(running.port)
        by_tls = Secure(client_context(alpn=["h2"]), "localhost")
        target = Target("web", "a", plain.address, plain.sockaddrs, tls=by_tls)
        assert await GrpcProbe().check(target) == "SERVING"


async def test_all_pieces_of_an_answer():
    usual = SETTINGS, head(*HEAD), body(SERVING), ends(("grpc-status", "0"))
    block = ends(("grpc-status", "0"))[9:]
    in_two = frame(1, 0x1, 1, block[:4]) + frame(9, 0x4, 1, block[4:])
    padded = frame(0, 0x8, 1, b"\x03" + b"\0\0\0\0\x02" + SERVING + b"\0\0\0")
    pings = frame(6, 0, 0, b"12345678") + frame(8, 0, 0, b"\0\0\1\0") + frame(7, 0, 0, b"\0\0\0\1" + bytes(4))
    for each in (
        usual,
        (b"".join(usual),),
        tuple(bytes([byte]) for byte in b"".join(usual)),
        (SETTINGS, pings, head(*HEAD), padded, in_two),
    ):
        async with server(answers(*each)) as target:
            assert await GrpcProbe().check(target) == "SERVING"


async def test_what_is_asked():
    heard = bytearray()

    async def handle(stream):
        async for data in stream:
            heard.extend(data)
            if len(heard) == len(data):
                await stream.send_all(SETTINGS + frame(6, 0, 0, b"12345678"))
                await stream.send_all(head(*HEAD) + body(SERVING) + ends(("grpc-status", "0")))

    async with server(handle) as target:
        assert await GrpcProbe("a" * 200, host="example.com").check(target) == "SERVING"
        for _ in range(100):  # until the server has read all
            await trio.lowlevel.checkpoint()
    assert heard.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    message = b"\x0a\xc8\x01" + b"a" * 200
    assert frame(0, 1, 1, struct.pack(">BI", 0, len(message)) + message) in heard
    assert frame(4, 1, 0) in heard
    assert frame(6, 1, 0, b"12345678") in heard
    assert heard.endswith(frame(7, 0, 0, bytes(8)))


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], 'not an answer of HTTP/2: "HTTP/1.1 400 Bad Request"'),
        ([SETTINGS, ends((":status", "503"))], "HTTP 503"),
        ([SETTINGS, ends(*HEAD)], "not an answer of gRPC: it has no grpc-status"),
        ([SETTINGS, ends(*HEAD, ("grpc-status", "12"), ("grpc-message", "no%20h"))], "UNIMPLEMENTED: no h"),
        ([SETTINGS, ends(*HEAD, ("grpc-status", "99"))], "99"),
        ([SETTINGS, ends(*HEAD, ("grpc-status", "²"))], "²"),
        ([SETTINGS, ends(*HEAD, ("grpc-status", "1" * 5000))], "1111"),
        ([SETTINGS, ends(*HEAD, ("grpc-status", "0"))], "an answer without a message"),
        ([SETTINGS, head(*HEAD), body(b""), ends(("grpc-status", "0"))], "UNKNOWN"),
        ([SETTINGS, head(*HEAD), body(NOT_SERVING), ends(("grpc-status", "0"))], "NOT_SERVING"),
        ([SETTINGS, head(*HEAD), body(b"\x08\x09"), ends(("grpc-status", "0"))], "status 9"),
        ([SETTINGS, head(*HEAD), body(b"abc"), ends(("grpc-status", "0"))], 'not an answer of grpc.health.v1: "abc"'),
        ([SETTINGS, frame(3, 0, 1, b"\0\0\0\7")], "reset the request (error 7)"),
        ([SETTINGS, frame(7, 0, 0, b"\0\0\0\0\0\0\0\x0b")], "refused the request (GOAWAY, error 11)"),
        ([SETTINGS, frame(1, 0x4, 1, b"\xff\xff\xff\xff")], "a head that cannot be decoded"),
        ([SETTINGS, frame(1, 0, 1, b""), SETTINGS], "a head that does not end"),
        ([SETTINGS * 300], "more than 256 frames before the end of its answer"),
    ],
)
async def test_failures(frames, reason):
    async with server(answers(*frames)) as target:
        assert (await failure(GrpcProbe(), target)).startswith(reason)


async def test_a_silent_server_is_the_business_of_the_timeout():
    async with server(stays_silent) as target:
        with trio.move_on_after(0.05) as time_out:
            await GrpcProbe().check(target)
    assert time_out.cancelled_caught


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"service": 1}, "service: must be a string, not 1"),
        ({"host": "a b"}, "host: must hold no spaces or non-ASCII, not 'a b'"),
    ],
)
def test_options(options, error):
    with pytest.raises(ValueError, match=error):
        GrpcProbe(**options)
