"""``python -m chaos``: a storm over the real balancer, and the verdict. Exit code 1 if something did not hold."""

from __future__ import annotations

import argparse
import random
import sys

import trio

from chaos.ledger import Ledger
from chaos.plan import Action
from chaos.storm import storm
from chaos.verdict import lines, table

DIGITS = 6


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the plan of actions; by default another one each time")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long it blows (%(default)s)")
    parser.add_argument("--quiet", action="store_true", help="do not print each action")
    options = parser.parse_args()
    seed = random.randrange(10**DIGITS) if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:g} s", flush=True)

    def say(action: Action) -> None:
        if not options.quiet:
            print(f"{action.at:7.2f}  {action.kind} {action.target}", flush=True)

    ledger = Ledger()
    outcome = trio.run(storm, ledger, seed, options.seconds, say)
    results = lines(ledger, outcome)
    print(f"{len(outcome.actions)} actions, {len(ledger.sessions)} sessions, seed {seed}")
    print(table(results))
    return 1 if any(line.wrong for line in results) else 0


if __name__ == "__main__":
    sys.exit(main())
