"""OpenSSL contexts for clients and for servers, made from the configuration. No files are read.

Each process makes its own contexts, because they cannot be sent to another process.
"""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from lb.model import CertificateSpec, ListenerTlsSpec, PemSpec, PoolTlsSpec
from lb.model.address import Address
from lb.net.tls import verifying_context

__all__ = ["check_authority", "check_certificate", "client_context", "name_of", "server_context"]

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def server_context(spec: ListenerTlsSpec) -> ssl.SSLContext:
    """Return the context of a listener. Of several certificates, it uses the one for the client's server name (SNI)."""
    contexts = [_context_of_one(spec, certificate) for certificate in spec.certificates]
    first = contexts[0]
    if len(contexts) == 1:
        return first
    by_name: dict[str, ssl.SSLContext] = {}
    for certificate, context in zip(spec.certificates, contexts, strict=True):
        for name in certificate.names:
            by_name.setdefault(name, context)

    def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        requested = (name or "").lower()
        chosen = by_name.get(requested) or by_name.get(f"*.{requested.partition('.')[2]}")
        if chosen is not None:
            connection.context = chosen

    first.sni_callback = choose
    return first


def _context_of_one(spec: ListenerTlsSpec, certificate: CertificateSpec) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[spec.min_version]
    context.num_tickets = 1  # a client needs one for its next connection, and each costs a fifth of the handshake
    context.options |= ssl.OP_NO_RENEGOTIATION  # clients could force expensive handshakes with it
    _load(context, certificate)
    _set_alpn(context, spec.alpn)
    context.verify_mode = VERIFY[spec.client_certificate]
    if spec.client_ca is not None:
        context.load_verify_locations(cadata=_text(spec.client_ca))
    return context


def client_context(spec: PoolTlsSpec) -> ssl.SSLContext:
    """Return the context for the servers of a pool."""
    context = verifying_context(verify=spec.verify, authorities=_text(spec.ca) if spec.ca is not None else "")
    _set_alpn(context, spec.alpn)
    if spec.certificate is not None:
        _load(context, spec.certificate)
    return context


def name_of(spec: PoolTlsSpec, server: Address) -> str | None:
    """Return the name sent to a server (SNI), which its certificate must have too; None if there is none."""
    return spec.server_name or server.host.removesuffix(".") or None


def check_certificate(certificate: CertificateSpec) -> None:
    """Check that OpenSSL accepts a certificate and its key.

    Raises ValueError if not: ``key: message`` or ``certificate: message``.
    """
    try:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate)
    except ssl.SSLError as error:
        key = certificate.key
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"key: {key.path!r} does not belong to {certificate.chain.path!r}") from error
        if error.reason is not None:  # for example a weak key
            raise ValueError(f"certificate: {certificate.chain.path!r}: {error.reason.lower()}") from error
        raise ValueError(f"key: {key.path!r} holds no private key that can be read") from error


def check_authority(authority: PemSpec) -> None:
    """Check a file of CA certificates. Raises ValueError if it has none."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=_text(authority))
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{authority.path!r} holds no certificate that can be read") from error


def _set_alpn(context: ssl.SSLContext, protocols: Sequence[str]) -> None:
    if protocols:
        context.set_alpn_protocols(list(protocols))


def _text(pem: PemSpec) -> str:
    return pem.content.decode("ascii", errors="ignore")  # non-ASCII text is a comment around the PEM blocks


def _load(context: ssl.SSLContext, certificate: CertificateSpec) -> None:
    def reject_password() -> NoReturn:
        raise ValueError(f"key: {certificate.key.path!r} is encrypted; only keys without a password are supported")

    with _as_file(certificate.chain) as chain, _as_file(certificate.key) as key:
        context.load_cert_chain(chain, key, password=reject_password)


@contextmanager
def _as_file(pem: PemSpec) -> Iterator[str]:
    """Yield the path of an in-memory file with this content, because Python's ssl reads keys only from files."""
    in_memory = sys.platform == "linux"
    with os.fdopen(os.memfd_create("pem"), "w+b") if in_memory else tempfile.TemporaryFile() as file:
        file.write(pem.content)
        file.flush()
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"
