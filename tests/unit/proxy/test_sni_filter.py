"""The SNI filter: what it makes of bytes, of a call without new bytes, and of the client's end."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from lb.proxy.filters import FilterFailed
from lb.proxy.tls_filters import SniFilter
from tests.support.splicing import connected_sockets
from tests.unit.tls.test_client_hello import hello

HELLO = hello("a.example.org")


@pytest.fixture
def ends():
    with connected_sockets() as (ours, theirs):
        yield SimpleNamespace(sock=ours, server_name=None), theirs


def test_a_call_without_new_bytes_is_not_the_end(ends):
    """An edge may come late, for bytes that an earlier peek has seen."""
    downstream, theirs = ends
    run = SniFilter().begin(downstream)
    theirs.send(HELLO[:10])
    assert not any(run.proceed() for _ in range(3))
    theirs.send(HELLO[10:])
    assert run.proceed()
    assert downstream.server_name == "a.example.org"
    assert downstream.sock.recv(10_000) == HELLO


@pytest.mark.parametrize("first", [b"", HELLO[:10]])
def test_the_end_before_the_hello_is_the_client_leaving(ends, first):
    downstream, theirs = ends
    run = SniFilter().begin(downstream)
    theirs.send(first)
    assert not run.proceed()
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(FilterFailed) as caught:
        run.proceed()
    assert caught.value.ended_by == "client"
