"""Invariants for arbitrary configuration files; as a program, a fuzzer that searches for violations.

``make fuzz`` runs it with atheris, which is guided by code coverage. Add findings to ``tests/data/corpus/config``.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import lb.model.plugin
from lb.config.describe import describe
from lb.config.load import ConfigError, load
from lb.control.plan import plan
from lb.model import Config
from tests.support.paths import DATA

CORPUS = DATA / "corpus" / "config"
EXAMPLES = DATA / "config"
SLICE = 4096
"""Maximum file size of the fuzzer in bytes: longer files reach no other code path."""


def corpus() -> list[Path]:
    """Return the seed files: earlier findings and the golden files."""
    return sorted([*CORPUS.iterdir(), *EXAMPLES.rglob("*.toml")])


def read(path: Path) -> tuple[Config | None, tuple[str, ...]]:
    """Load a file. Return the configuration or its errors."""
    try:
        return load(path), ()
    except ConfigError as error:
        return None, error.errors


def check(path: Path) -> None:
    """Check that a file is a configuration that can be described and planned, or that all its errors are printable."""
    config, errors = read(path)
    if config is None:
        assert errors, "refused without a reason"
        for line in errors:
            assert line.startswith(f"{path}: "), line
            assert line.isprintable(), line
        return
    shown = describe(config)
    assert all(line.isprintable() for line in shown.splitlines()), shown
    assert plan(config, config).is_empty, "the same file again would change something"
    assert load(path) == config, "loading twice gives two different configurations"


def only_ours(name: str) -> object:
    """Replace ``import_module``: a fuzzer must not import arbitrary modules."""
    if name.partition(".")[0] not in ("strategies", "healthcheck", "lb"):
        raise ModuleNotFoundError(f"No module named {name!r}")
    return importlib.import_module(name)


def main() -> None:
    import atheris  # only fuzzing needs it, and `make fuzz` installs it

    lb.model.plugin.importlib = SimpleNamespace(import_module=only_ours)
    atheris.instrument_all()
    with tempfile.TemporaryDirectory(prefix="lb-fuzz-") as folder:
        path = Path(folder, "lb.toml")

        def once(content: bytes) -> None:
            path.write_bytes(content)
            check(path)

        found = Path(folder, "found")
        found.mkdir()
        for number, example in enumerate(corpus()):
            (found / str(number)).write_bytes(example.read_bytes())
        atheris.Setup([*sys.argv, f"-max_len={SLICE}", str(found)], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
