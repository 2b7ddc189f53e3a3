"""Breaks the balancer in every process that has this folder in PYTHONPATH, to see whether a storm finds out.

``LB_SABOTAGE`` says how, in words: ``byte`` loses one of every so many reads, ``lease`` and ``descriptor`` are not
given back, ``record`` and ``request-record`` are written twice, ``answer`` is that of the request before,
``truncation`` makes what was cut look complete, ``failover`` does not happen,
``memory`` is kept for each connection, ``retry`` does not happen for clients that are held: only a wake-up helps them.
``disk`` takes longer than an idle timeout to create a file. ``garbage`` is not collected, and ``LB_FILLS`` names a file
that says how many fills are in memory when the next one begins. ``question`` to a name server has no end.
``first-look``: a start waits for the first answer of each source.
``step-back`` of a worker with more connections than another one takes seconds: a slow one does not lose clients to it.
What is ``stored`` on disk in pieces is removed in the moment that it has its name; a file PATH.removed beside the
directory says so, and the loop hears late that it was stored.
"""

import gc
import itertools
import os
import socket
import time
import weakref
from pathlib import Path

from lb.cache import disk_files
from lb.discovery import watcher
from lb.http import cache_fill, exchange, upstream_request
from lb.pools import pool
from lb.proxy import connector, context, listener
from lb.relay import epoll_relay
from lb.tcp import connection

SOMETIMES = 40
OFTEN = 10
KEPT = 4096
SLOW = 4
"""Seconds."""
BYTES, LEASES, ENDS, RECORDS, REQUESTS, ANSWERS = (itertools.count(1) for _ in range(6))


def loses_bytes():
    original = epoll_relay.Side._pass_on

    def pass_on(side):
        if not next(BYTES) % SOMETIMES:
            side.sock.recv(1)
        return original(side)

    epoll_relay.Side._pass_on = pass_on


def leaks_leases():
    original = pool.Pool.release

    def release(self, backend):
        if next(LEASES) % SOMETIMES:
            original(self, backend)

    pool.Pool.release = release


def leaks_descriptors():
    original = listener.Listener.connection_closed

    def connection_closed(self):
        if not next(ENDS) % SOMETIMES:
            socket.socket().detach()
        original(self)

    listener.Listener.connection_closed = connection_closed


def keeps_memory():
    original = listener.Listener.connection_closed
    kept = []

    def connection_closed(self):
        kept.append(bytes(KEPT))
        original(self)

    listener.Listener.connection_closed = connection_closed


def doubles_records():
    original = connection.Connection._finish

    def finish(self, ended_by, reason):
        sink = self._context.sink

        def twice(event):
            sink(event)
            if not next(RECORDS) % SOMETIMES:
                sink(event)

        self._context.sink = twice
        try:
            original(self, ended_by, reason)
        finally:
            self._context.sink = sink

    connection.Connection._finish = finish


def doubles_records_of_requests():
    original = exchange.Exchange._record

    def record(self):
        event = original(self)
        if not next(REQUESTS) % SOMETIMES:
            self.frontend.context.sink(event)
        return event

    exchange.Exchange._record = record


def swaps_answers():
    original = upstream_request.UpstreamRequest._pass_whole
    last = []

    def pass_whole(self, server, head, rest, variant):
        last.append((head, bytes(rest)))
        if len(last) > 1 and not next(ANSWERS) % OFTEN:
            head, before = last[-2]
            rest = memoryview(before)
        del last[:-1]
        original(self, server, head, rest, variant)

    upstream_request.UpstreamRequest._pass_whole = pass_whole


def truncates():
    def end_orderly(sock):
        sock.shutdown(socket.SHUT_RDWR)

    for module in (connection, epoll_relay):
        module.end_with_reset = end_orderly


def does_not_fail_over():
    connector.Connector.connect_failed = lambda self, error: self.owner.no_server("lb", "connect_failed")


def does_not_retry():
    context.HOLD_RETRY = 3600


def slows_the_disk():
    original = disk_files.DiskFiles.create

    def create(self, layout):
        time.sleep(SLOW)  # noqa: TID251 - in a thread, as a disk would
        return original(self, layout)

    disk_files.DiskFiles.create = create


def removes_what_is_stored():
    original = disk_files.DiskFiles.finish

    def finish(self, fd, temporary, layout, length):
        result = original(self, fd, temporary, layout, length)
        Path(self.path_of(layout.digest)).unlink()
        Path(f"{self.path}.removed").touch()
        time.sleep(SLOW)  # noqa: TID251 - in a thread, too
        return result

    disk_files.DiskFiles.finish = finish


def collects_no_garbage():
    gc.disable()
    original = cache_fill.Fill.__init__
    known = weakref.WeakSet()

    def begin(self, *args):
        original(self, *args)
        Path(os.environ["LB_FILLS"]).write_text(str(len(known)))
        known.add(self)

    cache_fill.Fill.__init__ = begin


def steps_back_for_long():
    listener.STEP_BACK = 2.0


def waits_for_first_answers():
    watcher.FIRST_LOOK = 3600


def waits_for_name_servers():
    from lb.discovery import dns_client  # needs its library, which other ways do without

    dns_client.LIFETIME = 3600


WAYS = {
    "byte": loses_bytes,
    "lease": leaks_leases,
    "descriptor": leaks_descriptors,
    "memory": keeps_memory,
    "record": doubles_records,
    "request-record": doubles_records_of_requests,
    "answer": swaps_answers,
    "truncation": truncates,
    "disk": slows_the_disk,
    "garbage": collects_no_garbage,
    "failover": does_not_fail_over,
    "retry": does_not_retry,
    "question": waits_for_name_servers,
    "stored": removes_what_is_stored,
    "step-back": steps_back_for_long,
    "first-look": waits_for_first_answers,
}

for way in os.environ.get("LB_SABOTAGE", "").split():
    WAYS[way]()
