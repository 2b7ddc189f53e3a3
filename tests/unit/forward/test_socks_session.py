"""A SOCKS client whose login cannot be checked because of a bug."""

from __future__ import annotations

from types import SimpleNamespace

import trio

from lb.forward.socks_session import SocksSession


class Users:
    async def check(self, credentials, client):
        raise RuntimeError("a library that fails")


async def test_a_bug_in_the_check_of_a_login_ends_its_client_alone():
    faults, failures = [], []
    connection = SimpleNamespace(
        frontend=SimpleNamespace(proxy=SimpleNamespace(protocols=("socks5",)), users=Users()),
        client=SimpleNamespace(host="192.0.2.1"),
        loop=SimpleNamespace(fault=lambda where, exception: faults.append((where, str(exception)))),
        failed=failures.append,
    )
    session = SocksSession(connection, 5)
    await session._check(connection.frontend.users, b"ann:sesame", trio.CancelScope())
    assert faults == [("socks", "a library that fails")]
    assert len(failures) == 1
