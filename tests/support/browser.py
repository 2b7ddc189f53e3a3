"""Debian's chromium, headless, through playwright. One runs for all tests of a process; pages share no profile."""

from __future__ import annotations

import atexit
import re
import shutil
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from functools import cache

from playwright.sync_api import sync_playwright

from tests.support.balancer import PATIENCE
from tests.support.peers import needs_program

CHROMIUM = shutil.which("chromium")
NEEDS_CHROMIUM = needs_program("chromium")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP *.example 127.0.0.1",
)


@contextmanager
def new_page(**options):
    """Yield a page of the browser. Use it in one thread, which runs no event loop. Names in .example are ours."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect_over_cdp(_address(), timeout=PATIENCE * 1000)
        page = browser.new_page(**options)
        page.set_default_timeout(PATIENCE * 1000)
        try:
            yield page
        finally:
            page.unroute_all(behavior="wait")  # one that is changing an answer would fail as the page closes
            page.close()
            browser.close()


@cache
def _address():
    """Start the browser, and return the address where it listens. It ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="lb-chromium-", ignore_cleanup_errors=True)
    process = subprocess.Popen(
        [CHROMIUM, *ARGUMENTS, f"--user-data-dir={folder.name}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C ends the tests, and they end the browser
    )

    def end():
        process.kill()
        process.wait()
        folder.cleanup()

    atexit.register(end)
    said = ""
    while not (found := re.search(r"DevTools listening on (ws://\S+)", said)):
        said += (line := process.stderr.readline())
        assert line, f"the browser does not start: {said}"
    threading.Thread(target=process.stderr.read, daemon=True).start()  # so that it can write on
    return found[1]
