"""Whom an operator's command asks, with which token, and what it says when that fails."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lb.address import Address
from lb.config import ConfigError, load_admin
from lb.operate.ctl_client import AdminClient, AdminError
from lb.operate.ctl_words import printable

__all__ = ["BAD_USAGE", "FAILED", "OK", "UsageError", "asking", "complain"]

OK, FAILED, BAD_USAGE = 0, 1, 2
TOKEN_VARIABLE = "LB_TOKEN"  # noqa: S105 - its name, not its value


class UsageError(Exception):
    """It does not say whom to ask, or with which token; the text is one line."""


def asking(options: argparse.Namespace, do: Callable[[AdminClient], int]) -> int:
    """Do that with whom the command line names; returns the exit code. What fails is one line on stderr."""
    try:
        return do(_client(options))
    except ConfigError as error:
        return complain(BAD_USAGE, *error.errors)
    except UsageError as error:
        return complain(BAD_USAGE, f"lb: {error}")
    except AdminError as error:
        return complain(FAILED, f"lb: {error}")
    except KeyboardInterrupt:  # how a reader of events says that it has seen enough
        return OK


def complain(code: int, *lines: str) -> int:
    """Say so on stderr; the exit code."""
    sys.stderr.write("".join(f"{printable(line)}\n" for line in lines))
    return code


def _client(options: argparse.Namespace) -> AdminClient:
    """What the command line names counts before the file, and both before the environment."""
    spec = load_admin(options.config) if options.config else None
    token = _token_in(options.token_file) if options.token_file else ""
    token = token or (str(spec.token.value) if spec and spec.token else "") or os.environ.get(TOKEN_VARIABLE, "")
    return AdminClient(_address(options, spec.bind if spec else None), token)


def _address(options: argparse.Namespace, configured: Address | None) -> Address:
    if options.admin:
        try:
            address = Address.parse(options.admin)
        except ValueError as error:
            raise UsageError(f"--admin: {error}") from error
        if not (address.is_unix or address.port):
            raise UsageError("--admin: which port? 0 is none to ask at")
        return address
    if not options.config:
        raise UsageError("whom to ask? --config FILE, or --admin ADDRESS")
    if configured is None:
        raise UsageError(f"{options.config} has no [admin], so nobody answers; or --admin ADDRESS")
    if not (configured.is_unix or configured.port):
        raise UsageError(
            f"{options.config} lets the system choose the port: --admin ADDRESS, as 'admin.started' logs it"
        )
    return configured


def _token_in(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8") from error
    if not token:
        raise UsageError(f"{path}: holds no token")
    return token
