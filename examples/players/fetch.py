"""Fetch hls.js and dash.js, with their licences, from the npm registry into ``vendor/``.

hls.js: Apache License 2.0. dash.js: BSD, 3 clauses. Without npm, or a network, the page uses what the browser can do.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parent / "vendor"
PACKAGES = {
    "hls.js@1.6.19": {"package/dist/hls.min.js": "hls.min.js", "package/LICENSE": "hls.LICENSE"},
    "dashjs@5.2.1": {
        "package/dist/modern/umd/dash.all.min.js": "dash.all.min.js",
        "package/LICENSE.md": "dash.LICENSE.md",
    },
}
"""Package -> its files, and what they are called here."""


def fetch() -> bool:
    """Fetch what is not there. Return whether all is there now."""
    return False not in [_fetch(package, files) for package, files in PACKAGES.items()]


def _fetch(package: str, files: dict[str, str]) -> bool:
    if all((VENDOR / name).exists() for name in files.values()):
        return True
    npm = shutil.which("npm")
    if npm is None:
        print(f"{package} is not fetched, as there is no npm: the page uses what the browser can do", file=sys.stderr)
        return False
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", "--silent", "--pack-destination", scratch, package]
        if subprocess.run(command, cwd=scratch, stdout=subprocess.DEVNULL, check=False).returncode:
            print(f"npm cannot fetch {package}: the page uses what the browser can do itself", file=sys.stderr)
            return False
        (packed,) = Path(scratch).glob("*.tgz")
        VENDOR.mkdir(exist_ok=True)
        with tarfile.open(packed) as archive:
            for member, name in files.items():
                content = archive.extractfile(member)
                assert content is not None
                (VENDOR / name).write_bytes(content.read())
    return True


if __name__ == "__main__":
    sys.exit(not fetch())
