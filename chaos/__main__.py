"""``python -m chaos``: run the real balancer under failures and load, and check it. Exit code 1 if a check fails."""

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
    """Run the command and return the exit code."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="seed of the plan of actions (default: random)")
    parser.add_argument("--seconds", type=float, default=300.0, help="duration of the storm (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="do not print each action")
    options = parser.parse_args()
    seed = random.randrange(10**DIGITS) if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:g} s", flush=True)

    def report(action: Action) -> None:
        if not options.quiet:
            print(f"{action.at:7.2f}  {action.kind} {action.target}", flush=True)

    ledger = Ledger()
    outcome = trio.run(storm, ledger, seed, options.seconds, report)
    results = lines(ledger, outcome)
    print(f"{len(outcome.actions)} actions, {len(ledger.sessions)} sessions and requests, seed {seed}")
    print(table(results))
    return 1 if any(line.wrong for line in results) else 0


if __name__ == "__main__":
    sys.exit(main())
