"""``auth``: requests need a user name and a password (RFC 7617)."""

from __future__ import annotations

import base64

from lb.http.password_checks import CrowdedError, PasswordChecks
from lb.http.steps import ExchangeView
from lb.http.users import load_verifier
from lb.model import UsersSpec
from lb.model.plugin import Secret

__all__ = ["BasicAuth"]

_LONGEST = 1024
"""Bytes of user name and password together. A check of a longer one may take much longer."""
_CONTROL = bytes([*range(0x20), 0x7F])
"""Characters that neither has: RFC 7617, section 2."""
_RETRY_AFTER = ((b"Retry-After", b"1"),)


class BasicAuth:
    """Lets requests of the users pass that a file names. Implements :class:`lb.http.steps.Step`.

    An unknown user's password is checked against the hash of another one, so that it takes as long as a known user's.
    The server gets the Authorization field as the client sent it.
    """

    def __init__(self, users: UsersSpec, checks: PasswordChecks) -> None:
        self._hashes = dict(users.hashes)
        self._others = tuple(self._hashes.values())
        self._checks = checks
        self._challenge = ((b"WWW-Authenticate", f'Basic realm="{users.realm}", charset="UTF-8"'.encode()),)
        one_of_each_kind = {_text(password_hash)[:4]: password_hash for password_hash in self._others}
        for password_hash in one_of_each_kind.values():
            load_verifier(_text(password_hash))

    def begin(self, exchange: ExchangeView) -> bool:
        credentials = _credentials(exchange.head.block.get(b"authorization"))
        if credentials is None or not self._others:
            self._refuse(exchange)
            return False
        user = credentials.partition(b":")[0].decode(errors="surrogateescape")
        known = user in self._hashes
        password_hash = _text(self._hashes[user] if known else self._others[hash(user) % len(self._others)])
        key = self._checks.key(credentials, password_hash)
        right = self._checks.remembered(key)
        if right and known:
            return True
        if right is None:
            exchange.spawn(self._check, exchange, credentials, key, password_hash, known)
        else:
            self._refuse(exchange)
        return False

    async def _check(
        self, exchange: ExchangeView, credentials: bytes, key: bytes, password_hash: str, known: bool
    ) -> None:
        password = credentials.partition(b":")[2]
        try:
            right = await self._checks.check(key, password, password_hash, exchange.client.host)
        except CrowdedError as error:
            exchange.fail(429 if error.by_client else 503, "auth", _RETRY_AFTER)
        except TimeoutError:
            exchange.fail(503, "auth", _RETRY_AFTER)
        else:
            if right and known:
                exchange.passed()
            else:
                self._refuse(exchange)

    def _refuse(self, exchange: ExchangeView) -> None:
        exchange.fail(401, "auth", self._challenge)


def _text(password_hash: Secret) -> str:
    assert isinstance(password_hash.value, str)  # noqa: S101 - the configuration has read a file of text
    return password_hash.value


def _credentials(authorization: bytes | None) -> bytes | None:
    """Return ``user:password``; None if there is none that is valid."""
    if authorization is None or authorization[:6].lower() != b"basic ":
        return None
    try:
        credentials = base64.b64decode(authorization[6:].lstrip(b" "), validate=True)
    except ValueError:
        return None
    if len(credentials) > _LONGEST or b":" not in credentials or credentials.translate(None, _CONTROL) != credentials:
        return None
    return credentials
