"""What OpenSSL needs to know to speak TLS with clients or with servers, made from the configuration. No files are read.

Each process makes its own: they cannot be sent from one to another.
"""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from lb.address import Address
from lb.model import CertificateSpec, ListenerTlsSpec, PemSpec, PoolTlsSpec

__all__ = ["check_authority", "check_certificate", "client_context", "name_of", "server_context"]

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def server_context(spec: ListenerTlsSpec) -> ssl.SSLContext:
    """For a listener. With several certificates, the one is used that is for the name that the client asks for."""
    contexts = [_context_of_one(spec, certificate) for certificate in spec.certificates]
    first = contexts[0]
    if len(contexts) == 1:
        return first
    by_name: dict[str, ssl.SSLContext] = {}
    for certificate, context in zip(spec.certificates, contexts, strict=True):
        for name in certificate.names:
            by_name.setdefault(name, context)

    def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        asked = (name or "").lower()
        chosen = by_name.get(asked) or by_name.get(f"*.{asked.partition('.')[2]}")
        if chosen is not None:
            connection.context = chosen

    first.sni_callback = choose
    return first


def _context_of_one(spec: ListenerTlsSpec, certificate: CertificateSpec) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[spec.min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION  # which lets a client cost us a handshake as often as it likes
    _load(context, certificate)
    _offer(context, spec.alpn)
    context.verify_mode = VERIFY[spec.client_certificate]
    if spec.client_ca is not None:
        context.load_verify_locations(cadata=_text(spec.client_ca))
    return context


def client_context(spec: PoolTlsSpec) -> ssl.SSLContext:
    """For the servers of a pool."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not spec.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif spec.ca is not None:
        context.load_verify_locations(cadata=_text(spec.ca))
    else:
        context.load_default_certs()
    _offer(context, spec.alpn)
    if spec.certificate is not None:
        _load(context, spec.certificate)
    return context


def name_of(spec: PoolTlsSpec, server: Address) -> str | None:
    """The name that a server is asked for, and that its certificate must have; None if it has none."""
    return spec.server_name or server.host.removesuffix(".") or None


def check_certificate(certificate: CertificateSpec) -> None:
    """Raises ValueError for a pair that OpenSSL does not take: ``key: message`` or ``certificate: message``."""
    try:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate)
    except ssl.SSLError as error:
        key = certificate.key
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"key: {key.path!r} does not belong to {certificate.chain.path!r}") from error
        if error.reason is not None:  # too weak a key, say
            raise ValueError(f"certificate: {certificate.chain.path!r}: {error.reason.lower()}") from error
        raise ValueError(f"key: {key.path!r} holds no private key that can be read") from error


def check_authority(authority: PemSpec) -> None:
    """Raises ValueError for a file without certificates."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=_text(authority))
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{authority.path!r} holds no certificate that can be read") from error


def _offer(context: ssl.SSLContext, protocols: Sequence[str]) -> None:
    if protocols:
        context.set_alpn_protocols(list(protocols))


def _text(pem: PemSpec) -> str:
    return pem.content.decode("ascii", errors="ignore")  # what is not ASCII is not PEM, but text around it


def _load(context: ssl.SSLContext, certificate: CertificateSpec) -> None:
    def refuse() -> NoReturn:
        raise ValueError(
            f"key: {certificate.key.path!r} is encrypted, and nobody is there to be asked for the password"
        )

    with _as_file(certificate.chain) as chain, _as_file(certificate.key) as key:
        context.load_cert_chain(chain, key, password=refuse)


@contextmanager
def _as_file(pem: PemSpec) -> Iterator[str]:
    """The path of a file in memory, as Python's ssl reads keys from files only."""
    in_memory = sys.platform == "linux"
    with os.fdopen(os.memfd_create("pem"), "w+b") if in_memory else tempfile.TemporaryFile() as file:
        file.write(pem.content)
        file.flush()
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"
