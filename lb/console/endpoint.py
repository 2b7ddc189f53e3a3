"""The admin endpoint and the token that a command uses, and its error messages."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lb.config.load import ConfigError, load_admin
from lb.console.client import AdminClient, AdminError
from lb.console.text import printable
from lb.model.address import Address

__all__ = ["BAD_USAGE", "FAILED", "OK", "UsageError", "print_errors", "with_client"]

OK, FAILED, BAD_USAGE = 0, 1, 2
TOKEN_VARIABLE = "LB_TOKEN"  # noqa: S105 - its name, not its value


class UsageError(Exception):
    """The arguments give no usable admin endpoint or token. The text is one line."""


def with_client(options: argparse.Namespace, command: Callable[[AdminClient], int]) -> int:
    """Call ``command`` with a client of the chosen endpoint; return the exit code. A failure is one line on stderr."""
    try:
        return command(_client(options))
    except ConfigError as error:
        return print_errors(BAD_USAGE, *error.errors)
    except UsageError as error:
        return print_errors(BAD_USAGE, f"lb: {error}")
    except AdminError as error:
        return print_errors(FAILED, f"lb: {error}")
    except KeyboardInterrupt:  # the usual end of `lb ctl events`
        return OK


def print_errors(code: int, *lines: str) -> int:
    """Print lines on stderr and return the exit code."""
    sys.stderr.write("".join(f"{printable(line)}\n" for line in lines))
    return code


def _client(options: argparse.Namespace) -> AdminClient:
    """Return the client. The command line takes precedence over the file, and the file over the environment."""
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
            raise UsageError("--admin: the port must not be 0")
        return address
    if not options.config:
        raise UsageError("no admin endpoint given; use --config FILE or --admin ADDRESS")
    if configured is None:
        raise UsageError(f"{options.config} has no [admin] section; use --admin ADDRESS if the endpoint is elsewhere")
    if not (configured.is_unix or configured.port):
        raise UsageError(
            f"{options.config} has port 0 in [admin]; use --admin ADDRESS with the address that 'admin.started' logs"
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
        raise UsageError(f"{path}: contains no token")
    return token
