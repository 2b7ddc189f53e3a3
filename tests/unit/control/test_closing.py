"""A listener that a reload removes still accepts the clients in its backlog."""

from __future__ import annotations

import trio
import trio.testing

from lb.config.load import parse
from lb.control.balancer import Balancer
from lb.relay.epoll_acceptor import EpollAcceptor


def configuration(*listeners):
    fronts = "\n".join(f'[listeners.{name}]\nbind = "127.0.0.1:0"\npool = "web"' for name in listeners)
    return parse(f'{fronts}\n[pools.web]\nhealth = false\nservers = ["127.0.0.1:1"]', "lb.toml")


async def test_a_stop_waits_until_a_closed_listener_has_accepted_the_last_clients(monkeypatch):
    """It closed the sockets of the listener meanwhile."""
    steps, may_go_on = [], trio.Event()

    async def finish(acceptor):
        steps.append("accepts")
        await may_go_on.wait()
        assert acceptor._listening.fileno() != -1
        acceptor.detach()
        steps.append("done")

    monkeypatch.setattr(EpollAcceptor, "finish", finish)
    balancer = Balancer(lambda event: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(balancer.run, configuration("a", "b"))
        nursery.start_soon(balancer.reload, configuration("a"))
        await trio.testing.wait_all_tasks_blocked()
        balancer.stop_now()
        await trio.testing.wait_all_tasks_blocked()
        assert steps == ["accepts"]
        may_go_on.set()
    assert steps == ["accepts", "done"] * 2
