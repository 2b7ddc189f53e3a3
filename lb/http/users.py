"""Password hashes of htpasswd files: bcrypt, argon2, SHA-crypt and apr1.

A check takes milliseconds to seconds of CPU time, so it belongs into a thread. Each library releases the interpreter
while it computes, except that of apr1. SHA-crypt is computed by the system's crypt_r(3), because the libraries for
Python compute it in Python: at half the speed, and in turns with the traffic instead of beside it.
"""

from __future__ import annotations

import ctypes
import functools
import hmac
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["holds_interpreter", "load_verifier", "verify"]

Verifier: TypeAlias = Callable[[bytes, str], bool]

_BCRYPT_LONGEST = 72
"""bcrypt heeds no more bytes of a password. htpasswd cuts longer ones, the library refuses them."""
_CRYPT_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2", None)
"""glibc's and libxcrypt's; musl has it in its libc."""
_CRYPT_DATA = 131_232
"""Bytes of ``struct crypt_data``: glibc's, the largest."""


def load_verifier(password_hash: str) -> Verifier:
    """Load the library for a hash, and return its function. Later calls are quick.

    Raises ValueError for a hash of another kind, or if this system cannot check it.
    """
    kind = password_hash.split("$", 2)[1] if password_hash.startswith("$") else ""
    load = _LOADERS.get(kind)
    if load is None:
        raise ValueError("not a hash of bcrypt, argon2, SHA-crypt or apr1")
    return load()


def verify(password: bytes, password_hash: str) -> bool:
    """Return whether this is the password. Takes long: for a thread. ``password`` holds no NUL."""
    return load_verifier(password_hash)(password, password_hash)


def holds_interpreter(password_hash: str) -> bool:
    """Return whether other threads of this process wait while such a hash is checked."""
    return password_hash.startswith("$apr1$")


@functools.cache
def _bcrypt() -> Verifier:
    from bcrypt import checkpw  # noqa: PLC0415 - few listeners need it

    return lambda password, password_hash: checkpw(password[:_BCRYPT_LONGEST], password_hash.encode())


@functools.cache
def _argon2() -> Verifier:
    from argon2.exceptions import VerifyMismatchError  # noqa: PLC0415 - the same
    from argon2.low_level import Type, verify_secret  # noqa: PLC0415 - the same

    types = {"argon2i": Type.I, "argon2d": Type.D, "argon2id": Type.ID}

    def check(password: bytes, password_hash: str) -> bool:
        try:
            return verify_secret(password_hash.encode(), password, types[password_hash.split("$", 2)[1]])
        except VerifyMismatchError:
            return False

    return check


@functools.cache
def _sha_crypt() -> Verifier:
    crypt_r = _crypt_r()

    def check(password: bytes, password_hash: str) -> bool:
        expected = password_hash.encode()
        found = crypt_r(password, expected, ctypes.create_string_buffer(_CRYPT_DATA))
        return found is not None and hmac.compare_digest(found, expected)

    return check


def _crypt_r() -> Callable[..., bytes | None]:
    for name in _CRYPT_LIBRARIES:
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
        function.restype = ctypes.c_char_p
        return function
    raise ValueError("this system has no crypt_r(3) for hashes of SHA-crypt")


@functools.cache
def _apr1() -> Verifier:
    from passlib.hash import apr_md5_crypt  # noqa: PLC0415 - the same

    return lambda password, password_hash: bool(apr_md5_crypt.verify(password, password_hash))


_LOADERS: dict[str, Callable[[], Verifier]] = {
    **dict.fromkeys(("2a", "2b", "2y"), _bcrypt),
    **dict.fromkeys(("argon2i", "argon2d", "argon2id"), _argon2),
    **dict.fromkeys(("5", "6"), _sha_crypt),
    "apr1": _apr1,
}
"""By the text between the first two dollar signs."""
