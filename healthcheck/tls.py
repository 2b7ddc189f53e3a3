"""The tls probe: a handshake, and a look at the certificate."""

from __future__ import annotations

import functools
import ssl
from datetime import UTC, datetime
from pathlib import Path

from healthcheck import options
from healthcheck.probe import Passed, Probe, ProbeFailed, Secure, Target, hang_up

__all__ = ["TlsProbe"]


class TlsProbe(Probe):
    """The server passes if it agrees on TLS, with ``verify`` only if its certificate is good for its name as well.

    What the certificate must name, and what the server is asked for, is ``server_name``, by default the host of the
    server's address. ``ca`` is a file of authorities in place of those that the system trusts. A certificate that
    expires within ``warn_days`` is warned of; the server passes all the same.
    """

    def __init__(self, *, verify: bool = False, server_name: str = "", ca: str = "", warn_days: int = 14) -> None:
        if not isinstance(verify, bool):
            raise ValueError(f"verify: must be true or false, not {verify!r}")  # noqa: TRY004 - options raise this one
        if not isinstance(warn_days, int) or isinstance(warn_days, bool) or warn_days < 0:
            raise ValueError(f"warn_days: must be 0 or more, not {warn_days!r}")
        if options.text("ca", ca) and not verify:
            raise ValueError("ca: has no effect without verify = true")
        self._verify = verify
        self._server_name = options.text("server_name", server_name)
        self._warn_days = warn_days
        try:
            self._context = _context(verify, _read(ca) if ca else "")
        except ssl.SSLError as error:
            raise ValueError(f"ca: {ca!r} holds no certificate that can be read") from error

    async def check(self, target: Target) -> str | Passed:
        name = self._server_name or target.address.host.removesuffix(".") or None
        if self._verify and name is None:
            raise ProbeFailed("a unix socket has no name that a certificate could be compared with: give a server_name")
        stream = await Secure(self._context, name).shake_hands(await target.connect_plain())
        version, certificate = stream.version(), stream.getpeercert(binary_form=True)
        await hang_up(stream)
        if certificate is None:  # nobody has anonymous suites switched on, but TLS has them
            return f"{version}, no certificate"
        until = _end_of(certificate)
        days = (until - datetime.now(UTC)).days
        end = f"certificate expires in {days} days" if days >= 0 else f"certificate expired on {until.date()}"
        detail = f"{version}, {end}"
        return Passed(detail, end) if days < self._warn_days else detail


@functools.lru_cache(maxsize=16)
def _context(verify: bool, authorities: str) -> ssl.SSLContext:
    """One for all probes with these options: the system's authorities take 50 ms to load."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authorities:
        context.load_verify_locations(cadata=authorities)
    else:
        context.load_default_certs()
    return context


def _read(path: str) -> str:
    if not Path(path).is_absolute():
        raise ValueError(f"ca: must be an absolute path, not {path!r}")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"ca: {path!r} cannot be read: {str(error.strerror).lower()}") from error
    return content.decode("ascii", errors="ignore")  # what is not ASCII is not PEM, but text around it


def _end_of(certificate: bytes) -> datetime:
    """When it expires, or has expired."""
    from cryptography import x509  # noqa: PLC0415 - 90 ms and 17 MB, for those who use this probe

    return x509.load_der_x509_certificate(certificate).not_valid_after_utc
