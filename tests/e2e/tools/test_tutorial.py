"""The tutorial and README do what they print: their commands run in a shell, and the output is compared."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import LB, PATIENCE, killed_at_end
from tests.support.paths import DOCS, ROOT
from tests.support.servers import free_port

pytestmark = pytest.mark.slow
FENCE = re.compile(r"^```(console|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = {
    "tutorial": (DOCS / "tutorial.md", "## 2. Two servers", "## Next steps"),
    "web site": (DOCS / "tutorials" / "web-site.md", "## 1. Two servers and some files", "## Next steps"),
    "forward proxy": (DOCS / "tutorials" / "forward-proxy.md", "## 1. A proxy", "## Next steps"),
    "live stream": (DOCS / "tutorials" / "go-live.md", "## 1. A configuration", "## Next steps"),
    "README": (ROOT / "README.md", "## One minute by hand", "## A configuration for each mode"),
}
"""Pages with the headings between which their commands stand."""
MARK = "--- next command ---"


def steps(page, start, end):
    """Return the commands in order, each with the output that the page shows. The configuration becomes a command."""
    found = []
    part = page.read_text().partition(f"\n{start}\n")[2].partition(f"\n{end}\n")[0]
    for language, text in FENCE.findall(part):
        if language == "toml":
            found.append((f"cat > lb.toml <<'END'\n{text}END", []))
            continue
        for line in text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def script(commands):
    """Return a shell script with the commands. A person waits until a server is there, or gone; so does the script."""
    lines = ["exec 2>&1", "trap 'kill $(jobs -p) 2> /dev/null' EXIT"]
    for command in commands:
        lines += [f"echo '{MARK}'", command]
        if port := re.search(r"http\.server (\d+)", command):
            lines.append(f"until curl --silent --output /dev/null http://127.0.0.1:{port[1]}/; do sleep 0.1; done")
        elif server := re.fullmatch(r"kill (?:-9 )?\$([AB])", command):
            lines.append(f"wait ${server[1]}")
    return "\n".join(lines)


def pattern(lines):
    """Return a regular expression for an output, in which ``…`` stands for anything.

    Who sees first that a server is gone, and which of two ends comes first, differs from time to time.
    """
    text = "".join(f"{line}\n" for line in lines)
    wanted = ".*".join(map(re.escape, text.split("…"))).replace("passive", "(passive|active)")
    return wanted.replace('"ended_by":\\ "server"', '"ended_by":\\ "(server|client)"')


async def output_of(command, **options):
    """Run a command to its end and return what it has printed. The wait for each next output is bounded."""
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, **options)
    said = b""
    async with killed_at_end(process):
        more = True
        while more:
            with trio.move_on_after(PATIENCE) as waiting:
                more = await process.stdout.receive_some()
                said += more
            assert not waiting.cancelled_caught, said.decode()
    return said.decode()


@pytest.mark.parametrize("name", PAGES)
async def test_the_commands_do_what_the_page_prints(name, tmp_path):
    if name == "live stream":
        program("ffmpeg")
    found = steps(*PAGES[name])
    text = script(command for command, _ in found)
    ports = {port: str(free_port()) for port in ("1935", "3128", "8080", "9001", "9002", "9003", "9900")}
    for port, free in ports.items():
        text = text.replace(port, free)
    environment = {**os.environ, "PATH": f"{LB.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    said = await output_of(["bash", "-c", text], cwd=tmp_path, env=environment)
    for port, free in ports.items():
        said = said.replace(free, port)
    printed = re.sub(r".* (Terminated|Killed) .*\n", "", said).split(f"{MARK}\n")[
        1:
    ]  # bash tells of a job that was killed
    assert len(printed) == len(found)
    for (command, shown), output in zip(found, printed, strict=True):
        assert re.fullmatch(pattern(shown), output), (command, output)
