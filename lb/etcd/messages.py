"""Requests and answers of etcd's JSON gateway, as values. No I/O.

The gateway writes bytes in base64 and integers of 64 bits as strings, and leaves out what is empty or 0. The fields are
those of etcd's ``rpc.proto`` and ``kv.proto``. Decoders raise KeyError, TypeError, ValueError or AttributeError for a
message that is not etcd's.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Literal, Protocol, TypeAlias

import attrs

__all__ = [
    "Comparison",
    "Deletion",
    "Document",
    "KeyValue",
    "Operation",
    "PrefixEvent",
    "Put",
    "RangeAnswer",
    "RangeRequest",
    "StoreState",
    "TxnAnswer",
    "WatchAnswer",
    "as_base64",
    "grant_answer",
    "keep_alive_answer",
    "prefix_end",
    "range_answer",
    "state_of",
    "time_to_live_answer",
    "txn_answer",
    "txn_request",
    "watch_answer",
    "watch_request",
]

Document: TypeAlias = dict[str, Any]
"""A JSON object."""


def as_base64(content: bytes) -> str:
    return b64encode(content).decode()


def prefix_end(prefix: bytes) -> bytes:
    """Return the first key after all that begin with ``prefix``: etcd's ``range_end`` of a prefix.

    ``b"\\0"`` means up to the last key there is.
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"


@attrs.frozen
class StoreState:
    """The header of an answer: which cluster it is from, and the revision of its store then."""

    cluster_id: int
    revision: int


@attrs.frozen
class KeyValue:
    key: bytes
    value: bytes
    create_revision: int = 0
    mod_revision: int = 0
    """The revision of the last change: the order of all changes."""
    version: int = 0
    """The number of changes since it was created."""
    lease: int = 0
    """0 = none."""


@attrs.frozen
class RangeAnswer:
    state: StoreState
    found: tuple[KeyValue, ...]
    count: int
    """All keys in the range, also those that the request's limit or filter left out."""


@attrs.frozen
class TxnAnswer:
    state: StoreState
    succeeded: bool
    """All comparisons were true."""


@attrs.frozen
class PrefixEvent:
    """A key was set, or deleted; then its value is empty."""

    entry: KeyValue
    deleted: bool = False


@attrs.frozen
class WatchAnswer:
    state: StoreState
    events: tuple[PrefixEvent, ...] = ()
    created: bool = False
    canceled: bool = False
    reason: str = ""
    compact_revision: int = 0
    """Above 0: the watch was canceled because the revision it was to begin at has been compacted."""


@attrs.frozen
class Comparison:
    """A condition of a transaction: one of the key's numbers, compared with ``value``. A missing key has 0 in all."""

    key: bytes
    target: Literal["VERSION", "CREATE", "MOD", "LEASE"]
    result: Literal["EQUAL", "GREATER", "LESS", "NOT_EQUAL"]
    value: int

    def encoded(self) -> Document:
        field = {"VERSION": "version", "CREATE": "create_revision", "MOD": "mod_revision", "LEASE": "lease"}
        comparison = {"key": as_base64(self.key), "target": self.target, "result": self.result}
        return {**comparison, field[self.target]: str(self.value)}


class Operation(Protocol):
    """What a transaction does."""

    def encoded(self) -> Document:
        """Return etcd's ``RequestOp``."""


@attrs.frozen
class Put:
    key: bytes
    value: bytes
    lease: int = 0

    def request(self) -> Document:
        return {"key": as_base64(self.key), "value": as_base64(self.value), "lease": str(self.lease)}

    def encoded(self) -> Document:
        return {"request_put": self.request()}


@attrs.frozen
class Deletion:
    """Delete one key or, with ``range_end``, those from ``key`` to before it."""

    key: bytes
    range_end: bytes = b""

    def request(self) -> Document:
        return _range_of(self.key, self.range_end)

    def encoded(self) -> Document:
        return {"request_delete_range": self.request()}


def _range_of(key: bytes, range_end: bytes) -> Document:
    return {"key": as_base64(key), "range_end": as_base64(range_end)} if range_end else {"key": as_base64(key)}


@attrs.frozen
class RangeRequest:
    """Asks for the keys from ``key`` to before ``range_end``, in their order; without an end, for the key alone."""

    key: bytes
    range_end: bytes = b""
    revision: int = 0
    """As they were at that revision; 0 = now."""
    limit: int = 0
    """0 = none."""
    min_mod_revision: int = 0
    """Only keys that have changed at that revision or later."""
    keys_only: bool = False

    def encoded(self) -> Document:
        numbers = {"revision": self.revision, "limit": self.limit, "min_mod_revision": self.min_mod_revision}
        request = _range_of(self.key, self.range_end)
        request |= {name: str(number) for name, number in numbers.items() if number}
        return request | {"keys_only": True} if self.keys_only else request


def txn_request(conditions: tuple[Comparison, ...], operations: tuple[Operation, ...]) -> Document:
    return {
        "compare": [each.encoded() for each in conditions],
        "success": [each.encoded() for each in operations],
    }


def watch_request(key: bytes, range_end: bytes, start_revision: int) -> Document:
    return {"create_request": {**_range_of(key, range_end), "start_revision": str(start_revision)}}


def state_of(answer: Document) -> StoreState:
    """Return the header of an answer."""
    header = answer["header"]
    return StoreState(int(header["cluster_id"]), int(header.get("revision", 0)))


def range_answer(answer: Document) -> RangeAnswer:
    found = tuple(map(_key_value, answer.get("kvs", ())))
    return RangeAnswer(state_of(answer), found, int(answer.get("count", 0)))


def txn_answer(answer: Document) -> TxnAnswer:
    return TxnAnswer(state_of(answer), answer.get("succeeded", False) is True)


def watch_answer(answer: Document) -> WatchAnswer:
    """Decode a line of a watch."""
    result = answer["result"]
    return WatchAnswer(
        state_of(result),
        tuple(PrefixEvent(_key_value(each["kv"]), each.get("type") == "DELETE") for each in result.get("events", ())),
        created=result.get("created", False) is True,
        canceled=result.get("canceled", False) is True,
        reason=str(result.get("cancel_reason", "")),
        compact_revision=int(result.get("compact_revision", 0)),
    )


def grant_answer(answer: Document) -> int:
    """Return the number of the lease."""
    return int(answer["ID"])


def keep_alive_answer(answer: Document) -> float:
    """Return the seconds that the lease lives from now on; 0 if it has ended."""
    return float(answer["result"].get("TTL", 0))


def time_to_live_answer(answer: Document) -> float:
    """Return the whole seconds that a lease has left; 0 if it has ended."""
    return max(0.0, float(answer.get("TTL", 0)))  # -1: there is no such lease


def _key_value(content: Document) -> KeyValue:
    return KeyValue(
        b64decode(content["key"]),
        b64decode(content.get("value", "")),
        int(content.get("create_revision", 0)),
        int(content.get("mod_revision", 0)),
        int(content.get("version", 0)),
        int(content.get("lease", 0)),
    )
