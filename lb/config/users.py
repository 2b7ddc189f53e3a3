"""Read ``[users.NAME]``: a realm and an htpasswd file, whose password hashes are checked for their kind and syntax."""

from __future__ import annotations

import re
from pathlib import Path

from lb.model import Secret, UsersSpec
from lb.model.shape import shaped, table_of
from lb.model.table import Table
from lb.model.values import file_name, name, shown, text
from lb.net.files import read_file

__all__ = ["USERS_TABLE", "parse_htpasswd", "read_users"]

_MOST_USERS = 10_000
"""An estimate. More belong in a service that ``forward_auth`` asks."""
_MOST_ERRORS = 10
"""Maximum lines of errors of one file: a file of the wrong kind has an error on each of its lines."""
_LONGEST_NAME = 255

_BASE64 = r"[A-Za-z0-9+/]"
_CRYPT = r"[./0-9A-Za-z]"
_HASHES = (
    re.compile(rf"\$2[aby]\$(?P<cost>[0-9]{{2}})\${_CRYPT}{{53}}"),
    re.compile(
        r"\$argon2(?:id|i|d)\$(?:v=(?:16|19)\$)?m=(?P<memory>[1-9][0-9]{0,9}),t=(?P<passes>[1-9][0-9]{0,9}),"
        rf"p=[1-9][0-9]{{0,2}}\${_BASE64}{{11,86}}\${_BASE64}{{16,86}}"
    ),
    re.compile(rf"\$5\$(?:rounds=(?P<rounds>[1-9][0-9]{{0,8}})\$)?[!-#%-9;-~]{{0,16}}\${_CRYPT}{{43}}"),
    re.compile(rf"\$6\$(?:rounds=(?P<rounds>[1-9][0-9]{{0,8}})\$)?[!-#%-9;-~]{{0,16}}\${_CRYPT}{{86}}"),
    re.compile(rf"\$apr1\${_CRYPT}{{1,8}}\${_CRYPT}{{22}}"),
)
"""bcrypt, argon2, SHA-crypt (SHA-256, SHA-512), apr1."""
_KINDS = ("$2a$", "$2b$", "$2y$", "$argon2i$", "$argon2d$", "$argon2id$", "$5$", "$6$", "$apr1$")
_MOST = {"cost": 16, "memory": 1 << 20, "passes": 64, "rounds": 1_000_000}
"""The dearest hashes: each check costs some seconds, or a GiB. Estimates. Memory is in KiB."""


def read_users(own_name: str, table: Table, directory: Path) -> UsersSpec:
    """Read the table ``[users.<own_name>]``. The file's path is relative to ``directory``."""
    table.convert(own_name, name, table.path)
    file = table.value("file", file_name)
    if not table.has("file"):
        table.complain('missing, as in file = "staff.htpasswd"', table.at("file"))
    realm = table.value("realm", _realm)
    table.finish()
    users = () if file is None else _users(file, table, directory)
    return UsersSpec(own_name, own_name if realm is None else realm, file or "", users)


@shaped({"type": "string", "pattern": r"^[ !#-\[\]-~]*$"})
def _realm(value: object) -> str:
    """Read a realm, which browsers show. It is sent in quotes."""
    realm = text(value)
    if not (realm.isascii() and realm.isprintable()) or '"' in realm or "\\" in realm:
        raise ValueError(f"must hold ASCII characters without quotes and backslashes, not {shown(realm)}")
    return realm


USERS_TABLE = table_of({"file": file_name, "realm": _realm}, required=["file"])


def _users(file: str, table: Table, directory: Path) -> tuple[tuple[str, Secret], ...]:
    at = table.at("file")
    try:
        content = read_file(directory / file)
    except OSError as error:
        table.complain(f"{file!r} cannot be read: {(error.strerror or str(error)).lower()}", at)
        return ()
    users, errors = parse_htpasswd(content, file)
    for problem in errors:
        table.complain(problem, at)
    return users


def parse_htpasswd(content: bytes, file: str) -> tuple[tuple[tuple[str, Secret], ...], tuple[str, ...]]:
    """Return users with their password hashes, and the errors, at most 10: ``'staff.htpasswd', line 3: …``.

    A line is ``name:hash``; a third field is a comment, as for nginx. Empty lines and those that begin with ``#`` do
    not count. No error shows a hash, which may be a password.
    """
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        broken = content.count(b"\n", 0, error.start) + 1
        return (), (f"{file!r}, line {broken}: is not UTF-8: byte 0x{content[error.start]:02x}",)
    found: dict[str, Secret] = {}
    errors: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            problem = _add_user(line, found)
            errors += [f"{file!r}, line {number}: {problem}"] if problem else []
        if len(errors) > _MOST_ERRORS or len(found) > _MOST_USERS:
            break
    if len(errors) > _MOST_ERRORS:
        errors[_MOST_ERRORS - 1 :] = [f"{file!r}: there are more errors"]
    if len(found) > _MOST_USERS:
        errors.append(f"{file!r}: has more than {_MOST_USERS} users")
    if not (found or errors):
        errors.append(f"{file!r}: has no user")
    return tuple(found.items()), tuple(errors)


def _add_user(line: str, found: dict[str, Secret]) -> str:
    """Add the user of a line to those that were found. Return what is wrong with the line; empty if it is good."""
    user, colon, rest = line.rstrip("\r").partition(":")
    if not colon:
        return "must be a name and a password hash with a colon between them"
    if not user or not user.isprintable() or len(user) > _LONGEST_NAME:
        return f"a name has 1 to {_LONGEST_NAME} printable characters, not {shown(user)}"
    if user in found:
        return f"{shown(user)} is in a line before"
    password_hash = rest.partition(":")[0]
    found[user] = Secret(password_hash)
    problem = _problem_of_hash(password_hash)
    return problem and f"the password of {shown(user)} {problem}; make it anew with 'htpasswd -B'"


def _problem_of_hash(password_hash: str) -> str:
    """Return what is wrong with a password hash; empty if it can be used."""
    match = next(filter(None, (kind.fullmatch(password_hash) for kind in _HASHES)), None)
    if match is not None:
        dear = [key for key, value in match.groupdict().items() if value is not None and int(value) > _MOST[key]]
        return f"costs too much to check, its {dear[0]} is above {_MOST[dear[0]]}" if dear else ""
    if password_hash.startswith(_KINDS):
        return "has a hash that is damaged"
    if password_hash.startswith(("{SHA}", "{SSHA}")):
        return "has a hash of SHA-1, which is guessed too fast"
    if password_hash.startswith("$"):
        return "has a hash of another kind than bcrypt, argon2, SHA-crypt and apr1"
    return "is plain text, or a hash of DES, which is guessed too fast"
