"""Claims of checks and the keys that hold them, without etcd: a client that writes down what it is told."""

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from healthcheck.shared_checks import CheckClaim
from lb.cluster.check_claims import MOST_OPERATIONS, CheckClaims
from lb.cluster.part import PartKeys
from lb.control.sharing import Sharing
from lb.etcd.errors import EtcdError
from lb.etcd.messages import Deletion, KeyValue, PrefixEvent, Put

PREFIX = b"/edge/checks/"
UP = CheckClaim(True, "10.0.0.1:80")
DOWN = CheckClaim(False, "10.0.0.1:80")


class Client:
    """Takes transactions, unless it is away."""

    def __init__(self):
        self.told = []
        self.away = False

    async def txn(self, conditions, operations):
        await trio.lowlevel.checkpoint()
        if self.away:
            raise EtcdError({"http://10.0.0.1:2379": "refused"})
        assert conditions == ()
        self.told.append(operations)


class RecordingSharing(Sharing):
    """Also remembers what it heard."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def hear(self, place, node, claim):
        self.heard.append((place, node, claim))

    async def hear_all(self, claims):
        self.heard.append(claims)


def value(claim):
    return json.dumps(claim.as_json()).encode()


@pytest.fixture
def sharing():
    return RecordingSharing()


@pytest.fixture
async def client(nursery, sharing):
    client = Client()
    nursery.start_soon(CheckClaims(sharing).run, PartKeys(client, PREFIX, "lb1", 7))
    await wait_all_tasks_blocked()
    return client


async def test_what_an_earlier_process_left_is_forgotten_first(client):
    assert client.told == [(Deletion(PREFIX + b"lb1/", PREFIX + b"lb10"),)]


async def test_claims_are_put_with_the_lease_and_deleted(client, sharing):
    sharing.tell(("web", "a/b"), UP)
    sharing.tell(("web", "c"), None)
    await wait_all_tasks_blocked()
    assert client.told[1:] == [(Put(PREFIX + b"lb1/web/a/b", value(UP), 7), Deletion(PREFIX + b"lb1/web/c"))]


async def test_many_claims_are_told_in_several_transactions(client, sharing):
    for number in range(2 * MOST_OPERATIONS + 1):
        sharing.tell(("web", f"s{number}"), UP)
    await wait_all_tasks_blocked()
    assert [len(operations) for operations in client.told[1:]] == [MOST_OPERATIONS, MOST_OPERATIONS, 1]


async def test_what_etcd_does_not_take_is_told_again_in_its_order(client, sharing, autojump_clock):
    client.away = True
    sharing.tell(("web", "a"), UP)
    await trio.sleep(3.5)
    sharing.tell(("web", "a"), DOWN)
    client.away = False
    await trio.sleep(1.5)
    assert [json.loads(operation.value)["up"] for (operation,) in client.told[1:]] == [True, False]


async def test_claims_are_heard_with_their_node_and_server(sharing):
    claims = CheckClaims(sharing)
    entries = {"lb2/web/a/b": UP, "lb3/web/a/b": DOWN, "lb2/api/c": UP}
    await claims.snapshot({key: KeyValue(b"x", value(claim)) for key, claim in entries.items()})
    await claims.changed("lb2/web/a", PrefixEvent(KeyValue(b"x", value(DOWN))))
    await claims.changed("lb2/web/a", PrefixEvent(KeyValue(b"x", b""), deleted=True))
    assert sharing.heard == [
        {("web", "a/b"): {"lb2": UP, "lb3": DOWN}, ("api", "c"): {"lb2": UP}},
        (("web", "a"), "lb2", DOWN),
        (("web", "a"), "lb2", None),
    ]


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b"{}", b'{"up": "yes", "address": "a"}', pytest.param(b"[" * 100_000, id="deep")]
)
async def test_what_cannot_be_read_is_no_claim(sharing, content):
    claims = CheckClaims(sharing)
    await claims.snapshot({"lb2/web/a": KeyValue(b"x", content), "": KeyValue(b"x", value(UP))})
    await claims.changed("lb2/web/a", PrefixEvent(KeyValue(b"x", content)))
    assert sharing.heard[0].get(("web", "a")) is None
    assert sharing.heard[1] == (("web", "a"), "lb2", None)
