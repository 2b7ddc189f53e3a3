"""What happens to a request, for ``lb explain``: its route and why, and what its server gets. Pure.

The request is read, judged and routed by the code that serves requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import attrs

from lb.cache.cache_key import KeyTemplate
from lb.cache.policy import may_look_up, wanted
from lb.http.forwarded import read_forwarding
from lb.http.locations import Location
from lb.http.rewriting import TargetChange
from lb.http.routes import Router, all_routes
from lb.http.sticky_values import StickyValues
from lb.http.templates import RequestValues, Template
from lb.http.viewer_links import LinkedHeads, ViewerLinks, problem
from lb.http1.grammar import MalformedError
from lb.http1.head_buffer import HeadBuffer
from lb.http1.request_head import RequestHead
from lb.http1.target import split_absolute
from lb.model import Files, HttpSettings, ListenerSpec, PoolSpec, Redirect, Respond, RouteSpec
from lb.model.address import Client
from lb.model.explained_request import AskedRequest, RoutedRequest
from lb.model.request import client_with
from lb.model.values import shown

__all__ = ["explain_request"]


def explain_request(
    listener: ListenerSpec,
    peer: Client,
    asked: AskedRequest,
    pools: Mapping[str, PoolSpec],
    secret: bytes | None,
    now: float,
) -> RoutedRequest:
    """Return what a listener would do with a request of a peer at ``now``, in seconds since 1970.

    ``secret`` is that of sticky cookies, if it is known.
    Raises ValueError if the URL is none, or a header is not one line with a name.
    """
    settings = listener.settings
    assert isinstance(settings, HttpSettings)  # noqa: S101 - read_settings returns this type
    data = _head(asked)
    router = Router([(route, route) for route in all_routes(settings)])
    try:
        head = _read(data, settings, router)
        if head.method == b"CONNECT":
            return RoutedRequest(asked, peer, "CONNECT is for mode forward", error=405)
        path = head.path
    except MalformedError as error:
        return RoutedRequest(asked, peer, f"refused: {error}", error=error.status)
    why, route = router.explain(head.host, path, head.method), router.find(head.host, path, head.method)
    scheme = b"http" if listener.tls is None else b"https"
    forwarding = read_forwarding(head, peer, scheme, settings.trusted_proxies, b"")
    client = client_with(forwarding.client, head)
    if route is None:
        return RoutedRequest(asked, client, why, error=404)
    values = RequestValues(head, forwarding.client.host.encode(), forwarding.scheme, b"ID")
    if refused := _refused(head, route, settings, now):
        return RoutedRequest(asked, client, f"{why}; {refused[1]}", route, error=refused[0])
    found = RoutedRequest(asked, client, why, route, answer=_answer(route, values))
    if found.answer:
        return found
    server = _sticky_server(head, pools[found.pool], secret)
    key = _cache_key(route, head, values.scheme)
    target = TargetChange(route).target(head).decode()
    return attrs.evolve(found, target=target, host=_host(route, head), sticky_server=server, cache_key=key)


def _refused(head: RequestHead, route: RouteSpec, settings: HttpSettings, now: float) -> tuple[int, str] | None:
    """Return the status of an error that the request gets before its target, and why; None if there is none."""
    if 0 < settings.max_body < (head.block.length or 0):
        return 413, "its body is longer than max_body"
    if route.viewer_secret is not None and (without := problem(head, now)):
        return 403, without
    if isinstance(route.target, Files) and head.method not in (b"GET", b"HEAD"):
        return 405, "files take GET and HEAD only"
    return None


def _answer(route: RouteSpec, values: RequestValues) -> str:
    """Return what the balancer itself answers as the target of a route; empty if a server answers."""
    match route.target:
        case Redirect(text, status):
            location = Location(text).render(values)
            assert location is not None  # noqa: S101 - the request has a Host
            return f"{status} to {location.decode()}"
        case Respond(text, status):
            text = Template(text).render(values).decode()
            return f"{status} with the text {shown(text)}" if text else str(status)
        case Files(directory):
            return f"a file of {directory}"
        case _:
            return ""


def _sticky_server(head: RequestHead, pool: PoolSpec, secret: bytes | None) -> str:
    """Return the server that a sticky cookie names; empty if there is none."""
    sticky = pool.sticky
    if sticky is None or (secret is None and sticky.secret is None):
        return ""
    return StickyValues(sticky, pool.name, secret or b"").named(head.cookies, (server.name for server in pool.servers))


def _cache_key(route: RouteSpec, head: RequestHead, scheme: bytes) -> bytes:
    if route.cache is None or not may_look_up(head) or wanted(route.cache.bypass, head):
        return b""
    return KeyTemplate(route.cache.key)(scheme, head)


def _host(route: RouteSpec, head: RequestHead) -> str:
    match route.host_header:
        case "client":
            return head.host.decode()
        case "server":
            return "the server's address"
        case host:
            return host


def _read(data: bytes, settings: HttpSettings, router: Router[RouteSpec]) -> RequestHead:
    """Read a head as a listener does. Raises MalformedError."""
    buffer = HeadBuffer(settings.max_header)
    buffer.feed(data)
    head = buffer.take_head()
    if head is None or len(buffer):
        raise MalformedError("the head does not end where it should")
    return LinkedHeads(partial(_links_of, router)).read(head)


def _links_of(router: Router[RouteSpec], head: RequestHead) -> ViewerLinks | None:
    route = router.find(head.host, head.path, head.method)
    return None if route is None or route.viewer_secret is None else ViewerLinks(route.viewer_secret, route.path)


def _head(asked: AskedRequest) -> bytes:
    """Return the head of a request as a client sends it. Raises ValueError."""
    try:
        host, target = split_absolute(_line(asked.url.partition("#")[0]))
    except (MalformedError, ValueError) as error:
        raise ValueError(f"the URL must be like 'https://www.example.com/a', not {shown(asked.url)}") from error
    lines = [_header(text) for text in asked.headers]
    if not any(line.lower().startswith(b"host:") for line in lines):
        lines.insert(0, b"Host: " + host)
    return b"\r\n".join([b"%s %s HTTP/1.1" % (_line(asked.method), target), *lines, b"", b""])


def _header(text: str) -> bytes:
    """Return the line of a header. Raises ValueError."""
    if ":" not in text:
        raise ValueError(f"a header must be a line like 'Accept: text/html', not {shown(text)}")
    return _line(text)


def _line(text: str) -> bytes:
    """Return a text of one line. Raises ValueError if it has several, or none."""
    if len(text.splitlines()) != 1:
        raise ValueError(f"must be one line, not {shown(text)}")
    return text.encode(errors="surrogateescape")
