"""Calls of gRPC from grpcio through the balancer to grpcio: all four kinds, deadlines, errors, retries, checks."""

from __future__ import annotations

import queue
import time
from contextlib import asynccontextmanager
from functools import partial

import bcrypt
import grpc
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer
from tests.support.grpc_server import grpc_server
from tests.support.servers import free_port
from tests.support.tls_peers import authority, certificate

pytestmark = pytest.mark.slow


@asynccontextmanager
async def servers(*names):
    """Run servers; yield their ports."""
    async with trio.open_nursery() as nursery:
        ports = [free_port() for _ in names]
        ready = [trio.Event() for _ in names]
        over = trio.Event()

        async def run(name, port, event):
            async with grpc_server(name, port=port):
                event.set()
                await over.wait()

        for name, port, event in zip(names, ports, ready, strict=True):
            nursery.start_soon(run, name, port, event)
        with trio.fail_after(PATIENCE):
            for event in ready:
                await event.wait()
        try:
            yield ports
        finally:
            over.set()


def config(ports, *, http="", pool="", health="health = false", listener="h2c = true"):
    named = ", ".join(f'{{ name = "s{number}", address = "127.0.0.1:{port}" }}' for number, port in enumerate(ports))
    return (
        f'[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\npool = "web"\n{listener}\n'
        f'[pools.web]\nservers = [{named}]\n{health}\n{pool}\n[pools.web.http]\nprotocol = "h2"\n{http}\n'
    )


class Calls:
    """A client. Its calls block, so each runs in a thread."""

    def __init__(self, channel):
        self.channel = channel

    async def unary(self, method, message=b"", **options):
        call = self.channel.unary_unary(f"/test.Echo/{method}")
        return await trio.to_thread.run_sync(partial(call, message, **{"timeout": PATIENCE, **options}))

    async def code(self, method, message=b"", **options):
        """Return the status and the message of a call that fails."""
        with pytest.raises(grpc.RpcError) as caught:
            await self.unary(method, message, **options)
        return caught.value.code(), caught.value.details()


@asynccontextmanager
async def calls(lb):
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{lb.port}", options) as channel:
        yield Calls(channel)


@asynccontextmanager
async def balanced(tmp_path, *names, **options):
    async with servers(*names) as ports, balancer(tmp_path, config(ports, **options)) as lb, calls(lb) as client:
        yield lb, client


async def test_all_kinds_of_calls(tmp_path):
    async with balanced(tmp_path, "a") as (lb, client):
        channel = client.channel
        assert await client.unary("Unary", b"hello") == b"a hello"
        assert await client.unary("Unary", b"z" * 3_000_000) == b"a " + b"z" * 3_000_000

        def kinds():
            many = channel.unary_stream("/test.Echo/Many")(b"1000 times", timeout=PATIENCE)
            assert list(many) == [b"1000 times"] * 1000
            total = channel.stream_unary("/test.Echo/Sum")(iter([b"x" * 10_000] * 300), timeout=PATIENCE)
            assert total == b"3000000"
            sent = queue.SimpleQueue()
            chat = channel.stream_stream("/test.Echo/Chat")(iter(sent.get, None), timeout=PATIENCE)
            for number in range(20):
                sent.put(b"%d" % number)
                assert next(chat) == b"%d" % number
            sent.put(None)
            assert list(chat) == []
            assert chat.code() is grpc.StatusCode.OK

        await trio.to_thread.run_sync(kinds)
        records = [await lb.event("http.request", count=number) for number in range(1, 6)]
        assert [record["path"].rpartition("/")[2] for record in records] == ["Unary", "Unary", "Many", "Sum", "Chat"]
        assert {(record["status"], record["grpc_status"], record["version"]) for record in records} == {(200, 0, "2")}


async def test_a_server_may_end_before_its_client(tmp_path):
    async with balanced(tmp_path, "a") as (lb, client):

        def first():
            sent = queue.SimpleQueue()
            sent.put(b"one")
            call = client.channel.stream_stream("/test.Echo/First")(iter(sent.get, None), timeout=PATIENCE)
            assert (list(call), call.code()) == ([b"one"], grpc.StatusCode.OK)
            sent.put(None)

        await trio.to_thread.run_sync(first)
        assert await client.unary("Unary", b"on") == b"a on"
        assert (await lb.event("http.request"))["reason"] == "ok"


async def test_metadata_passes_both_ways(tmp_path):
    async with balanced(tmp_path, "a") as (_lb, client):
        found = await client.unary("Metadata", metadata=(("x-a", "b"), ("x-b-bin", b"\0\xff")))
        lines = dict(line.split(": ", 1) for line in found.decode().splitlines())
        assert (lines["x-a"], lines["x-b-bin"], lines["x-forwarded-for"]) == ("b", str(b"\0\xff"), "127.0.0.1")

        def trailing():
            _, call = client.channel.unary_unary("/test.Echo/Unary").with_call(b"", timeout=PATIENCE)
            return call.trailing_metadata()

        assert ("x-name", "a") in await trio.to_thread.run_sync(trailing)


@pytest.mark.parametrize("code", ["NOT_FOUND", "INTERNAL", "UNAVAILABLE", "UNAUTHENTICATED"])
async def test_errors_of_servers_pass(tmp_path, code):
    async with balanced(tmp_path, "a") as (lb, client):
        found = await client.code("Fail", code.encode())
        assert found == (grpc.StatusCode[code], f"failed with {code} at a, as “asked”")
        record = await lb.event("http.request")
        assert (record["status"], record["grpc_status"]) == (200, grpc.StatusCode[code].value[0])


async def test_calls_are_balanced_one_by_one(tmp_path):
    async with balanced(tmp_path, "a", "b", pool='strategy = "least-conn"') as (_lb, client):
        found = [await client.unary("Unary") for _ in range(10)]
        assert sorted(found) == [b"a "] * 5 + [b"b "] * 5


async def test_least_conn_counts_streams(tmp_path):
    async with balanced(tmp_path, "a", "b", pool='strategy = "least-conn"') as (lb, client):

        def hold_six_and_end_them():
            held = [queue.SimpleQueue() for _ in range(6)]
            chat = client.channel.stream_stream("/test.Echo/Chat")
            streams = []
            for sent in held:
                streams.append(chat(iter(sent.get, None), timeout=PATIENCE))
                sent.put(b"x")
                assert next(streams[-1]) == b"x"  # it has its server
            for sent, stream in zip(held, streams, strict=True):
                sent.put(None)
                assert list(stream) == []

        await trio.to_thread.run_sync(hold_six_and_end_them)
        records = [await lb.event("http.request", count=number) for number in range(1, 7)]
        assert sorted(record["server"] for record in records) == ["s0"] * 3 + ["s1"] * 3


async def test_a_deadline_ends_the_call_and_cancels_the_server(tmp_path):
    async with balanced(tmp_path, "a") as (lb, client):
        await client.unary("Unary", b"x")  # which connects: the time of a call runs from its begin
        began = time.monotonic()
        assert (await client.code("Hang", timeout=1))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - began < PATIENCE / 2
        record = await lb.event("http.request", count=2)
        assert record["reason"] in ("timeout", "client_left")  # both have the same deadline
        assert record["duration_ms"] > 50


@pytest.mark.parametrize(
    ("http", "found"),
    [
        ("", (grpc.StatusCode.UNAVAILABLE, "not now")),
        ('retry_on = ["grpc_unavailable"]', b"b x"),
    ],
)
async def test_a_call_that_is_unavailable_is_made_again_if_the_pool_says_so(tmp_path, http, found):
    async with balanced(tmp_path, "a", "b", http=http, pool='strategy = "first"') as (lb, client):
        if http:
            with pytest.raises(grpc.RpcError):  # both refuse the first one
                await client.unary("Flaky", b"x")
            assert await client.unary("Flaky", b"x") == b"a x"
            assert await client.unary("Unary", b"x") == b"a x"
            record = await lb.event("http.request")
            assert [attempt["error"] for attempt in record["attempts"]] == ["UNAVAILABLE"]
        else:
            assert await client.code("Flaky", b"x") == found


async def test_a_route_with_a_cache_serves_calls_as_any_other(tmp_path):
    cached = (
        'h2c = true\n[[listeners.web.routes]]\npath = "/"\npool = "web"\ncache = { zone = "main" }\n'
        '[caches.main]\nmemory = "8MiB"'
    )
    options = {"listener": cached, "http": 'retry_on = ["grpc_unavailable"]', "pool": 'strategy = "first"'}
    async with balanced(tmp_path, "a", "b", **options) as (lb, client):
        with pytest.raises(grpc.RpcError):  # both refuse the first one
            await client.unary("Flaky", b"x")
        assert await client.unary("Flaky", b"x") == b"a x"
        record = await lb.event("http.request")
        assert [attempt["error"] for attempt in record["attempts"]] == ["UNAVAILABLE"]
        assert record["grpc_status"] == 14
        assert (await client.code("Hang", timeout=1))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
        record = await lb.event("http.request", count=3)
        assert record["reason"] in ("timeout", "client_left")  # both have the same deadline


@pytest.mark.parametrize(
    ("listener", "server", "code", "message"),
    [
        ('pool = "app"', '"127.0.0.1:1", weight = 0', "UNAVAILABLE", "Service Unavailable"),
        ('pool = "app"', '"127.0.0.1:1"', "UNAVAILABLE", "Bad Gateway"),
        ('[[listeners.web.routes]]\npath = "/other"\nrespond = "x"', '"127.0.0.1:1"', "UNIMPLEMENTED", "Not Found"),
        ('[[listeners.web.routes]]\npool = "app"\nauth = "staff"', '"127.0.0.1:1"', "UNAUTHENTICATED", "Unauthorized"),
    ],
)
async def test_errors_of_the_balancer_are_errors_of_grpc(tmp_path, listener, server, code, message):
    (tmp_path / "users").write_text(f"a:{bcrypt.hashpw(b'a', bcrypt.gensalt(4)).decode()}\n")
    text = (
        f'[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\nh2c = true\n{listener}\n'
        f'[pools.app]\nhealth = false\nservers = [{{ address = {server} }}]\n[pools.app.http]\nprotocol = "h2"\n'
        '[users.staff]\nfile = "users"\nrealm = "staff"'
    )
    async with balancer(tmp_path, text) as lb, calls(lb) as client:
        assert await client.code("Unary", b"hello") == (grpc.StatusCode[code], message)
        record = await lb.event("http.request")
        assert (record["status"], record["grpc_status"]) == (200, grpc.StatusCode[code].value[0])
        assert record["reason"] != "ok"


async def test_a_message_that_is_too_large(tmp_path):
    async with balanced(tmp_path, "a", listener="h2c = true\nmax_body = 1000") as (lb, client):
        assert await client.unary("Unary", b"x" * 900) == b"a " + b"x" * 900
        found = await client.code("Unary", bytes(2000))
        assert found == (grpc.StatusCode.UNKNOWN, "Request Entity Too Large")
        assert (await lb.event("http.request", status=200, count=2))["reason"] == "too_large"


async def test_a_check_by_grpc_takes_a_server_out_and_in(tmp_path):
    health = '[pools.web.health]\nprobe = "grpc"\ninterval = "100ms"\nfast_interval = "50ms"\nfall = 1\nrise = 1'
    async with servers("a", "b") as ports:
        text = config(ports, health="", http=health)
        async with balancer(tmp_path, text) as lb, calls(lb) as client:
            with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as direct:
                await Calls(direct).unary("Sick")
                ejected = await lb.event("backend.ejected")
                assert (ejected["server"], ejected["reason"]) == ("s0", "NOT_SERVING")
                assert {await client.unary("Unary") for _ in range(6)} == {b"b "}
                await Calls(direct).unary("Well")
                await lb.event("backend.restored")
                assert {await client.unary("Unary") for _ in range(6)} == {b"a ", b"b "}


async def test_a_client_that_cancels_a_stream_of_messages(tmp_path):
    async with balanced(tmp_path, "a") as (lb, client):

        def begin_and_cancel():
            call = client.channel.unary_stream("/test.Echo/Many")(b"10000000 " + bytes(10_000), timeout=PATIENCE)
            assert next(call).startswith(b"10000000")
            call.cancel()

        await trio.to_thread.run_sync(begin_and_cancel)
        assert (await lb.event("http.request"))["reason"] == "client_left"
        assert await client.unary("Unary", b"on") == b"a on"


async def test_reload_and_drain_lose_no_call(tmp_path):
    async with servers("a", "b") as ports, balancer(tmp_path, config(ports)) as lb, calls(lb) as client:
        failed, done = [], trio.Event()

        async def keep_calling():
            while not done.is_set():
                try:
                    await client.unary("Unary", b"x")
                except grpc.RpcError as error:
                    failed.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(keep_calling)
            for number in range(6):
                await lb.reload(config(ports[number % 2 :]))
            done.set()
        assert failed == []


async def test_tls_on_both_sides(tmp_path):
    pem = certificate("localhost", "127.0.0.1").private_key_and_cert_chain_pem.bytes()
    (tmp_path / "pem").write_bytes(pem)
    (tmp_path / "ca").write_bytes(authority().cert_pem.bytes())
    port = free_port()
    text = config([port], listener="[listeners.web.tls]\ncertificate = 'pem'\nkey = 'pem'")
    text += "[pools.web.tls]\nca = 'ca'\nserver_name = 'localhost'\n"
    async with grpc_server("a", port=port, certificate=pem), balancer(tmp_path, text) as lb:
        credentials = grpc.ssl_channel_credentials(authority().cert_pem.bytes())
        with grpc.secure_channel(f"127.0.0.1:{lb.port}", credentials) as channel:
            assert await Calls(channel).unary("Unary", b"x") == b"a x"
