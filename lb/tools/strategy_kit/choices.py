"""``python -m lb.tools.strategy_kit.choices NAME [KEY=VALUE ...]`` prints the picks of a strategy as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lb.model.plugin_modules import search_beside
from lb.tools.strategy_kit.checks import choices
from lb.tools.strategy_kit.options import strategy_spec
from strategies import registry


def main(name: str, *options: str) -> None:
    search_beside(Path.cwd())
    spec = strategy_spec(name, options)
    json.dump(choices(lambda: registry.create(spec)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
