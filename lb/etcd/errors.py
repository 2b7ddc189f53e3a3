"""Why etcd was of no use: which endpoints were asked, and what each of them said."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EtcdError"]

_OF_THE_REQUEST = frozenset({3, 5, 6, 7, 8, 9, 11, 16})
"""Codes that another endpoint would give as well: invalid argument, not found, already exists, permission denied, out
of space, failed precondition, out of range (compacted), unauthenticated. From google.golang.org/grpc/codes and etcd's
``rpctypes``."""
_OUT_OF_RANGE, _UNAUTHENTICATED = 11, 16
_BAD_TOKENS = ("invalid auth token", "revision of auth store is old", "user name is empty")


class EtcdError(Exception):
    """A request that has no answer, or a bad one.

    ``causes`` has a short text for each endpoint that was asked: ``connection refused``, ``no answer in 5 s``,
    ``authentication failed, invalid user ID or password``, ``certificate verify failed: …``.
    """

    def __init__(self, causes: Mapping[str, str], code: int = 0, *, is_too_large: bool = False) -> None:
        self.causes = dict(causes)
        self.code = code
        """gRPC's code of an error that etcd itself has sent; 0 for another one."""
        self.is_too_large = is_too_large
        """The answer has more bytes than are read; one about fewer keys would be smaller."""
        super().__init__("; ".join(self.texts))

    @property
    def texts(self) -> tuple[str, ...]:
        """``http://10.0.0.1:2379: connection refused``, one for each endpoint."""
        return tuple(f"{endpoint}: {cause}" for endpoint, cause in self.causes.items())

    @property
    def is_of_the_request(self) -> bool:
        """True if another endpoint would answer the same."""
        return self.is_too_large or self.code in _OF_THE_REQUEST

    @property
    def is_compacted(self) -> bool:
        """True if the revision that was asked for is no longer kept."""
        return self.code == _OUT_OF_RANGE

    @property
    def is_bad_token(self) -> bool:
        """True if etcd does not know the token (any more): authenticate again."""
        return self.code == _UNAUTHENTICATED or any(text in str(self) for text in _BAD_TOKENS)
