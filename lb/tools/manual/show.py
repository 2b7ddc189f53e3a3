"""Show a page of the manual, or write all of them into a directory."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lb.model.suggestion import did_you_mean
from lb.tools.manual.pages import ManPage, man_pages

__all__ = ["page_of", "show_page", "write_pages"]


def page_of(words: Sequence[str], pages: Mapping[str, ManPage]) -> ManPage:
    """Return the page of a command, as in ``ctl drain``, or of a part, as in ``lb.toml`` or ``events``.

    Without words, that of ``lb``. Raises LookupError if there is none.
    """
    if not words:
        return pages["lb"]
    name = words[0]
    for each in (name, f"lb-{name}"):
        if each in pages:
            return pages[each]
    known = [each.removeprefix("lb-") for each in pages]
    raise LookupError(f"the manual has no page {name!r}{did_you_mean(name, known)}; it has {', '.join(known)}")


def show_page(page: ManPage) -> None:
    """Show a page with man on a terminal, else as plain text on stdout."""
    man = shutil.which("man") if sys.stdout.isatty() else None
    if man is None or subprocess.run([man, "-l", "-"], input=page.roff.encode(), check=False).returncode:  # noqa: S603 - man
        print(page.plain)  # a machine without man, or with one that has been cut down


def write_pages(parser: argparse.ArgumentParser, directory: Path) -> None:
    """Write all pages into a directory, ``man1/lb.1`` and so on, as man looks for them. Raises OSError."""
    for page in man_pages(parser).values():
        path = directory / f"man{page.section}" / page.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.roff, encoding="utf-8")
