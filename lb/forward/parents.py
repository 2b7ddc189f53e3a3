"""The parents of a listener: further proxies, through which all tunnels and requests go."""

from __future__ import annotations

import attrs

from lb.forward.parent_handshake import ParentHandshake, login_line
from lb.forward.proxied_images import PROXIED_ROUTE, ProxiedImages
from lb.forward.proxy_frontend import ProxyFrontend
from lb.http.upstream_request import PoolTarget
from lb.http1.response_head import ResponseHeads
from lb.model import ListenerSpec, ProxyLogin
from lb.pools.pool import Pool
from lb.proxy.route import make_route

__all__ = ["Parents"]


class Parents:
    """The proxies of a pool."""

    def __init__(self, frontend: ProxyFrontend, spec: ListenerSpec, pool: Pool) -> None:
        context, name = frontend.context, frontend.identity.pseudonym
        route = make_route(pool, spec, context.deadlines, context.tls)
        login = b"" if pool.spec.proxy is None else _login(pool.spec.proxy)
        self.name = pool.name
        self.tunnel_route = attrs.evolve(route, handshake=ParentHandshake(name, login, route.handshake))
        """For tunnels."""
        images = ProxiedImages(name, hide_client=frontend.proxy.hide_client, to_parent=True, lines=login)
        target = PoolTarget(context, frontend.loop, route, PROXIED_ROUTE, ResponseHeads(), images)
        target.is_proxy = True
        self.responder = frontend.cached(target)
        """For absolute-form requests."""


def _login(login: ProxyLogin) -> bytes:
    password = login.password.value
    assert isinstance(password, str)  # noqa: S101 - the configuration has read a file of text
    return login_line(login.user, password)
