"""What the forward demo prints: plain lines, on a terminal too."""

from __future__ import annotations

import os

from lb.tools.demo.base_scene import DemoEvent
from lb.tools.demo.forward_names import INSIDE, ORIGIN, SILENT
from lb.tools.demo.forward_scene import CONFIG, ForwardScene
from lb.tools.demo.plain import emit

__all__ = ["ForwardView"]


class ForwardView:
    """Prints what happens."""

    def add_event(self, event: DemoEvent) -> None:
        emit(f"{event.at:6.1f} s  {event.text}")

    def introduce(self, scene: ForwardScene) -> None:
        """Print what runs, and what to try."""
        emit("A forward proxy on loopback, and a server for its clients. Configuration of the proxy:\n")
        emit("".join(f"    {line}".rstrip() + "\n" for line in CONFIG.splitlines()))
        origin = scene.servers["origin"]
        emit(f"Its dashboard is http://{scene.admin}/")
        emit(f"Server origin listens on {origin.address}, pid {origin.pid}. The proxy knows it as {ORIGIN}.")
        emit("\nTry, from another terminal:\n")
        for title, tries in _tries(scene):
            width = max(len(command) for command, _ in tries)
            emit(f"  {title}\n")
            emit("".join(f"    {command:{width}} # {text}\n" for command, text in tries))
        emit("What it shows by itself:\n")


def _tries(scene: ForwardScene) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return titles with commands, and what each shows."""
    lab, internet, pid = scene.listener_address("lab"), scene.listener_address("internet"), os.getpid()
    url = f"http://{ORIGIN}:{scene.origin_port}/a"
    return [
        (
            "curl:",
            [
                (f"curl -x http://{lab} {url}", "a whole URL: the proxy asks the server"),
                (f"curl -x http://{lab} --proxytunnel {url}", "a tunnel with CONNECT, as for https"),
                (f"curl -x socks5h://{lab} {url}", "a tunnel with SOCKS 5, on the same port"),
                (f"curl -i -x http://{internet} http://{INSIDE}/", "a private address: 403"),
                (f"curl -i -x http://{lab} http://{SILENT}/", "a silent name server: 504 after 5 s"),
                (f"curl -x http://{internet} https://example.com/", "the internet, if there is one"),
            ],
        ),
        (
            "git:",
            [(f"git -c http.proxy=http://{internet} ls-remote https://github.com/git/git HEAD", "the internet, too")],
        ),
        (
            "a browser, with a profile of its own:",
            [
                (f"chromium --user-data-dir=/tmp/lb-demo --proxy-server=http://{lab} {url}", "the demo's server"),
                (f"chromium --user-data-dir=/tmp/lb-demo --proxy-server=http://{internet}", "the internet"),
            ],
        ),
        (
            "the demo:",
            [
                (f"kill -9 {scene.servers['origin'].pid}", "kill the server: curl gets 502"),
                (f"kill -USR1 {pid}", "restart it"),
                (f"kill {pid}", "stop the demo"),
            ],
        ),
    ]
