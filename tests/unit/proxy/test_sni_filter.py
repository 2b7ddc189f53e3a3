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


@pytest.mark.parametrize("first", [b"S", b"SSH-2.0-OpenSSH_9.2\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x80\x2e\x01"])
def test_who_does_not_speak_tls_passes_at_once_if_there_is_a_pool_for_it(ends, first):
    downstream, theirs = ends
    theirs.send(first)
    run = SniFilter(passes_others=True).begin(downstream)
    assert run.proceed()
    assert downstream.server_name is None
    assert run.unread == len(first), "the bytes are left for the server"


def test_who_says_nothing_passes_when_its_time_is_over_and_half_a_hello_does_not(ends):
    downstream, theirs = ends
    run = SniFilter(passes_others=True).begin(downstream)
    assert not run.proceed()
    assert run.time_over()
    assert run.proceed()
    assert downstream.server_name is None
    assert not SniFilter().begin(downstream).time_over()
    run = SniFilter(passes_others=True).begin(downstream)
    theirs.send(HELLO[:10])
    assert not run.proceed()
    assert not run.time_over()
