"""What must hold for every configuration file, whatever bytes it has; and, as a program, a fuzzer that looks for more.

``make fuzz`` runs it with atheris, which follows the branches of the code. What it finds belongs into
``tests/corpus/config``.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import lb.plugins
from lb.config import ConfigError, load
from lb.describe import describe
from lb.model import Config
from lb.plan import plan

HERE = Path(__file__).parent
CORPUS = HERE / "corpus" / "config"
EXAMPLES = HERE / "config"
SLICE = 4096
"""Bytes at most that the fuzzer tries: the reader has no place where a longer file would take another path."""


def corpus() -> list[Path]:
    """Everything to start from: what was found once, and the golden files."""
    return sorted([*CORPUS.iterdir(), *EXAMPLES.rglob("*.toml")])


def read(path: Path) -> tuple[Config | None, tuple[str, ...]]:
    """One or the other."""
    try:
        return load(path), ()
    except ConfigError as error:
        return None, error.errors


def check(path: Path) -> None:
    """A file is a configuration that can be shown and planned, or every line of its complaints can be printed."""
    config, complaints = read(path)
    if config is None:
        assert complaints, "refused without a reason"
        for line in complaints:
            assert line.startswith(f"{path}: "), line
            assert line.isprintable(), line
        return
    shown = describe(config)
    assert all(line.isprintable() for line in shown.splitlines()), shown
    assert plan(config, config).is_empty, "the same file again would change something"
    assert load(path) == config, "read twice, it is two configurations"


def only_ours(name: str) -> object:
    """In place of ``import_module``: a fuzzer must not import whatever it can spell."""
    if name.partition(".")[0] not in ("strategies", "healthcheck"):
        raise ModuleNotFoundError(f"No module named {name!r}")
    return importlib.import_module(name)


def main() -> None:
    import atheris  # only fuzzing needs it, and `make fuzz` installs it

    lb.plugins.importlib = SimpleNamespace(import_module=only_ours)
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
