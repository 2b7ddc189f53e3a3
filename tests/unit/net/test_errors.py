"""Which errors are caused by this host, and what they are called."""

from __future__ import annotations

import ssl

import pytest

from lb.net.errors import LOCAL_ERRORS, describe_error, is_local_error


@pytest.mark.parametrize("number", sorted(LOCAL_ERRORS))
def test_a_local_error_is_told_by_its_number(number):
    assert is_local_error(OSError(number, "x"))


@pytest.mark.parametrize("number", sorted(LOCAL_ERRORS))
def test_a_tls_error_is_never_local_whatever_its_number(number):
    """A failed handshake has the number 1, that of EPERM: a server with a bad certificate stayed up."""
    assert not is_local_error(ssl.SSLError(number, "x"))


def test_a_certificate_that_is_not_trusted_is_named():
    error = ssl.SSLCertVerificationError(ssl.SSL_ERROR_SSL, "x")
    error.verify_message = "self-signed certificate"
    assert describe_error(error) == "certificate verify failed: self-signed certificate"
    assert not is_local_error(error)
