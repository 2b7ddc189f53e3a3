"""Session tickets: which contexts accept each other's."""

from __future__ import annotations

import attrs
import pytest

from lb.model import CertificateSpec, ListenerTlsSpec, PemSpec
from lb.tls.contexts import server_context
from lb.tls.layer import LastSession, Tls
from lb.tls.openssl import WORD, openssl
from lb.tls.tickets import share_tickets, ticket_keys
from tests.support.tls_peers import VERSIONS, certificate, client_context

NAME = "a.example.org"


@pytest.fixture(scope="module")
def spec():
    issued = certificate(NAME)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    pem = CertificateSpec(PemSpec("a.pem", chain), PemSpec("a.key", issued.private_key_pem.bytes()), (NAME,), "")
    return ListenerTlsSpec((pem,))


def resumes(client, server, last):
    """Let both shake hands and exchange a byte. Return whether they resumed the last session, which is kept."""
    ours = Tls(client, server_side=False, server_name=NAME, last=last)
    theirs = Tls(server, server_side=True)
    complete, received = False, b""
    while not complete:
        complete = ours.shake_hands(received)
        theirs.shake_hands(ours.to_send())
        received = theirs.to_send()
    ours.open(received + theirs.seal(b"x"))
    ours.closed()
    return theirs._object.session_reused


def with_keys(spec, secret):
    context = server_context(spec)
    assert share_tickets(context, ticket_keys(secret, spec))
    return context


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_context_with_the_same_keys_accepts_a_ticket_and_one_without_them_does_not(spec, version):
    client, last = client_context(version=version), LastSession()
    assert not resumes(client, with_keys(spec, b"secret"), last)
    assert resumes(client, with_keys(spec, b"secret"), last)
    assert not resumes(client, with_keys(spec, b"other"), last)
    assert not resumes(client, server_context(spec), last)


def test_a_listener_that_demands_more_has_other_keys(spec):
    demanding = attrs.evolve(spec, client_certificate="required")
    trusting = attrs.evolve(spec, client_ca=PemSpec("ca.pem", b"an authority"))
    assert len({ticket_keys(b"secret", each) for each in (spec, demanding, trusting)}) == 3
    assert ticket_keys(b"secret", spec) == ticket_keys(b"secret", attrs.evolve(spec))


def test_without_the_calls_of_openssl_nothing_is_set_and_nothing_is_resumed(spec, monkeypatch):
    monkeypatch.setattr("lb.tls.tickets.openssl", lambda: None)
    monkeypatch.setattr("lb.tls.layer.openssl", lambda: None)
    server, client, last = server_context(spec), client_context(), LastSession()
    assert not share_tickets(server, bytes(80))
    assert not any(resumes(client, server, last) for _ in range(2))


def test_calls_of_a_library_without_symbols_or_of_other_structures_are_not_used(monkeypatch):
    assert openssl() is not None
    monkeypatch.setattr("lb.tls.openssl.WORD", 4 * WORD)
    assert not openssl().works()
    monkeypatch.setattr("ctypes.CDLL", lambda _path: object())
    assert openssl.__wrapped__() is None
