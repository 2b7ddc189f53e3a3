"""A client of etcd: ranges, transactions, leases and watches, from the endpoint that answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TypeVar

import trio

from lb.etcd.errors import EtcdError
from lb.etcd.gateway import LARGEST_MESSAGE, Gateway, decoded
from lb.etcd.line_buffer import LineBuffer
from lb.etcd.messages import (
    Comparison,
    Deletion,
    Document,
    Operation,
    Put,
    RangeAnswer,
    RangeRequest,
    StoreState,
    TxnAnswer,
    WatchAnswer,
    grant_answer,
    keep_alive_answer,
    range_answer,
    state_of,
    time_to_live_answer,
    txn_answer,
    txn_request,
    watch_answer,
    watch_request,
)
from lb.model import EtcdSpec

__all__ = ["ENDPOINT_TIMEOUT", "EtcdClient", "PrefixWatch"]

T = TypeVar("T")

ENDPOINT_TIMEOUT = 5.0
"""Seconds that an endpoint has for an answer before the next one is asked. etcd itself gives up after 5 to 7."""


class EtcdClient:
    """Asks the endpoints of ``spec`` in their order: it stays with one until that fails. Use it in ``async with``.

    All requests raise EtcdError. Each endpoint has the seconds of ``within`` for an answer; what it did not answer in
    time it may have done all the same.
    """

    def __init__(self, spec: EtcdSpec) -> None:
        self.spec = spec
        self._gateway = Gateway(spec)
        self._place = 0
        self._token = ""
        self._authenticating = trio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._gateway.close()

    @property
    def endpoint(self) -> str:
        """The endpoint in use."""
        return self.spec.endpoints[self._place]

    def leave(self, endpoint: str) -> None:
        """Use the next endpoint from now on, if this is the one in use."""
        if endpoint == self.endpoint:
            self._place = (self._place + 1) % len(self.spec.endpoints)

    async def range(
        self, request: RangeRequest, *, within: float = ENDPOINT_TIMEOUT, endpoint: str = ""
    ) -> RangeAnswer:
        """Return keys, as a majority of etcd's members has them. ``endpoint``: ask this one alone."""
        return await self._call("/v3/kv/range", request.encoded(), range_answer, within, endpoint)

    async def put(self, put: Put, *, within: float = ENDPOINT_TIMEOUT) -> StoreState:
        return await self._call("/v3/kv/put", put.request(), state_of, within)

    async def delete(self, deletion: Deletion, *, within: float = ENDPOINT_TIMEOUT) -> StoreState:
        return await self._call("/v3/kv/deleterange", deletion.request(), state_of, within)

    async def txn(
        self, conditions: tuple[Comparison, ...], operations: tuple[Operation, ...], *, within: float = ENDPOINT_TIMEOUT
    ) -> TxnAnswer:
        """Do all operations at once if all conditions are true, else nothing."""
        return await self._call("/v3/kv/txn", txn_request(conditions, operations), txn_answer, within)

    async def grant(self, ttl: int, *, within: float = ENDPOINT_TIMEOUT) -> int:
        """Return the number of a new lease, which lives for ``ttl`` seconds."""
        return await self._call("/v3/lease/grant", {"TTL": str(ttl)}, grant_answer, within)

    async def keep_alive(self, lease: int, *, within: float = ENDPOINT_TIMEOUT) -> float:
        """Let a lease live for its seconds again, and return them; 0 if it has ended."""
        return await self._call("/v3/lease/keepalive", {"ID": str(lease)}, keep_alive_answer, within)

    async def time_to_live(self, lease: int, *, within: float = ENDPOINT_TIMEOUT) -> float:
        """Return the seconds that a lease has left unless it is kept alive; 0 if it has ended."""
        return await self._call("/v3/lease/timetolive", {"ID": str(lease)}, time_to_live_answer, within)

    async def revoke(self, lease: int, *, within: float = ENDPOINT_TIMEOUT) -> StoreState:
        """End a lease; its keys go with it."""
        return await self._call("/v3/lease/revoke", {"ID": str(lease)}, state_of, within)

    def watch(self, key: bytes, range_end: bytes, start_revision: int) -> PrefixWatch:
        """Return a watch of the changes from a revision on, at the endpoint in use. Its ``run`` opens it."""
        return PrefixWatch(self, watch_request(key, range_end, start_revision))

    async def _call(
        self, path: str, request: Document, decode: Callable[[Document], T], within: float, endpoint: str = ""
    ) -> T:
        if endpoint:
            return await self._ask(endpoint, path, request, decode, within)
        causes: dict[str, str] = {}
        for _ in self.spec.endpoints:
            asked = self.endpoint
            try:
                return await self._ask(asked, path, request, decode, within)
            except EtcdError as error:
                if not error.is_of_the_request or error.is_too_large:
                    self.leave(asked)
                if error.is_of_the_request:
                    raise
                causes |= error.causes
        raise EtcdError({each: causes[each] for each in self.spec.endpoints if each in causes})

    async def _ask(
        self, endpoint: str, path: str, request: Document, decode: Callable[[Document], T], within: float
    ) -> T:
        """Ask one endpoint; with another token, if it does not know this one any more."""
        await self._gateway.load()
        with trio.move_on_after(within):
            token = await self.token(endpoint)
            try:
                return await self._gateway.post(endpoint, path, request, token, decode)
            except EtcdError as error:
                if not (token and error.is_bad_token):
                    raise
            return await self._gateway.post(endpoint, path, request, await self.token(endpoint, token), decode)
        raise EtcdError({endpoint: f"no answer in {within:g} s"})

    async def token(self, endpoint: str, bad: str = "") -> str:
        """Return the token that requests need, another one than ``bad``; empty without a user."""
        if not (self.spec.user and self.spec.password):
            return ""
        async with self._authenticating:
            if self._token in ("", bad):
                login = {"name": self.spec.user, "password": str(self.spec.password.value)}
                try:
                    self._token = await self._gateway.post(endpoint, "/v3/auth/authenticate", login, "", _token_of)
                except EtcdError as error:
                    if "authentication is not enabled" not in str(error):
                        raise
                    return ""  # as etcdctl does
            return self._token

    async def stream(self, endpoint: str, request: Document, take: Callable[[bytes], bool]) -> None:
        """Pass on the bytes of a watch until it ends. Raises EtcdError."""
        token = await self.token(endpoint)
        await self._gateway.stream(endpoint, "/v3/watch", request, token, take)


class PrefixWatch:
    """A watch. :meth:`run` keeps it open and :meth:`next` returns what comes: two tasks, as one waits for the other."""

    def __init__(self, client: EtcdClient, request: Document) -> None:
        self.endpoint = client.endpoint
        self._client = client
        self._request = request
        self._lines = LineBuffer(LARGEST_MESSAGE)

    async def run(self) -> None:
        """Read the watch. Raises EtcdError when it ends, for whatever reason."""
        await self._client.stream(self.endpoint, self._request, self._lines.put)
        raise EtcdError({self.endpoint: "has ended the watch"})

    async def next(self) -> WatchAnswer:
        """Wait for an answer and return it. Raises EtcdError if it is not one."""
        return await decoded(self.endpoint, await self._lines.next(), watch_answer)


def _token_of(answer: Document) -> str:
    return str(answer["token"])
