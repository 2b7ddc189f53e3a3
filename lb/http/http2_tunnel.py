"""A stream that has become a tunnel: WebSocket over HTTP/2 (RFC 8441), to a server that speaks HTTP/1.1.

The server has said 101, the client gets 200. From then on the bytes of DATA frames are those of the server's socket.
"""

from __future__ import annotations

from lb.http.exchange import Exchange
from lb.http.flow import Flow
from lb.http.header_edits import FieldChange
from lb.http.http2_blocks import response_block
from lb.http.http2_carrier import StreamCarrier
from lb.http1.body import StreamBody, UntilCloseBody
from lb.http1.response_head import ResponseHead
from lb.net.deadlines import DeadlineQueue
from lb.relay.epoll_stream import EpollStream

__all__ = ["Http2Tunnel"]

_NOT_ASKED_FOR = FieldChange(frozenset((b"sec-websocket-accept",)))
"""The client has sent no key."""


class TunnelServer(EpollStream):
    """The server's socket."""

    __slots__ = ("_tunnel",)

    def __init__(self, server: EpollStream, tunnel: Http2Tunnel) -> None:
        super().__init__(server.loop, server.sock, server.tls, server.ready)
        self._tunnel = tunnel
        self.loop.handlers[self.sock.fileno()] = self

    def on_readable(self) -> None:
        self._tunnel.to_client.pump()

    def on_writable(self) -> None:
        self._tunnel.to_server.pump()

    def on_broken(self, error: OSError) -> None:
        self._tunnel.flow_failed(self._tunnel.to_server, self, error)

    def failed(self, exception: Exception) -> None:  # reported by the loop
        self._tunnel.flow_failed(self._tunnel.to_client, self, exception)


class Http2Tunnel:
    """Implements :class:`lb.http.flow.FlowOwner`, for both directions."""

    def __init__(self, carrier: StreamCarrier, exchange: Exchange, server: EpollStream) -> None:
        self._carrier = carrier
        self._exchange = exchange
        self._server = TunnelServer(server, self)
        self._body = StreamBody()
        self.to_server = Flow(carrier, self._server, self._body, self)
        self.to_client = Flow(self._server, carrier, UntilCloseBody(), self)
        self._idle_queue: DeadlineQueue = carrier.connection.frontend.idle_queue
        self._idle_since = carrier.turn.now

    def begin(self, head: ResponseHead, rest: bytes) -> None:
        """Tell the client, and pass on what has come already: ``rest`` from the server, what waits from the client."""
        carrier, exchange, server = self._carrier, self._exchange, self._server
        exchange.response_begins(200)
        carrier.write_head(response_block(head, b"", _NOT_ASKED_FOR, status=200), more=bool(rest))
        server.give_back(rest)
        carrier.body, carrier.tunnel = self._body, self
        carrier.request_flow, carrier.response_flow = self.to_server, self.to_client
        self.to_server.pace = exchange.request_pace(self.to_server.pump)
        self.to_client.pace = exchange.response_pace(self.to_client.pump)
        self._body.done = carrier.stream.received_end and not carrier.has_input
        self._idle_queue.enter(self, self._idle_since)
        server.continue_later()
        carrier.continue_later()

    @property
    def bytes_in(self) -> int:
        return self.to_server.moved

    @property
    def bytes_out(self) -> int:
        return self.to_client.moved

    def flow_ended(self, flow: Flow) -> None:
        """One side has ended in order. The other one may still send, until the idle timeout."""
        if flow is self.to_client:
            self._carrier.finish(())
        else:
            try:
                self._server.shut_down()
            except OSError as error:
                self.flow_failed(flow, self._server, error)
                return
        if self.to_client.ended and self.to_server.ended:
            self._carrier.response_flow = None
            self._exchange.response_complete()

    def flow_failed(self, flow: Flow, stream: EpollStream, error: Exception) -> None:  # noqa: ARG002 - one ends both
        """The server is gone: streams of clients say so themselves."""
        self._exchange.abort("server_reset")

    def expired(self, queue: DeadlineQueue) -> None:
        """The idle timeout has passed, unless something has moved since."""
        self._carrier.loop.refresh()
        active = max(self._carrier.last_activity, self._server.last_activity)
        if active > self._idle_since:
            self._idle_since = active
            queue.renew(self, active)
        else:
            self._exchange.abort("timeout")

    def stop(self) -> None:
        """The exchange has ended."""
        self._idle_queue.discard(self)
        self.to_server.cancel()
        self.to_client.cancel()
        self._server.close_socket(reset=not self.to_client.body.done)
