"""A call of gRPC at the servers of its pool: with a deadline, a status in its trailers, and retries by that status."""

from __future__ import annotations

from lb.http.carrier import ExchangeToServe
from lb.http.grpc import UNAVAILABLE, seconds_left, status_of
from lb.http.grpc_deadlines import GrpcDeadlines
from lb.http.server_carrier import ServerCarrier
from lb.http.upstream_request import PoolTarget, UpstreamRequest
from lb.http1.response_head import ResponseHead
from lb.net.deadlines import DeadlineQueue
from lb.pools.backend import Backend
from lb.proxy.context import ConnectionContext
from lb.relay.epoll_splicer import EpollSplicer

__all__ = ["GrpcRequest"]


class GrpcRequest(UpstreamRequest):
    """Ends its exchange when the client's deadline has passed: the server may not know of it."""

    def __init__(self, exchange: ExchangeToServe, target: PoolTarget) -> None:
        super().__init__(exchange, target)
        self._deadlines: GrpcDeadlines | None = None
        """Where its deadline is, if it has one."""

    def start(self, picked: Backend | None = None) -> None:
        seconds = seconds_left(self.exchange.head)
        if seconds is not None:
            self._deadlines = deadlines = self.target.context.of_mode(_deadlines)
            deadlines.enter(self, self.exchange.carrier.turn.now + seconds)
        super().start(picked)

    def expired(self, queue: DeadlineQueue) -> None:  # noqa: ARG002 - there is one
        """The client waits no longer."""
        self.target.loop.refresh()
        self.exchange.fail_call(504, "timeout", by_deadline=True)

    def response(self, head: ResponseHead, rest: memoryview) -> bool:
        if not rest:  # else there are trailers
            status = status_of(head.block.fields)
            if status == UNAVAILABLE and self._may_ask_another() and self._ask_another("UNAVAILABLE", 503):
                return False
            self.exchange.grpc_status = status
        return super().response(head, rest)

    def deliver(self, server: ServerCarrier, head: ResponseHead, rest: memoryview) -> None:
        """Pass on a short answer at once, with its trailers: the usual case."""
        exchange = self.exchange
        trailers = None if self.changes_responses or exchange.is_limited else server.all_trailers()
        if trailers is None:
            super().deliver(server, head, rest)
            return
        if trailers:
            exchange.grpc_status = status_of(trailers)
        self._pass_whole(server, head, rest, None, trailers)

    def _may_ask_another(self) -> bool:
        """The pool says that calls may be made again, and this one can be: nothing of a response was passed on."""
        retried = "grpc_unavailable" in self.target.pool.spec.http.retry_on
        return retried and self._can_be_sent and self._retries_left

    def response_complete(self, *, reusable: bool) -> None:
        self._leave_deadlines()
        body = self.response_sent.body if self.response_sent is not None else None
        if body is not None and body.trailers:
            self.exchange.grpc_status = status_of(body.trailers)
        super().response_complete(reusable=reusable)

    def end(self) -> None:
        self._leave_deadlines()
        super().end()

    def _leave_deadlines(self) -> None:
        if self._deadlines is not None:
            self._deadlines.discard(self)
            self._deadlines = None


def _deadlines(context: ConnectionContext) -> GrpcDeadlines:
    assert isinstance(context.splicer, EpollSplicer)  # noqa: S101 - HttpMode.read_settings has looked
    return GrpcDeadlines(context.splicer.loop)
