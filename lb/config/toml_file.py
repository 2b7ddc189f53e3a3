"""A TOML file: read, decoded and parsed, or reported as a :class:`ConfigError`. Its errors get the line they are in."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import attrs
import tomli

from lb.config.lines import key_lines, line_of
from lb.config.other_formats import other_format
from lb.model.config_hash import config_hash
from lb.model.table import Complaint
from lb.net.files import read_file, read_file_or_pipe

__all__ = ["STDIN", "ConfigError", "TomlFile", "read_toml"]

STDIN = Path("-")
"""The name of standard input on the command line. It can be read once."""


class ConfigError(Exception):
    """An invalid configuration. ``errors`` holds all errors, one printable line each."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(self.errors))


@attrs.frozen
class TomlFile:
    """A file that is valid TOML."""

    name: str
    """As messages have it. Relative paths in the file start at its directory."""
    text: str
    content: dict[str, object]
    hash: str
    """See :func:`lb.model.config_hash.config_hash`."""

    @property
    def directory(self) -> Path:
        return Path(self.name).parent

    @classmethod
    def parse(cls, text: str, name: str) -> TomlFile:
        """Parse the text of a file. Raises ConfigError."""
        return cls(name, text, _parsed(text, name), config_hash(text.encode(errors="surrogatepass")))

    @classmethod
    def of_bytes(cls, content: bytes, name: str, *, beside_traffic: bool = False) -> TomlFile:
        """Decode and parse the bytes of a file. ``beside_traffic`` as for :func:`read_toml`. Raises ConfigError."""
        text = _decoded(content, name)
        parsed = _parsed_beside_traffic(text, name) if beside_traffic else _parsed(text, name)
        return cls(name, text, parsed, config_hash(content))

    def located(self, complaints: Iterable[Complaint]) -> list[str]:
        """Return complaints as lines with the name of the file, and with the line where it is known."""
        found = list(complaints)
        lines = key_lines(self.text) if found else {}
        places = [line_of(complaint.path, lines) for complaint in found]
        return [
            f"{self.name}: {complaint}" + (f" (line {line})" if line else "")
            for complaint, line in zip(found, places, strict=True)
        ]


def read_toml(path: Path, *, beside_traffic: bool = False) -> TomlFile:
    """Read a file, or standard input for ``-``. Raises ConfigError if it is unreadable or not TOML.

    ``beside_traffic``: the caller is a thread beside the traffic. The read takes longer, but never holds the
    interpreter for long. It reads a plain file only, which does not wait for a writer.
    """
    if path == STDIN:
        return TomlFile.of_bytes(_read_stdin(again=beside_traffic), "<stdin>")
    try:
        content = (read_file if beside_traffic else read_file_or_pipe)(path)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    return TomlFile.of_bytes(content, str(path), beside_traffic=beside_traffic)


def _read_stdin(*, again: bool) -> bytes:
    """Read all of standard input. ``again``: it has been read before, by the start of this process."""
    if again:
        raise ConfigError(["<stdin>: can be read only once; run with the name of a file to reload it"])
    content = sys.stdin.buffer.read() if sys.stdin else b""
    if not content:
        raise ConfigError(["<stdin>: is empty"])
    return content


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{name}: is not UTF-8: byte 0x{content[error.start]:02x} in line {line}"]) from error


def _parsed(text: str, name: str) -> dict[str, object]:
    try:
        return tomli.loads(text)
    except (ValueError, RecursionError) as error:  # TOML error, number beyond Python's limit, deep nesting
        lines = text.split("\n")
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the file"
        message = str(error).replace("at end of document", end)
        raise ConfigError([f"{name}: TOML: {message}{other_format(text)}"]) from error


def _parsed_beside_traffic(text: str, name: str) -> dict[str, object]:
    """Parse TOML without holding the interpreter: tomli is compiled and holds it for 6 ms with 1,000 servers.

    tomllib is interpreted. It reads TOML 1.0, of which tomli's TOML 1.1 is a superset.
    """
    import tomllib  # noqa: PLC0415 - a start does not need it, and this is a thread

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return _parsed(text, name)
