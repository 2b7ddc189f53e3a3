"""A name server in the test's process, over UDP and TCP. Tests may change its answers at any time."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import trio

from tests.support.balancer import PATIENCE

DATAGRAM = 512  # maximum bytes over UDP without EDNS, RFC 1035 section 4.2.1


class NameServer:
    """A name server. Set answers with :meth:`has`, :meth:`fails`, :meth:`is_silent`, :meth:`says`; else NXDOMAIN."""

    def __init__(self, port):
        self.port = port
        self.asked = []
        """``name kind transport`` of each query."""
        self.connections = 0
        self._answers = {}
        self._held = {}
        self._arrived = trio.Event()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def has(self, name, kind, *records, ttl=1):
        """Set records in zone file syntax; without any, the answer is empty, as for other kinds of the name."""
        self._answers[name, kind] = (ttl, records)

    def fails(self, name, kind, rcode="SERVFAIL"):
        self._answers[name, kind] = rcode

    def is_silent(self, name, kind):
        self._answers[name, kind] = None

    def holds(self, name, kind):
        """Answer over UDP only once the event that is returned is set."""
        self._held[name, kind] = trio.Event()
        return self._held[name, kind]

    def says(self, name, kind, *datagrams):
        """Answer with these bytes, one datagram each. The id is set to that of the query."""
        self._answers[name, kind] = datagrams

    def forget(self, name):
        """Answer NXDOMAIN from now on."""
        self._answers = {key: answer for key, answer in self._answers.items() if key[0] != name}

    async def questions(self, count):
        """Wait for ``count`` more queries."""
        goal = len(self.asked) + count
        with trio.fail_after(PATIENCE):
            while len(self.asked) < goal:
                await self._arrived.wait()

    async def has_been_asked(self, count):
        """Wait until there were ``count`` queries since the start."""
        await self.questions(count - len(self.asked))

    def answers(self, wire, transport):
        """Return the datagrams or TCP messages that answer a query."""
        query = dns.message.from_wire(wire)
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True), question.rdtype.name
        self.asked.append(f"{name} {kind} {transport}")
        self._arrived.set()
        self._arrived = trio.Event()
        answer = self._answers.get((name, kind), ())
        if answer is None:
            return []
        if answer and isinstance(answer[0], bytes):
            return [wire[:2] + raw[2:] for raw in answer]
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if isinstance(answer, str):
            response.set_rcode(dns.rcode.from_text(answer))
        elif not any(key[0] == name for key in self._answers):
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif answer and answer[1]:
            ttl, records = answer
            response.answer.append(dns.rrset.from_text(question.name, ttl, "IN", kind, *records))
        whole = response.to_wire()
        if transport == "udp" and len(whole) > DATAGRAM:
            response.answer.clear()
            response.flags |= dns.flags.TC
            whole = response.to_wire()
        return [whole]

    async def serve_udp(self, sock):
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._answer, sock, *await sock.recvfrom(65_535))

    async def _answer(self, sock, wire, peer):
        answers = self.answers(wire, "udp")
        (question,) = dns.message.from_wire(wire).question
        held = self._held.get((question.name.to_text(omit_final_dot=True), question.rdtype.name))
        if held is not None:
            await held.wait()
        for answer in answers:
            with suppress(OSError):
                await sock.sendto(answer, peer)

    async def serve_tcp(self, stream):
        self.connections += 1
        with suppress(trio.BrokenResourceError):
            async for size in stream:  # one chunk per query: length and message
                for answer in self.answers(size[2:], "tcp"):
                    await stream.send_all(len(answer).to_bytes(2, "big") + answer)


@asynccontextmanager
async def name_server(address=("127.0.0.1", 0)):
    """Run a name server during the block, on a free port unless ``address`` has one."""
    with socket.create_server(address) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(tcp.getsockname())
        tcp.setblocking(False)
        udp.setblocking(False)
        server = NameServer(udp.getsockname()[1])
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(tcp))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_udp, trio.socket.from_stdlib_socket(udp))
            nursery.start_soon(trio.serve_listeners, server.serve_tcp, [listener])
            yield server
            nursery.cancel_scope.cancel()
