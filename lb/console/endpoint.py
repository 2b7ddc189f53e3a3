"""The admin endpoint and the token that a command uses, and its error messages."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lb.config.load import ConfigError, load_admin
from lb.console.client import AdminClient, AdminError
from lb.console.config_file import PLACES, UsageError, found_config, named_config
from lb.model import AdminSpec
from lb.model.address import Address
from lb.model.printable import printable

__all__ = ["BAD_USAGE", "FAILED", "OK", "print_errors", "with_client"]

OK, FAILED, BAD_USAGE = 0, 1, 2
TOKEN_VARIABLE = "LB_TOKEN"  # noqa: S105 - its name, not its value


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
    """Return the client. The command line takes precedence over the file, and the file over the environment.

    With ``--admin`` only a file that the command line names is read, as others' tokens are not for that address.
    """
    file = named_config(options) if options.admin else found_config(options)
    spec = load_admin(file) if file else None
    token = _token_in(options.token_file) if options.token_file else ""
    token = token or (str(spec.token.value) if spec and spec.token else "") or os.environ.get(TOKEN_VARIABLE, "")
    return AdminClient(_given(options.admin) if options.admin else _configured(file, spec), token)


def _given(admin: str) -> Address:
    """Return the address of ``--admin``."""
    try:
        address = Address.parse(admin)
    except ValueError as error:
        raise UsageError(f"--admin: {error}") from error
    if not (address.is_unix or address.port):
        raise UsageError("--admin: the port must not be 0")
    return address


def _configured(file: Path | None, spec: AdminSpec | None) -> Address:
    """Return the address that the file has."""
    if file is None:
        raise UsageError(
            f"no admin endpoint given, and there is no {' and no '.join(PLACES)}; use --config FILE or --admin ADDRESS"
        )
    if spec is None:
        raise UsageError(f"{file} has no [admin] section; use --admin ADDRESS if the endpoint is elsewhere")
    if not (spec.bind.is_unix or spec.bind.port):
        raise UsageError(
            f"{file} has port 0 in [admin]; use --admin ADDRESS with the address that 'admin.started' logs"
        )
    return spec.bind


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
