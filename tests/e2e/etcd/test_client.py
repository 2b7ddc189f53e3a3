"""The client and the follower, against a real etcd."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from lb.etcd.client import EtcdClient
from lb.etcd.errors import EtcdError
from lb.etcd.follower import PrefixFollower
from lb.etcd.messages import Comparison, Deletion, Put, RangeRequest, prefix_end
from lb.model import EtcdSpec, Secret
from tests.support.balancer import PATIENCE
from tests.support.effort import DEEP
from tests.support.etcd import PREFIX, etcd
from tests.support.servers import free_port

pytestmark = pytest.mark.slow
deep = pytest.mark.skipif(not DEEP, reason="waits for timeouts, which other tests let a clock jump over")
KEY = PREFIX.encode()
ALL = RangeRequest(KEY, prefix_end(KEY))


def spec(*servers, **more):
    return EtcdSpec(tuple(getattr(each, "url", each) for each in servers), PREFIX, **more)


def nobody():
    return f"http://127.0.0.1:{free_port()}"


class Followed:
    """A prefix as its observer sees it."""

    def __init__(self):
        self.values = {}
        self.errors = []
        self.snapshots = 0
        self.is_well = False
        self._news = trio.Event()

    def _tell(self):
        self._news.set()
        self._news = trio.Event()

    async def snapshot(self, entries):
        self.snapshots += 1
        self.values = {key.removeprefix(KEY): entry.value for key, entry in entries.items()}
        self._tell()

    async def changed(self, events):
        for event in events:
            name = event.entry.key.removeprefix(KEY)
            if event.deleted:
                del self.values[name]
            else:
                self.values[name] = event.entry.value
        self._tell()

    def followed(self):
        self.is_well = True
        self._tell()

    def lost(self, errors):
        self.is_well = False
        self.errors.append(errors)
        self._tell()

    async def until(self, condition):
        with trio.fail_after(PATIENCE):
            while not condition():
                await self._news.wait()


@asynccontextmanager
async def following(specification):
    """A follower, until the end of the block."""
    seen = Followed()
    async with EtcdClient(specification) as client, trio.open_nursery() as nursery:
        nursery.start_soon(PrefixFollower(client, KEY, seen).run)
        yield seen
        nursery.cancel_scope.cancel()


async def test_what_is_put_is_there_until_it_is_deleted():
    async with etcd() as server, EtcdClient(spec(server)) as client:
        state = await client.put(Put(KEY + b"a", b"\x00\xff"))
        answer = await client.range(ALL)
        assert [(each.key, each.value, each.mod_revision) for each in answer.found] == [
            (KEY + b"a", b"\x00\xff", state.revision)
        ]
        assert answer.count == 1
        assert answer.state == state
        await client.delete(Deletion(KEY, prefix_end(KEY)))
        assert not (await client.range(ALL)).count


async def test_a_transaction_is_done_only_if_its_conditions_hold():
    async with etcd() as server, EtcdClient(spec(server)) as client:
        is_new = (Comparison(KEY + b"a", "CREATE", "EQUAL", 0),)
        assert (await client.txn(is_new, (Put(KEY + b"a", b"1"),))).succeeded
        assert not (await client.txn(is_new, (Put(KEY + b"a", b"2"),))).succeeded
        answer = await client.range(ALL)
        assert answer.found[0].value == b"1"


async def test_a_key_goes_with_its_lease():
    async with etcd() as server, EtcdClient(spec(server)) as client:
        lease = await client.grant(30)
        await client.put(Put(KEY + b"a", b"1", lease))
        assert await client.keep_alive(lease) == 30
        assert (await client.range(ALL)).found[0].lease == lease
        await client.revoke(lease)
        assert not (await client.range(ALL)).count
        assert await client.keep_alive(lease) == 0
        with pytest.raises(EtcdError, match="requested lease not found") as found:
            await client.put(Put(KEY + b"a", b"1", lease))
        assert found.value.is_of_the_request


async def test_the_next_endpoint_is_asked_when_one_fails_and_then_kept():
    async with etcd() as server:
        first = nobody()
        async with EtcdClient(spec(first, server)) as client:
            await client.put(Put(KEY + b"a", b"1"))
            assert client.endpoint == server.url
            await server.kill()
            with pytest.raises(EtcdError) as found:
                await client.range(ALL)
            assert found.value.texts == (f"{first}: connection refused", f"{server.url}: connection refused")


async def test_a_frozen_endpoint_is_left_after_its_time():
    async with etcd() as frozen, etcd() as server, EtcdClient(spec(frozen, server)) as client:
        frozen.freeze()
        await client.range(ALL, within=0.5)
        assert client.endpoint == server.url
        with pytest.raises(EtcdError, match=r"no answer in 0\.5 s"):
            await client.range(ALL, within=0.5, endpoint=frozen.url)


async def test_what_is_no_etcd_is_said():
    async with etcd() as server:
        wrong = f"http://127.0.0.1:{server.peer_port}"
        async with EtcdClient(spec(wrong)) as client:
            with pytest.raises(EtcdError, match=r"status 404: is not the JSON gateway of etcd 3\.4 or newer"):
                await client.range(ALL)


# Authentication


async def test_a_token_that_etcd_forgot_or_that_ran_out_is_replaced():
    async with etcd(options=["--auth-token-ttl=1"]) as server:
        await server.demand_login("lb", "secret")
        async with EtcdClient(spec(server, user="lb", password=Secret("secret"))) as client:
            await client.put(Put(KEY + b"a", b"1"))
            await trio.sleep(2.5)  # the token lives for a second
            assert (await client.range(ALL)).count == 1
            if DEEP:
                await server.kill()
                await server.start()
                assert (await client.range(ALL)).count == 1


async def test_a_bad_password_and_a_foreign_prefix_are_said():
    async with etcd() as server:
        await server.demand_login("lb", "secret")
        async with EtcdClient(spec(server, user="lb", password=Secret("other"))) as client:
            with pytest.raises(EtcdError, match=f"^{server.url}: authentication failed, invalid user ID or password$"):
                await client.range(ALL)
        async with EtcdClient(spec(server, user="lb", password=Secret("secret"))) as client:
            with pytest.raises(EtcdError, match="permission denied"):
                await client.range(RangeRequest(b"/other/"))
        async with EtcdClient(spec(server)) as client:
            with pytest.raises(EtcdError, match="user name is empty"):
                await client.range(ALL)


# Following


async def test_a_prefix_is_followed_and_others_are_not():
    async with etcd() as server:
        await server.put("a", "1")
        await server.put("b", "2", prefix="/trio-lb/pools/web2/")
        async with following(spec(server)) as seen:
            await seen.until(lambda: seen.values == {b"a": b"1"})
            await server.put("b", "2")
            await server.put("b", "2", prefix="/trio-lb/pools/web2/")
            await server.delete("a")
            await seen.until(lambda: seen.values == {b"b": b"2"})
            assert seen.snapshots == 1


async def test_more_keys_than_a_page_has():
    async with etcd() as server:
        await server.ctl("txn", text="\n" + "".join(f"put {PREFIX}{n:03} {n}\n" for n in range(120)) + "\n\n")
        for start in (200, 400):
            await server.ctl(
                "txn", text="\n" + "".join(f"put {PREFIX}{n:03} {n}\n" for n in range(start, start + 120)) + "\n\n"
            )
        async with following(spec(server)) as seen:
            await seen.until(lambda: len(seen.values) == 360)
            assert list(seen.values) == sorted(seen.values)


async def test_a_restart_is_noticed_and_what_changed_meanwhile_is_known():
    async with etcd() as server:
        await server.put("a", "1")
        async with following(spec(server)) as seen:
            await seen.until(lambda: seen.is_well)
            await server.kill()
            await seen.until(lambda: seen.errors)
            assert seen.errors[0] == (f"{server.url}: connection refused",)
            assert seen.values == {b"a": b"1"}
            await server.start()
            await server.put("b", "2")
            await seen.until(lambda: seen.is_well and len(seen.values) == 2)


@deep
async def test_a_frozen_etcd_is_noticed_and_followed_again():
    async with etcd() as server:
        await server.put("a", "1")
        async with following(spec(server)) as seen:
            await seen.until(lambda: seen.is_well)
            server.freeze()
            await seen.until(lambda: seen.errors)
            assert seen.errors[0][0].startswith(f"{server.url}: no answer in ")
            server.thaw()
            await seen.until(lambda: seen.is_well)
            await server.put("b", "2")
            await seen.until(lambda: len(seen.values) == 2)


async def test_a_store_that_was_emptied_is_another_one():
    async with etcd() as server:
        for number in range(5):
            await server.put("a", str(number))
        async with following(spec(server)) as seen:
            await seen.until(lambda: seen.is_well)
            await server.kill()
            server.empty()
            await server.start()
            await seen.until(lambda: not seen.values)
            await server.put("b", "1")
            await seen.until(lambda: seen.values == {b"b": b"1"})
