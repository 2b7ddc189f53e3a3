"""``/api/v1/explain`` beside the traffic: refusals, waiting for the previous request, cancellation."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace
from urllib.parse import parse_qs

import pytest
import trio

from lb.admin.explanation import EXPLAIN_QUEUE_TIMEOUT, Explainer
from lb.admin.messages import AdminRequest, HttpError
from lb.model import PluginSpec
from tests.support.pooling import Harness, servers
from tests.support.specs import listener_spec

ASKED = "listener=web&source=10.1.2.3"


def explainer(*, workers=1, names="abcd", strategy="consistent-hash"):
    config = SimpleNamespace(listeners={"web": listener_spec("web", (), "web")})
    pool = Harness(*servers(names), strategy=PluginSpec(strategy)).pool
    return Explainer(SimpleNamespace(config=config, pools={"web": pool}, workers=workers))


def request(query, stays=math.inf):
    """A request whose client disconnects after this many seconds."""

    return AdminRequest("GET", "/api/v1/explain", parse_qs(query), disconnected=partial(trio.sleep, stays))


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("source=10.1.2.3", 400, "listener is missing"),
        (f"{ASKED}&source=10.1.2.4", 400, "source is given twice"),
        (f"{ASKED}&name=a&name=a", 400, "name is given twice"),
        (f"{ASKED}&{'a' * 9000}=1", 400, f"unknown parameter '{'a' * 60}…'"),
        (f"{ASKED}&without=a&without=a&without=a", 400, "without: more names than the pool 'web' has servers"),
        (f"{ASKED}&without={'a' * 9000}", 404, f"the pool 'web' has no server '{'a' * 60}…'"),
        (f"listener={'a' * 9000}&source=1", 404, f"there is no listener '{'a' * 60}…'"),
        (f"listener=web&source={'a' * 9000}", 400, "source: must be an address like"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
async def test_a_question_without_sense_is_refused_in_few_words(query, status, error):
    with pytest.raises(HttpError) as caught:
        await explainer(names="ab").answer(request(query))
    assert caught.value.status == status
    assert caught.value.detail.startswith(error)
    assert len(caught.value.detail) < 200


async def test_traffic_goes_on_while_a_table_is_built():
    turns = 0

    async def traffic():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(traffic)
        answer = await explainer().answer(request(f"{ASKED}&without=a"))
        nursery.cancel_scope.cancel()
    assert answer["without"]["moves"]["down"] == pytest.approx(0.25, abs=0.05)
    assert turns > 20, "the table takes more than that many half milliseconds"


async def test_who_has_gone_needs_no_answer():
    with pytest.raises(HttpError):
        await explainer().answer(request(f"{ASKED}&without=a", stays=0))


async def test_one_table_is_built_at_a_time_and_others_wait_only_so_long(autojump_clock):
    explain = explainer()
    async with trio.open_nursery() as nursery:
        waiting = trio.Event()

        async def hold():
            async with explain._building:
                waiting.set()
                await trio.sleep_forever()

        nursery.start_soon(hold)
        await waiting.wait()
        assert (await explain.answer(request(ASKED)))["chosen"], "requests without a table do not wait"
        asked_at = trio.current_time()
        with pytest.raises(HttpError) as caught:
            await explain.answer(request(f"{ASKED}&without=a"))
        assert caught.value.status == 503
        assert trio.current_time() - asked_at == pytest.approx(EXPLAIN_QUEUE_TIMEOUT, abs=0.1)
        nursery.cancel_scope.cancel()
    assert (await explain.answer(request(f"{ASKED}&without=a")))["without"]["names"] == ["a"]


async def test_several_workers_take_turns_of_their_own():
    explain = explainer(workers=2, strategy="round-robin")
    assert (await explain.answer(request(ASKED)))["notes"] == ["each of the 2 workers keeps its own turn"]
