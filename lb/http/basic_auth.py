"""``auth``: requests need a user name and a password (RFC 7617)."""

from __future__ import annotations

import base64
from typing import ClassVar

from lb.http.password_checks import CrowdedError
from lb.http.steps import ExchangeView
from lb.http.user_list import UserList

__all__ = ["BasicAuth", "credentials_of"]

_RETRY_AFTER = ((b"Retry-After", b"1"),)


class BasicAuth:
    """Lets requests of users pass. Implements :class:`lb.http.steps.Step`.

    The server gets the Authorization field as the client sent it.
    """

    field: ClassVar[bytes] = b"authorization"
    """The field with the credentials, in lower case."""
    challenge: ClassVar[bytes] = b"WWW-Authenticate"
    status: ClassVar[int] = 401

    def __init__(self, users: UserList, realm: str) -> None:
        self._users = users
        self._challenge = ((self.challenge, f'Basic realm="{realm}", charset="UTF-8"'.encode()),)

    def begin(self, exchange: ExchangeView) -> bool:
        credentials = credentials_of(exchange.head.block.get(self.field))
        right = credentials is not None and self._users.remembered(credentials)
        if right:
            return True
        if right is None and credentials is not None:
            exchange.spawn(self._check, exchange, credentials)
        else:
            self.refuse(exchange)
        return False

    async def _check(self, exchange: ExchangeView, credentials: bytes) -> None:
        try:
            right = await self._users.check(credentials, exchange.client.host)
        except CrowdedError as error:
            exchange.fail(429 if error.by_client else 503, "auth", _RETRY_AFTER)
        except TimeoutError:
            exchange.fail(503, "auth", _RETRY_AFTER)
        else:
            if right:
                exchange.passed()
            else:
                self.refuse(exchange)

    def refuse(self, exchange: ExchangeView) -> None:
        """Ask for other credentials."""
        exchange.fail(self.status, "auth", self._challenge)


def credentials_of(authorization: bytes | None) -> bytes | None:
    """Return what a field has for the scheme Basic: ``user:password``, as a rule. None if it has none."""
    if authorization is None or authorization[:6].lower() != b"basic ":
        return None
    try:
        return base64.b64decode(authorization[6:].lstrip(b" "), validate=True)
    except ValueError:
        return None
