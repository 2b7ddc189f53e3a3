"""The site of the documentation: its index has all pages; it is built without a warning or a network."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.support.browser import CHROMIUM, new_page
from tests.support.effort import LONG_FORM
from tests.support.paths import DOCS, ROOT

BUILD = DOCS / "site" / "build.py"


@pytest.fixture(scope="module")
def build():
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("build_site", BUILD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_one_menu(build):
    """A new page gets a line in docs/README.md: the menu of the site is made of it."""
    pages = [path for path in build.places_of_files() if path.suffix == ".md"]
    listed = [each for page in pages for _, menu in build.menus_of(page) for each in menu]
    assert sorted(listed) == sorted({*pages} - {build.INDEX})


def test_links_lead_to_pages_of_the_site_or_into_the_repository(build):
    places = build.places_of_files()
    text = (
        "[a](../../lb/cli.py) [b](../reference/http.md#x) [c](../../CHANGELOG.md) [d](#e) [f](https://a/) [g](../../lb)"
    )
    repository = "https://github.com/trio-lb/trio-lb"
    assert build.linked(text, DOCS / "how-to" / "tls.md", places) == (
        f"[a]({repository}/blob/main/lb/cli.py) [b](../reference/http.md#x) [c](../changelog.md) [d](#e) "
        f"[f](https://a/) [g]({repository}/tree/main/lb)"
    )
    example = "```sh\n[a](../../lb/cli.py)\n```\n"
    assert build.linked(example, DOCS / "how-to" / "tls.md", places) == example


def test_the_page_of_the_benchmarks_is_that_of_the_newest_results(build):
    page = build.page(build.NEWEST, build.places_of_files())
    assert page.startswith("# Benchmarks\n")
    assert build.NEWEST.read_text().partition("\n")[2].strip() in page
    assert "\nmethod\n" in page


HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def test_every_link_to_a_part_of_another_page_has_its_heading():
    def anchors(path):
        return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in HEADING.findall(path.read_text())}

    lost = []
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target, part in re.findall(r"\]\(([^)#\s]+\.md)#([^)\s]+)\)", page.read_text()):
            if "://" not in target and part not in anchors((page.parent / target).resolve()):
                lost.append((page.name, target, part))
    assert lost == []


@LONG_FORM
def test_it_is_built_without_a_warning_or_a_network_and_asks_nobody(tmp_path):
    command = [sys.executable, BUILD, "--output", tmp_path / "site"]
    if os.geteuid() == 0 and shutil.which("unshare"):
        command = ["unshare", "--net", *command]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "chromium is not installed"
        pytest.skip("there is no chromium")
    site = (tmp_path / "site").as_uri()
    for scheme in ("light", "dark"):
        asked, colors = [], "() => getComputedStyle(document.body).backgroundColor"
        with new_page(color_scheme=scheme) as page:
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(f"{site}/reference/configuration.html#listenersnametls")
            red = int(re.search(r"\d+", page.evaluate(colors))[0])
            assert (red > 200) == (scheme == "light")
            page.goto(f"{site}/search.html?q=half_close_timeout")
            page.locator("ul.search li a", has_text="Configuration").first.wait_for()
        assert len(asked) > 10
        assert [url for url in asked if not url.startswith("file:")] == []
    with new_page(viewport={"width": 390, "height": 844}) as page:
        page.goto(f"{site}/reference/configuration.html")
        rights = "cells => cells.map(cell => cell.getBoundingClientRect().right)"
        meanings = page.locator("tr:has(td:nth-child(5)) td:nth-child(4)")
        assert max(meanings.evaluate_all(rights)) <= 390, "what a key means is beside the screen"
        words = "cells => cells.map(cell => getComputedStyle(cell, '::before').content)"
        defaults = page.locator("tr:has(td:nth-child(5)) td:nth-child(3)")
        assert set(defaults.evaluate_all(words)) == {'"default: "'}
        page.goto(f"{site}/explanation/how-far-it-goes.html")
        assert set(defaults.evaluate_all(words)) == {"none"}, "other tables have no keys"
