"""The demo without a terminal: plain lines of text."""

from __future__ import annotations

import os
from functools import partial

import trio

from lb.tools.demo.scene import DemoEvent, DemoScene

__all__ = ["PlainView"]

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
    emit("Three servers, a balancer in front of them, and a light load. Configuration of the balancer:\n")
    emit("".join(f"    {line}".rstrip() + "\n" for line in scene.config.splitlines()))
    emit(f"The balancer listens on http://{scene.address}/")
    emit(f"Its dashboard is http://{scene.admin}/ and its live view: lb top --admin {scene.admin}")
    for server in scene.servers.values():
        emit(f"Server {server.name} listens on {server.address}, pid {server.pid}.")
    victim = next(iter(scene.servers.values()))
    emit(
        f"\nTry, from another terminal:\n\n"
        f"    curl http://{scene.address}/   # or in a browser: which server answers?\n"
        f"    kill -9 {victim.pid:<8} # kill {victim.name}: it is ejected, and no session fails\n"
        f"    kill -USR1 {os.getpid():<5} # restart dead servers: they get their share again\n"
        f"    kill {os.getpid():<11} # stop the demo\n"
    )


def _servers(scene: DemoScene) -> str:
    return ", ".join(f"{name} {backend.state} ({backend.active} open)" for name, backend in scene.backends.items())
