"""What the layer tells about a client's TLS: version, cipher, ALPN, the name asked for, the client's certificate."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest

from lb.tls.layer import Tls
from tests.support.tls_peers import VERSIONS, authority, client_context, server_context

NAME = "a.example.org"


def met(client, server, name=NAME):
    """Return our side of a connection whose handshake is complete."""
    ours = Tls(server, server_side=True)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(incoming, outgoing, server_hostname=name)
    complete = False
    for _ in range(4):
        with suppress(ssl.SSLWantReadError):
            theirs.do_handshake()
        complete = complete or ours.shake_hands(outgoing.read())
        incoming.write(ours.to_send())
    assert complete
    return ours


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_version_cipher_and_protocol_are_those_of_the_handshake(version):
    server = server_context(NAME, version=version)
    server.set_alpn_protocols(["h2", "http/1.1"])
    ours = met(client_context(alpn=["http/1.1"]), server)
    assert ours.version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    assert ours.cipher.startswith({"TLSv1_2": "ECDHE-", "TLSv1_3": "TLS_"}[version.name])
    assert ours.protocol == "http/1.1"
    assert met(client_context(), server).protocol is None


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("name", [NAME, None])
def test_the_name_is_the_one_that_the_client_sent(version, name):
    client = client_context()
    client.check_hostname = name is not None
    assert met(client, server_context(NAME, version=version), name).client_server_name == name


def issued(common_name):
    return authority().issue_cert("client.example.org", common_name=common_name)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize(("own", "expected"), [("alice", "alice"), (None, ""), ("", None)])
def test_the_common_name_is_that_of_a_verified_certificate(version, own, expected):
    """An empty text: the certificate has none. None: the client has no certificate."""
    server = server_context(NAME, version=version)
    server.verify_mode = ssl.CERT_OPTIONAL
    authority().configure_trust(server)
    client = client_context()
    if own != "":
        issued(own).configure_cert(client)
    assert met(client, server).common_name == expected
