"""What the forward demo shows by itself: a tunnel, refused addresses, and a name whose name server is silent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from lb.tools.demo.forward_names import INSIDE, INSIDE_ADDRESS, ORIGIN, SILENT
from lb.tools.demo.proxy_client import ProxyAnswer, ProxyClient, WrongAnswerError

__all__ = ["STEPS", "StepTools", "show_refusals", "show_silence", "show_tunnel"]

PAUSE = 0.02
"""Seconds between two tunnels of those who go on meanwhile. The load is light."""
METADATA = "169.254.169.254"
_ESTABLISHED, _FORBIDDEN, _TIMEOUT = 200, 403, 504


class StepTools:
    """What steps are made of. ``say`` tells people a sentence."""

    def __init__(self, lab: ProxyClient, internet: ProxyClient, origin_port: int, say: Callable[[str], None]) -> None:
        self.lab = lab
        """A client of the listener that may reach the demo's server."""
        self.internet = internet
        """A client of the listener whose targets are on the internet."""
        self.origin_port = origin_port
        self.say = say


async def show_tunnel(tools: StepTools) -> None:
    """Raises WrongAnswerError, as all steps do."""
    target = f"{ORIGIN}:{tools.origin_port}"
    async with tools.lab.connect(target) as answer:
        _expect(answer.status, _ESTABLISHED, answer.line)
        tools.say(f"CONNECT {target}: {answer.line}")
        said = await tools.lab.get(answer, ORIGIN, "/hello")
    tools.say(f'  Through the tunnel: "{said}"')
    tools.say("  The proxy looked the name up, judged the address, connected to it, and passes bytes since then.")


async def show_refusals(tools: StepTools) -> None:
    """Targets in a private network, named in three ways."""
    for target, why in (
        (f"{METADATA}:443", "is where clouds tell a machine's secrets"),
        ("2130706433:443", "is 127.0.0.1 as one number: judged is what it means"),
        (f"{INSIDE}:443", f"is a good name, but its address is {INSIDE_ADDRESS}: judged is what is connected to"),
    ):
        async with tools.internet.connect(target) as answer:
            _expect(answer.status, _FORBIDDEN, answer.line)
            tools.say(f"CONNECT {target}: {answer.line}, {answer.error}")
        tools.say(f"  {target.partition(':')[0]} {why}.")
    tools.say("  Nothing was connected to: private = false, the default, keeps clients of a proxy out of your network.")


async def show_silence(tools: StepTools) -> None:
    """One client waits for a name. Others make tunnels meanwhile."""
    others = _Others(tools)
    began = trio.current_time()
    tools.say(f"CONNECT {SILENT}:443: its name server does not answer. Others make tunnels meanwhile.")
    answer = await others.meanwhile(tools.lab.connect(f"{SILENT}:443"))
    _expect(answer.status, _TIMEOUT, answer.line)
    waited = trio.current_time() - began
    if others.problem or not others.made:
        raise WrongAnswerError(f"a tunnel failed while a name was looked up: {others.problem or 'none was made'}")
    tools.say(f"  {answer.line}, {answer.error}, after {waited:.1f} s.")
    slowest = f"{others.slowest * 1000:.0f} ms"
    tools.say(f"  Meanwhile {others.made} tunnels to {ORIGIN} were made and used, the slowest in {slowest}.")
    tools.say("  A silent name server stalls only those who ask for its names.")


STEPS = (show_tunnel, show_refusals, show_silence)


class _Others:
    """A client that makes one tunnel after the other."""

    def __init__(self, tools: StepTools) -> None:
        self._tools = tools
        self.made = 0
        self.slowest = 0.0
        """Seconds from the connect to the answer of the server."""
        self.problem = ""

    async def meanwhile(self, connecting: AbstractAsyncContextManager[ProxyAnswer]) -> ProxyAnswer:
        """Go on until another client has its answer, and return that. Raises WrongAnswerError if it gets none."""
        result: ProxyAnswer | WrongAnswerError
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run)
            try:
                async with connecting as result:
                    pass
            except WrongAnswerError as error:
                result = error
            nursery.cancel_scope.cancel()
        if isinstance(result, WrongAnswerError):
            raise result
        return result

    async def _run(self) -> None:
        while not self.problem:
            began = trio.current_time()
            try:
                await self._make()
            except WrongAnswerError as error:
                self.problem = str(error)
            else:
                self.made += 1
                self.slowest = max(self.slowest, trio.current_time() - began)
            await trio.sleep(PAUSE)

    async def _make(self) -> None:
        tools = self._tools
        async with tools.lab.connect(f"{ORIGIN}:{tools.origin_port}") as answer:
            _expect(answer.status, _ESTABLISHED, answer.line)
            await tools.lab.get(answer, ORIGIN, "/other")


def _expect(status: int, right: int, line: str) -> None:
    if status != right:
        raise WrongAnswerError(f"{line!r} in place of {right}")
