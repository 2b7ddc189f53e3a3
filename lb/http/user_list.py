"""The users of a table ``[users.NAME]``: whether a name and a password are right."""

from __future__ import annotations

from lb.http.password_checks import PasswordChecks
from lb.http.users import load_verifier
from lb.model import UsersSpec
from lb.model.plugin import Secret

__all__ = ["LONGEST_CREDENTIALS", "UserList"]

LONGEST_CREDENTIALS = 1024
"""Bytes of user name and password together. A check of a longer one may take much longer."""
_CONTROL = bytes([*range(0x20), 0x7F])
"""Characters that neither has: RFC 7617, section 2."""


class UserList:
    """Checks credentials, which are ``user:password``. Raises ValueError if this system cannot check a hash.

    An unknown user's password is checked against the hash of another one, so that it takes as long as a known user's.
    """

    def __init__(self, users: UsersSpec, checks: PasswordChecks) -> None:
        self._hashes = dict(users.hashes)
        self._others = tuple(self._hashes.values())
        self._checks = checks
        one_of_each_kind = {_text(password_hash)[:4]: password_hash for password_hash in self._others}
        for password_hash in one_of_each_kind.values():
            load_verifier(_text(password_hash))

    def remembered(self, credentials: bytes) -> bool | None:
        """Return whether they are right; None if that has to be checked."""
        if not self._others or not _is_valid(credentials):
            return False
        known, password_hash = self._hash_of(credentials)
        right = self._checks.remembered(self._checks.key(credentials, password_hash))
        return right if right is None else right and known

    async def check(self, credentials: bytes, client: str) -> bool:
        """Return whether they are right. ``client`` is an IP address; empty for a unix socket.

        Raises CrowdedError, and TimeoutError if there was no turn in time.
        """
        known, password_hash = self._hash_of(credentials)
        key = self._checks.key(credentials, password_hash)
        right = await self._checks.check(key, credentials.partition(b":")[2], password_hash, client)
        return right and known

    def _hash_of(self, credentials: bytes) -> tuple[bool, str]:
        """Return whether the user is known, and the hash to check the password with."""
        user = credentials.partition(b":")[0].decode(errors="surrogateescape")
        known = user in self._hashes
        return known, _text(self._hashes[user] if known else self._others[hash(user) % len(self._others)])


def _is_valid(credentials: bytes) -> bool:
    return (
        len(credentials) <= LONGEST_CREDENTIALS
        and b":" in credentials
        and credentials.translate(None, _CONTROL) == credentials
    )


def _text(password_hash: Secret) -> str:
    assert isinstance(password_hash.value, str)  # noqa: S101 - the configuration has read a file of text
    return password_hash.value
