"""A file with the last servers that were found, so that a start does not depend on etcd."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import attrs

from lb.model import EtcdSource
from lb.net.files import read_file

__all__ = ["LastSet", "ServerTables"]

ServerTables = Mapping[str, dict[str, object]]
"""The tables of servers, by name, as in the configuration file."""


@attrs.frozen
class LastSet:
    """The file, and the source that its servers are from: ``etcd /trio-lb/pools/web/``."""

    path: Path
    source: str

    @classmethod
    def of(cls, pool: str, source: EtcdSource) -> LastSet:
        """Return the file of a pool: the configured one, else one in $STATE_DIRECTORY, else beside the configuration.

        systemd sets the variable to one directory or to several with a colon between them.
        """
        state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return cls(Path(source.file or Path(state or source.directory, f"lb-etcd-{pool}.json")), str(source))

    def read(self) -> dict[str, dict[str, object]]:
        """Return the servers; none if there is no file yet. Raises ValueError with the reason if it is of no use."""
        try:
            content = json.loads(read_file(self.path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ValueError(f"cannot be read: {(error.strerror or str(error)).lower()}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is not JSON: {error}") from error
        servers = content.get("servers") if isinstance(content, dict) else None
        if not isinstance(servers, dict) or not all(isinstance(table, dict) for table in servers.values()):
            raise ValueError("is not a set of servers")
        if content.get("source") != self.source:
            raise ValueError("is of another source")
        return servers

    def write(self, servers: ServerTables) -> None:
        """Replace the file at once. Only this user can read it. Raises ValueError with the reason."""
        try:
            fd, new = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            try:
                with os.fdopen(fd, "w") as file:
                    json.dump({"source": self.source, "servers": dict(servers)}, file, indent=1)
                    file.flush()
                    os.fsync(fd)
                os.replace(new, self.path)  # noqa: PTH105 - of two names as text
            except BaseException:
                with suppress(OSError):
                    os.unlink(new)  # noqa: PTH108 - likewise
                raise
        except OSError as error:
            raise ValueError(f"cannot be written: {(error.strerror or str(error)).lower()}") from error
