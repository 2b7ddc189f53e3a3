"""The settings of a forward listener that apply to its new requests and tunnels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lb.events import ProxiedRequest, UnloggedRequest
from lb.forward.connect_exchange import ConnectTarget
from lb.forward.dial import Wires
from lb.forward.origin_target import NoProxyRequest, OriginTarget
from lb.forward.origins import Origins
from lb.forward.parents import Parents
from lb.forward.proxied_images import PROXIED_ROUTE
from lb.forward.proxy_auth import ProxyAuth
from lb.forward.proxy_frontend import ProxyFrontend
from lb.forward.reachable import Reachable
from lb.forward.rules import Rules
from lb.forward.target_form import read_proxy_target
from lb.http.carrier import Responder
from lb.http.frontend import RunningRoute
from lb.http.password_checks import PasswordChecks
from lb.http.response_changes import ResponseChanges
from lb.http.steps import Step
from lb.http.user_list import UserList
from lb.http1.request_head import RequestHead, RequestHeads
from lb.model import HttpSettings, ListenerSpec
from lb.model.forward import ForwardSettings
from lb.net.outgoing import Outgoing
from lb.net.tcp import socket_options
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext

__all__ = ["ForwardFrontend"]

ADDRESS_DELAY = 0.25
"""Seconds until the next address of a target is tried beside the one before: RFC 8305, section 5."""
HALF_CLOSE = 60.0
"""Seconds that a tunnel lasts after the first end, as by default in mode ``tcp``."""


class ForwardFrontend(ProxyFrontend):
    """Says what answers which request."""

    def __init__(self, context: ConnectionContext, closed: Callable[[], None]) -> None:
        super().__init__(context, closed)
        self._origins: Origins | None = None

    def configure_proxy(self, spec: ListenerSpec, settings: ForwardSettings, pools: Mapping[str, Pool]) -> None:
        """Apply new settings. The TLS contexts of the pools exist already."""
        if self._origins is not None:
            self._origins.leave()
        self.configure(spec, _http_settings(settings), pools)
        self.heads = RequestHeads(read_proxy_target)
        self.record = ProxiedRequest if settings.access_log else UnloggedRequest
        self.proxy = settings
        deadlines = self.context.deadlines
        self.tunnel_queue = deadlines.queue("idle", settings.idle_timeout)
        self.half_close_queue = deadlines.queue("half_close", min(HALF_CLOSE, settings.idle_timeout))
        auth = settings.auth
        self.users = None if auth is None else UserList(auth, self.context.of_mode(PasswordChecks))
        self.wires = Wires(
            Reachable(self.context, Rules(settings)),
            Outgoing([settings.source_address]) if settings.source_address else None,
            deadlines.queue("race", ADDRESS_DELAY),
            deadlines.queue("connect", settings.connect_timeout),
            socket_options(spec.keepalive, spec.user_timeout),
        )
        steps = () if auth is None or self.users is None else (ProxyAuth(self.users, auth.realm),)
        parents = Parents(self, spec, pools[settings.parents]) if settings.parents else None
        self.parents = parents.tunnel_route if parents is not None else None
        self._origins = Origins(self, spec)
        self._tunnels = _running(ConnectTarget(), settings, steps)
        self._requests = _running(
            OriginTarget(self, self._origins, parents.responder if parents is not None else None), settings, steps
        )
        self._no_proxy_request = _running(NoProxyRequest(), settings, ())

    def find(self, head: RequestHead) -> RunningRoute:
        """Return what answers a request. Nothing but its form matters."""
        if head.method == b"CONNECT":
            return self._tunnels
        return self._no_proxy_request if head.was_path else self._requests


def _running(target: Responder, settings: ForwardSettings, steps: Sequence[Step]) -> RunningRoute:
    return RunningRoute("", target, settings.parents, steps, ResponseChanges(PROXIED_ROUTE))


def _http_settings(settings: ForwardSettings) -> HttpSettings:
    """Return the keys that mode ``http`` has too."""
    return HttpSettings(
        keep_alive=settings.keep_alive,
        idle_timeout=settings.idle_timeout,
        max_header=settings.max_header,
        max_body=settings.max_body,
        access_log=settings.access_log,
    )
