"""The forward demo without its view: a server, a proxy with two listeners, and the steps that show what it does."""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio

from lb.config.load import parse
from lb.events import Event, Fault, HttpRequest, TunnelClosed
from lb.forward.names import name_source
from lb.tools.demo.base_scene import BaseScene, DemoEvent
from lb.tools.demo.forward_names import ORIGIN, SILENT, DemoNames
from lb.tools.demo.forward_steps import STEPS, StepTools
from lb.tools.demo.proxy_client import ProxyClient, WrongAnswerError
from lb.tools.demo.server_group import ServerGroup

__all__ = ["CONFIG", "ForwardScene"]

CONFIG = f"""\
[admin]
bind = "127.0.0.1:0"        # port 0: the system chooses one

[listeners.internet]        # for the internet: private addresses are refused
mode = "forward"
bind = "127.0.0.1:0"

[listeners.lab]             # for the demo's own server, which is on this host
mode = "forward"
bind = "127.0.0.1:0"
connect_ports = "any"
private = true
allow_to = ["{ORIGIN}", "{SILENT}"]
"""


class ForwardScene(BaseScene):
    """The running demo: from :meth:`run` until ``over`` is set. Passes its events to ``sink``."""

    def __init__(self, sink: Callable[[DemoEvent], None]) -> None:
        super().__init__(sink)
        self.shown = 0
        """Steps that were shown."""
        self.problems: list[str] = []
        self._group = ServerGroup(["origin"], self.report)
        self.servers = self._group.servers
        self._own_clients: set[str] = set()
        """The addresses of the demo's own clients, of which nothing is told."""

    @property
    def origin_port(self) -> int:
        """The port of the demo's server."""
        return self.servers["origin"].port

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until ``over`` is set. Started when the proxy listens."""
        with socket.socket(type=socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            name_source.set(DemoNames(silent.getsockname()[1]))
            async with self._group.running(), self.balancing(parse(CONFIG, "demo.toml")):
                task_status.started()
                await self.over.wait()

    async def show(self) -> None:
        """Show all steps."""
        lab, internet = (ProxyClient(self.listener_port(name), self._own_clients.add) for name in ("lab", "internet"))
        tools = StepTools(lab, internet, self.origin_port, self.report)
        for step in STEPS:
            try:
                await step(tools)
            except WrongAnswerError as error:
                self.problems.append(str(error))
                self.report(str(error), "bad")
            else:
                self.shown += 1

    async def revive(self, name: str) -> None:
        """Restart a server that is dead."""
        await self._group.revive(name)

    # Events

    def _observe(self, event: Event) -> None:
        match event:
            case TunnelClosed():
                self._tell(event, _of_tunnel(event))
            case HttpRequest():
                status = event.status or "no response"
                self.report(f"{event.client}: {event.method} http://{event.host}{event.path}: {status}, {event.reason}")
            case Fault(where=where, exception=exception):
                self.problems.append(f"internal error: {where}: {exception!r}")
                self.report(self.problems[-1], "bad")
            case _:
                super()._observe(event)

    def _tell(self, event: TunnelClosed, text: str) -> None:
        client = str(event.client)
        if client in self._own_clients:
            self._own_clients.remove(client)
        else:
            self.report(f"{client}: {text}")


def _of_tunnel(event: TunnelClosed) -> str:
    if event.connect_ms is None:
        return f"no tunnel to {event.target} ({event.protocol}): {event.reason}"
    counts = f"{event.bytes_in} bytes there, {event.bytes_out} back"
    return f"a tunnel to {event.target} ({event.protocol}), {counts}, ended by the {event.ended_by}"
