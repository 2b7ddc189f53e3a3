"""Password hashes: those of other programs, and live ones of Apache's htpasswd."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio

from lb.http import users
from lb.http.users import load_verifier, verify
from tests.support.peers import needs_program

PASSWORD = b"open sesame"
HASHES = {
    "htpasswd -B": "$2y$04$r19DfTnLl4gpjBCSAKdAIO1W.5zgMty1lKHY75kutcSvsjc7yDsOO",
    "mkpasswd -m bcrypt": "$2b$05$az2RAHJiFKUHjoFl4vBMBOsZHzGeve/4FLL6y/4Jt90iqkmSnA3Uq",
    "mkpasswd -m bcrypt-a": "$2a$05$7Wj47EVBUFcO..XCV6gb/OLM66Hf3rSIjUq.BSMG5ZPfqhrjRg/H.",
    "htpasswd -m": "$apr1$RpAgPb1s$j2MukWyNSPd4UuuwCh9oo.",
    "openssl passwd -apr1": "$apr1$96gNB3NV$wO7ko4rToVk9R8tAgyGl80",
    "htpasswd -2": "$5$Op2NQ6TzM1lUZsv0$hAfXHtbQF8UDICILHVwJo7kOQOb1v1DC7RKk6Ngbmi4",
    "htpasswd -5": "$6$VAlJfgRPIGbhi4h6$"
    "qKwqE81dq0Gpvd/s2.3T9HFwV6zG/tQpEGCQnwpRpqfnI6KQ8IgmvUY64.YOoiXi2MNfUfNrS4MCNV6l2ynTy0",
    "htpasswd -5 -r 10000": "$6$rounds=10000$xo5IljK6MjLPeNIF$"
    "Xf23fc0gnBrZgzXXEZLqmUtlGjnJ5ScKX9b.wOXycCTLpTllWBB/26LaNNdFDQ8sSh6ig8H1gn8vuXQnzhJ6S0",
    "argon2 -i": "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$hpFhNvbJJwjjA84x9cYlOIqrRl1ujF9ZqvCGv8ZfPz4",
    "argon2 -d": "$argon2d$v=19$m=256,t=2,p=1$c29tZXNhbHQ$JNZ8ZRq69LouJmyc737k9sctUlBYoM/SZYlLGqKoN/4",
    "argon2 -id": "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$9Sqal12f794J2Vj5YXYwMh+GnxUcknwBeDzEOr83SKM",
    "argon2 -id -v 10": "$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nkanrtQFGuLNNof5hKM75tSPejIsWz4ztzsymb8EUiY",
}
"""Hashes of PASSWORD, by the command that made them."""


@pytest.mark.parametrize("password_hash", HASHES.values(), ids=HASHES)
def test_a_hash_knows_its_password_and_no_other(password_hash):
    assert verify(PASSWORD, password_hash)
    for other in (b"", b"open sesam", b"open sesame ", b"Open sesame", PASSWORD * 30):
        assert not verify(other, password_hash)


@needs_program("htpasswd")
@pytest.mark.parametrize("option", ["-B", "-m", "-2", "-5"])
@pytest.mark.parametrize("password", ["x", "ünïcödé ☃", "a" * 71, "b" * 72, "c" * 73, "d" * 200, ":colons:and spaces "])
def test_hashes_of_apache_with_whatever_password(option, password):
    made = subprocess.run(["htpasswd", "-nb", option, "user", password], check=True, capture_output=True, text=True)
    password_hash = made.stdout.strip().removeprefix("user:")
    assert verify(password.encode(), password_hash)
    assert not verify(b"!" + password.encode(), password_hash)


@pytest.mark.parametrize(
    "text", ["", "secret", "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "$1$abc$def", "$y$j9T$abc$def", "$"]
)
def test_a_hash_of_another_kind_is_refused(text):
    with pytest.raises(ValueError, match=r"^not a hash of bcrypt, argon2, SHA-crypt or apr1$"):
        load_verifier(text)


def test_a_system_without_crypt_says_so(monkeypatch):
    monkeypatch.setattr(users, "_CRYPT_LIBRARIES", ("libnone.so.1",))
    users._sha_crypt.cache_clear()
    with pytest.raises(ValueError, match=r"^this system has no crypt_r\(3\)"):
        load_verifier(HASHES["htpasswd -5"])


async def test_the_traffic_goes_on_while_a_hash_of_sha_crypt_is_checked(monkeypatch):
    """A library in Python would hold the interpreter for a switch interval each time."""
    slow = "$6$rounds=200000$saltsalt$" + "." * 86
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # only who releases the interpreter lets others run
    try:
        turns = 0
        async with trio.open_nursery() as nursery:

            async def check():
                assert not await trio.to_thread.run_sync(verify, PASSWORD, slow)
                nursery.cancel_scope.cancel()

            nursery.start_soon(check)
            while True:
                await trio.sleep(0.001)
                turns += 1
    finally:
        sys.setswitchinterval(interval)
        assert turns > 10
