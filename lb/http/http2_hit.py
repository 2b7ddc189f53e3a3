"""The fast path of a hit for HTTP/2: its head is kept as a block, beside the one of HTTP/1."""

from __future__ import annotations

from lb.cache.content import Content
from lb.http.cache_hit import Hit, find_hit, hit_exchange, record_hit
from lb.http.cached_route import CachedRoute
from lb.http.file_flow import FilePart
from lb.http.frontend import RunningRoute
from lb.http.http2_blocks import length_block
from lb.http.http2_carrier import StreamConnection
from lb.http1.request_head import RequestHead
from lb.http2.hpack_writer import encode_fields, encode_status
from lb.http2.stream import Http2Stream

__all__ = ["serve_stream_hit"]


def serve_stream_hit(
    cached: CachedRoute, client: StreamConnection, stream: Http2Stream, head: RequestHead, route: RunningRoute
) -> bool:
    """Serve a request if it is a hit, and is let in. The caller has looked: route, head and connection are usual."""
    if route.links is not None and not route.links.lets_in(head):
        return False
    hit = find_hit(head, cached, client.scheme)
    if hit is None:
        return False
    body = hit.body
    if isinstance(body, Content):
        return _serve_file(hit, body, cached, client, stream, head, route)
    core = client.core
    block = hit.block or _keep_block(hit)
    sent = len(body)
    if not (body and core.send_message(stream, block, body)):
        core.send_headers(stream, block, ended=not body)
        sent = core.send_data(stream, body, ended=True) if body else 0
    cached.zone.results["HIT"] += 1
    cached.zone.top.note(hit.key)
    if sent < len(body):
        _wait(hit, body[sent:], client, stream, head, route)
    elif client.frontend.is_recorded:
        record_hit(client.client, client.frontend, head, route, hit)
    return True


def _keep_block(hit: Hit) -> bytes:
    length = b"" if hit.status == 204 else length_block(hit.length)
    hit.block = encode_status(hit.status) + encode_fields(hit.fields) + length
    return hit.block


def _wait(
    hit: Hit, rest: bytes, client: StreamConnection, stream: Http2Stream, head: RequestHead, route: RunningRoute
) -> None:
    """The client takes the rest later."""
    carrier = client.new_carrier(stream)
    if carrier is not None:
        carrier.send_later(rest)
        hit_exchange(carrier, head, route, hit).response_complete()


def _serve_file(
    hit: Hit,
    content: Content,
    cached: CachedRoute,
    client: StreamConnection,
    stream: Http2Stream,
    head: RequestHead,
    route: RunningRoute,
) -> bool:
    """Serve a hit from its file, unless that was removed from the disk."""
    file = content.file
    if file is None or file.is_removed():
        return False
    carrier = client.new_carrier(stream)
    if carrier is None:
        return True
    cached.zone.results["HIT"] += 1
    cached.zone.top.note(hit.key)
    exchange = hit_exchange(carrier, head, route, hit)
    exchange.bytes_out = 0
    file.acquire()
    carrier.send_parts(exchange, hit.block or _keep_block(hit), (FilePart(file, file.body_at, hit.length),))
    return True
