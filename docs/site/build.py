"""Build the site of the documentation: ``python docs/site/build.py`` writes it to build/site. Needs no network.

The pages of docs/ link to each other and to files of the repository, as they are read on GitHub. Here they get a menu,
and links to the repository for what is not a page.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
DECISIONS = DOCS / "decisions"
RESULTS = ROOT / "bench" / "results"
NEWEST = RESULTS / "latest.md"
METHOD = ROOT / "bench" / "README.md"
REPOSITORY = "https://github.com/trio-lb/trio-lb"
INDEX = DOCS / "README.md"
"""The page that lists all others: the first of the site, and its menu."""
FENCE = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)#\s]+)(?=(?:#[^)\s]*)?\))")
INTRODUCTION = """# Benchmarks

The balancer beside HAProxy, nginx and others, under the same load: [what is measured, and how](../README.md).
These are the newest results; earlier ones are in the menu.
"""
LISTED = re.compile(r"(?<=\]\()([^)#\s]+\.md)(?=\))")


def main() -> int:
    """Build the site. A warning, such as of a link that leads nowhere, is an error: the exit code is not 0."""
    parser = argparse.ArgumentParser(description="Build the site of the documentation.")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site", metavar="DIRECTORY")
    output: Path = parser.parse_args().output
    sources = output.with_name(f"{output.name}-sources")
    shutil.rmtree(sources, ignore_errors=True)
    write_sources(sources)
    strictly = ["--fail-on-warning", "--keep-going", "--quiet", "--fresh-env"]
    command = [sys.executable, "-m", "sphinx", *strictly, "-c", DOCS / "site", sources, output]
    return subprocess.run(command, check=False).returncode


def write_sources(to: Path) -> None:
    """Write the pages as Sphinx reads them, and what they show."""
    places = places_of_files()
    for original, place in places.items():
        target = to / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if original.suffix == ".md":
            target.write_text(page(original, places), encoding="utf-8")
        else:
            shutil.copy(original, target)


def places_of_files() -> dict[Path, Path]:
    """Return all files of the site, each with its place there."""
    found = {path: path.relative_to(DOCS) for kind in ("md", "png") for path in sorted(DOCS.rglob(f"*.{kind}"))}
    found |= {path: Path("benchmarks") / path.name for path in sorted(RESULTS.iterdir())}
    found[METHOD] = Path("benchmarks/method.md")
    found[ROOT / "CHANGELOG.md"] = Path("changelog.md")
    found[INDEX] = Path("index.md")
    return found


def page(original: Path, places: Mapping[Path, Path]) -> str:
    """Return a page with links that lead somewhere on the site, and with the menus of the pages below it."""
    text = original.read_text(encoding="utf-8")
    if original == NEWEST:
        text = INTRODUCTION + text.partition("\n")[2]
    start = places[original].parent
    return linked(text, original, places) + "".join(menu(*each, places, start) for each in menus_of(original))


def menus_of(original: Path) -> list[tuple[str, list[Path]]]:
    """Return the menus of a page, each with its title and its pages. Each page of the site is in one."""
    if original == INDEX:
        text = original.read_text(encoding="utf-8")
        return [(title, [(DOCS / each).resolve() for each in listed]) for title, listed in sections(text)]
    if original == DECISIONS / "README.md":
        return [("", sorted(DECISIONS.glob("0*.md")))]
    if original == NEWEST:
        others = sorted((path for path in RESULTS.glob("*.md") if path != NEWEST), reverse=True)
        return [("", [METHOD, *others])]
    return []


def sections(index: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the sections of the index, each with the pages that it lists."""
    for section in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        yield section.partition("\n")[0], LISTED.findall(section)


def menu(caption: str, pages: Iterable[Path], places: Mapping[Path, Path], start: Path) -> str:
    """Return a menu, which Sphinx shows beside each page. ``start``: the directory of the page that has it."""
    names = "".join(f"{os.path.relpath(places[each].with_suffix(''), start)}\n" for each in pages)
    title = f":caption: {caption}\n" if caption else ""
    return f"\n\n```{{toctree}}\n:hidden:\n{title}\n{names}```\n"


def linked(text: str, original: Path, places: Mapping[Path, Path]) -> str:
    """Return a page whose links to other files lead to their places, or to the repository. Examples stay."""

    def replaced(found: re.Match[str]) -> str:
        target = found[0]
        there = (original.parent / target).resolve()
        if "://" in target or not there.exists():
            return target
        if there in places:
            return os.path.relpath(places[there], places[original].parent)
        return f"{REPOSITORY}/{'tree' if there.is_dir() else 'blob'}/main/{there.relative_to(ROOT)}"

    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(replaced, part) for part in parts)


if __name__ == "__main__":
    sys.exit(main())
