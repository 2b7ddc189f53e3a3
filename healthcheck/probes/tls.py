"""The tls probe: a handshake, and optionally a check of the certificate."""

from __future__ import annotations

import functools
import ssl
from datetime import UTC, datetime
from typing import Annotated

from healthcheck.conversation import Conversation, Script
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.probe import Passed, ProbeFailed, Secure, Target
from healthcheck.probes import options
from lb.model import PemSpec
from lb.net.tls import verifying_context

__all__ = ["TlsProbe"]


class TlsProbe(ConversationProbe):
    """The server passes if the TLS handshake succeeds, with ``verify`` only if its certificate is valid for its name.

    ``server_name`` is the SNI name and the name that the certificate must have, by default the host of the server's
    address. ``ca`` has CA certificates in place of those that the system trusts. A certificate that expires
    within ``warn_days`` gives a warning; the server still passes.
    """

    pem_files = ("ca",)

    def __init__(
        self,
        *,
        verify: bool = False,
        server_name: str = "",
        ca: PemSpec | None = None,
        warn_days: Annotated[int, {"minimum": 0}] = 14,
    ) -> None:
        if not isinstance(verify, bool):
            raise ValueError(f"verify: must be true or false, not {verify!r}")  # noqa: TRY004 - options raise ValueError
        if not isinstance(warn_days, int) or isinstance(warn_days, bool) or warn_days < 0:
            raise ValueError(f"warn_days: must be 0 or more, not {warn_days!r}")
        if ca is not None and not verify:
            raise ValueError("ca: has no effect without verify = true")
        self._verify = verify
        self._server_name = options.text("server_name", server_name)
        self._warn_days = warn_days
        self._context = _context(verify, ca)

    def secure(self, target: Target) -> Secure:
        name = self._server_name or target.address.host.removesuffix(".") or None
        if self._verify and name is None:
            raise ProbeFailed("cannot verify the certificate of a unix socket without server_name")
        return Secure(self._context, name)

    def talk(self, conversation: Conversation) -> Script:
        yield from ()
        session = conversation.tls
        assert session is not None  # noqa: S101 - this probe always uses TLS
        version, certificate = session.version(), session.getpeercert(binary_form=True)
        if certificate is None:  # an anonymous cipher suite: rarely enabled, but part of TLS
            return f"{version}, no certificate"
        until = _end_of(certificate)
        days = (until - datetime.now(UTC)).days
        end = f"certificate expires in {days} days" if days >= 0 else f"certificate expired on {until.date()}"
        detail = f"{version}, {end}"
        return Passed(detail, end) if days < self._warn_days else detail


@functools.lru_cache(maxsize=16)
def _context(verify: bool, ca: PemSpec | None) -> ssl.SSLContext:
    """Return a context shared by all probes with these options: the system's CAs take 50 ms to load."""
    if ca is None:
        return verifying_context(verify=verify)
    text = ca.content.decode("ascii", errors="ignore")  # non-ASCII bytes are text around the PEM blocks
    try:
        return verifying_context(verify=verify, authorities=text)
    except ssl.SSLError as error:
        raise ValueError(f"ca: {ca.path!r} holds no certificate that can be read") from error


def _end_of(certificate: bytes) -> datetime:
    """Return the expiry date of a certificate."""
    from cryptography import x509  # noqa: PLC0415 - the import costs 90 ms and 17 MB; only this probe needs it

    return x509.load_der_x509_certificate(certificate).not_valid_after_utc
