"""``python -m lb.strategy_choices NAME [KEY=VALUE ...]``: what that strategy chooses in another process, as JSON."""

from __future__ import annotations

import json
import sys

from lb.strategy_kit import choices
from lb.strategy_options import strategy_spec
from strategies import registry


def main(name: str, *options: str) -> None:
    spec = strategy_spec(name, options)
    json.dump(choices(lambda: registry.create(spec)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
