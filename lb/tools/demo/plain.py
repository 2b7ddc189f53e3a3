"""The demo without a terminal: plain lines of text."""

from __future__ import annotations

import os
from functools import partial

import trio

from lb.tools.demo.base_scene import DemoEvent
from lb.tools.demo.scene import DemoScene

__all__ = ["PlainView", "emit"]

emit = partial(print, flush=True)


class PlainView:
    """Prints events, and the counts once a second."""

    def add_event(self, event: DemoEvent) -> None:
        emit(f"{event.at:6.1f} s  {event.text}")

    async def run(self, scene: DemoScene) -> None:
        """Print until cancelled."""
        _print_introduction(scene)
        while True:
            await trio.sleep(1)
            emit(f"{scene.elapsed:6.1f} s  {scene.ledger}; {_servers(scene)}")


def _print_introduction(scene: DemoScene) -> None:
    emit(f"{scene.kind.introduction} Configuration of the balancer:\n")
    emit("".join(f"    {line}".rstrip() + "\n" for line in scene.config.splitlines()))
    emit(f"The balancer listens on http://{scene.address}/")
    emit(f"Its dashboard is http://{scene.admin}/ and its live view: lb top --admin {scene.admin}")
    for server in scene.servers.values():
        emit(f"Server {server.name} listens on {server.address}, pid {server.pid}.")
    victim = next(iter(scene.servers.values()))
    what = scene.kind.counted.removesuffix("s")
    tries = [
        *((f"curl {url}", text) for url, text in scene.urls),
        (f"kill -9 {victim.pid}", f"kill {victim.name}: {scene.kind.on_kill.format(what)}"),
        (f"kill -USR1 {os.getpid()}", "restart dead servers: they get their share again"),
        (f"kill {os.getpid()}", "stop the demo"),
    ]
    width = max(len(command) for command, _ in tries)
    emit("\nTry, from another terminal, or the URLs in a browser:\n")
    emit("".join(f"    {command:{width}} # {text}\n" for command, text in tries))


def _servers(scene: DemoScene) -> str:
    return ", ".join(f"{name} {backend.state} ({backend.active} open)" for name, backend in scene.backends.items())
