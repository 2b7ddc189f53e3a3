"""TLS peers for tests: certificates, and connections whose two directions end separately."""

from __future__ import annotations

import functools
import socket
import ssl
from contextlib import suppress

import trio
import trustme

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@functools.cache
def authority():
    """Return the CA of the tests' certificates."""
    return trustme.CA()


@functools.cache
def certificate(*names):
    """Return a certificate for these names, with its key."""
    return authority().issue_cert(*names)


def server_context(*names, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(*names).configure_cert(context)
    return with_version(context, version)


def client_context(*, version=None, alpn=()):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    if alpn:
        context.set_alpn_protocols(alpn)
    return with_version(context, version)


def with_version(context, version):
    """Restrict the context to this TLS version, if given."""
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class Truncated(ConnectionError):  # noqa: N818 - a test outcome, not an error of the program
    """The connection ended before the TLS stream did."""


class TlsEnd:
    """A TLS connection. Unlike trio's SSLStream, it can end one direction and continue with the other."""

    def __init__(self, stream, context, *, server_side=False, server_name=None, session=None):
        self.stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name, session=session
        )

    @property
    def socket(self):
        return self.stream.socket

    async def _flush(self):
        if data := self._outgoing.read():
            await self.stream.send_all(data)

    async def _fetch(self):
        data = await self.stream.receive_some()
        if not data:
            raise Truncated
        self._incoming.write(data)

    async def shake_hands(self):
        while True:
            try:
                self.object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fetch()
            else:
                await self._flush()
                return self

    async def send_all(self, data):
        with memoryview(data) as view:
            for start in range(0, len(data), 65536):
                self.object.write(view[start : start + 65536])
                await self._flush()

    async def finish(self, *, fin=False):
        """Send close_notify. The other direction continues."""
        with suppress(ssl.SSLWantReadError):
            self.object.unwrap()
        await self._flush()
        if fin:
            await self.stream.send_eof()

    async def receive_some(self, most=65536):
        """Return received bytes, ``b""`` after close_notify. Raises Truncated at a FIN without it."""
        while True:
            try:
                return self.object.read(most)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                await self._fetch()

    async def receive_all(self):
        received = []
        while piece := await self.receive_some():
            received.append(piece)
        return b"".join(received)

    async def receive_exactly(self, count):
        received = bytearray()
        while len(received) < count:
            piece = await self.receive_some()
            assert piece, f"end of stream after {len(received)} of {count} bytes"
            received += piece
        assert len(received) == count
        return bytes(received)

    def reset(self):
        """Close with a RST."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.stream.socket.close()

    async def aclose(self):
        await trio.aclose_forcefully(self.stream)


def write_certificate(directory, stem, *names, issued=None):
    """Write ``stem.pem`` with the chain, and ``stem.key``. Return both as lines of TOML."""
    issued = issued or certificate(*names)
    (directory / f"{stem}.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    (directory / f"{stem}.key").write_bytes(issued.private_key_pem.bytes())
    return f'certificate = "{stem}.pem"\nkey = "{stem}.key"\n'


def write_authority(directory, stem="ca"):
    """Write the CA certificate to ``stem.pem``. Return the file's name."""
    authority().cert_pem.write_to_path(directory / f"{stem}.pem")
    return f"{stem}.pem"


async def connect_tls(port, name="a.example.org", *, context=None, session=None):
    """Connect a TLS client and complete its handshake. It offers to resume the session."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        end = TlsEnd(stream, context or client_context(), server_name=name, session=session)
        return await end.shake_hands()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


def tls_server(handler, context):
    """Return a TLS handler for :func:`tests.support.servers.serving`. It calls ``handler`` with a TlsEnd."""

    async def serve(stream):
        end = TlsEnd(stream, context, server_side=True)
        with suppress(ssl.SSLError, Truncated):
            await handler(await end.shake_hands())

    return serve


def names_in(end):
    """Return the DNS names in the peer's certificate."""
    certificate = end.object.getpeercert()
    return {value for kind, value in certificate["subjectAltName"] if kind == "DNS"}
