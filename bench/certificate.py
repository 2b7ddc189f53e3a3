"""The certificate of all TLS in the benchmark: ECDSA with P-256, signed by itself, made at each run by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["SERVER_NAME", "certificate_path", "make_certificate"]

SERVER_NAME = "localhost"
"""Name in the certificate, and the server name (SNI) that clients send. wrk sends no name that it cannot look up."""


def certificate_path(directory: Path) -> Path:
    """Return the path of the PEM file with the key and the certificate."""
    return directory / "certificate.pem"


def make_certificate(directory: Path) -> None:
    """Write the file. Raises OSError if openssl fails."""
    path = certificate_path(directory)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={SERVER_NAME}", "-addext", f"subjectAltName=DNS:{SERVER_NAME}"]
    done = subprocess.run([*command, "-keyout", "-", "-out", "-"], capture_output=True, check=False)
    if done.returncode:
        raise OSError(f"openssl made no certificate: {done.stderr.decode(errors='replace')}")
    path.touch(0o600)
    path.write_bytes(done.stdout)
