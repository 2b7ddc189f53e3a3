"""Several balancers: the simulation runs, the page has its figures, and flows move as Linux moves them."""

from __future__ import annotations

import importlib.util
import random
import re
import subprocess
import sys
from fractions import Fraction

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow
BENCH = ROOT / "bench"


def run(script, *options):
    return subprocess.run([sys.executable, BENCH / script, *options], capture_output=True, text=True, check=False)


def ecmp():
    spec = importlib.util.spec_from_file_location("ecmp", BENCH / "ecmp.py")
    sys.modules["ecmp"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(text, heading):
    """Return the cells of the first table under a heading."""
    found = re.findall(r"^\|(.*)\|$", text.partition(f"## {heading}")[2].partition("\n## ")[0], re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in found if "---" not in line]


def test_the_small_form_of_the_simulation_says_what_must_hold():
    done = run("scale.py", "--quick")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row[2] for row in table(done.stdout, "Misplaced keys")[1:3]] == ["0 %", "0 %"], "lists that are alike"
    rows = table(done.stdout, "Load of servers")[1:]
    load = {row[0]: [float(cell) for cell in row[2:] if cell != "-"] for row in rows}
    assert load["least-conn"][0] < 1.2 < load["consistent-hash"][0]
    assert load["least-conn"][0] < load["least-conn"][-1], "64 balancers see little of the load"
    checks = {row[0]: row[1:] for row in table(done.stdout, "Health checks")[1:]}
    assert (checks["64"][:2], checks["3"][:2]) == (["64", "3"], ["3", "3"])
    moves = {row[0]: row[1:] for row in table(done.stdout, "Flows that a router moves")[1:]}
    assert moves["3"] == ["33.3 %", "11.1 %", "16.7 %", "44.4 %", "50 %"]


def test_the_page_has_the_figures_that_follow_from_the_results():
    done = run("reach.py", "--check")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def linux_hop(number, hops):
    """Return the next hop of a 31-bit hash, as ``fib_rebalance`` and ``fib_select_multipath`` have it."""
    bounds = [(2 * (each + 1) * 2**31 + hops) // (2 * hops) - 1 for each in range(hops)]
    return next(each for each, bound in enumerate(bounds) if number <= bound)


@pytest.mark.parametrize(("hops", "leaves"), [(2, 0), (3, 0), (3, 1), (5, 4), (8, 3), (64, 0)])
def test_flows_move_as_linux_moves_them(hops, leaves):
    module, chance = ecmp(), random.Random(1)
    counts = {"own": 0, "others": 0}
    numbers = [chance.getrandbits(31) for _ in range(20_000)]
    for number in numbers:
        before, after = linux_hop(number, hops), linux_hop(number, hops - 1)
        assert module.next_hop(Fraction(number, 2**31), range(hops)) == before
        if before == leaves:
            counts["own"] += 1
        elif [hop for hop in range(hops) if hop != leaves][after] != before:
            counts["others"] += 1
    moved = module.rehash(hops, leaves)
    assert moved.own == Fraction(1, hops)
    assert counts["own"] / len(numbers) == pytest.approx(float(moved.own), abs=0.02)
    assert counts["others"] / len(numbers) == pytest.approx(float(moved.others), abs=0.02)
