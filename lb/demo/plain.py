"""The demo without a terminal: plain lines."""

from __future__ import annotations

import os
from functools import partial

import trio

from lb.demo.stage import Happening, Stage

__all__ = ["PlainView"]

say = partial(print, flush=True)


class PlainView:
    """Prints what happens, and how things stand once a second."""

    def tell(self, happening: Happening) -> None:
        say(f"{happening.at:6.1f} s  {happening.text}")

    async def run(self, stage: Stage) -> None:
        """Print until cancelled."""
        _introduce(stage)
        while True:
            await trio.sleep(1)
            say(f"{stage.elapsed:6.1f} s  {stage.ledger}; {_servers(stage)}")


def _introduce(stage: Stage) -> None:
    say("Three servers, a balancer in front of them, and a light load. The balancer's configuration:\n")
    say("".join(f"    {line}".rstrip() + "\n" for line in stage.config.splitlines()))
    say(f"The balancer listens on {stage.address}.")
    say(f"Its dashboard is http://{stage.admin}/ and in a terminal: lb top --admin {stage.admin}")
    for server in stage.servers.values():
        say(f"Server {server.name} listens on {server.address}, pid {server.pid}.")
    victim = next(iter(stage.servers.values()))
    say(
        f"\nTry, from another terminal:\n\n"
        f"    kill -9 {victim.pid:<8} # kill {victim.name}: it is ejected, and no session fails\n"
        f"    kill -USR1 {os.getpid():<5} # start again what is dead: it gets its share again\n"
        f"    kill {os.getpid():<11} # end the demo\n"
    )


def _servers(stage: Stage) -> str:
    return ", ".join(f"{name} {backend.state} ({backend.active} open)" for name, backend in stage.backends.items())
