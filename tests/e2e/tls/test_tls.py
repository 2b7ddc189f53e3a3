"""TLS with the real command: with clients, with servers, and both at once."""

from __future__ import annotations

import hashlib
import os
import ssl
from contextlib import suppress

import pytest
import trio
import trustme

from tests.support.balancer import PATIENCE, balancer, config, connect, read_all
from tests.support.effort import DEEP
from tests.support.servers import backends, refusing, reset_at_close, serving
from tests.support.tls_peers import (
    VERSIONS,
    TlsEnd,
    certificate,
    client_context,
    connect_tls,
    names_in,
    server_context,
    tls_server,
    write_authority,
    write_certificate,
)

pytestmark = pytest.mark.usefixtures("balancer_kind")
BULK = (24 if DEEP else 8) << 20
NAME = "a.example.org"


@pytest.fixture
def tls(tmp_path):
    """The ``tls`` table of a listener with a certificate for NAME."""
    return "[listeners.web.tls]\n" + write_certificate(tmp_path, "a", NAME)


def in_pool(tmp_path, *lines):
    """The ``tls`` table of a pool whose servers use TLS and are verified."""
    return "\n".join(["[pools.web.tls]", f'ca = "{write_authority(tmp_path)}"', *lines])


async def echo(end):
    """Echo until the client has finished; then finish."""
    while data := await end.receive_some():
        await end.send_all(data)
    await (end.finish() if isinstance(end, TlsEnd) else end.send_eof())


async def session(port, payload=b"hello", **how):
    """Send, finish, and return the response, which must end in order."""
    with trio.fail_after(PATIENCE):
        end = await connect_tls(port, **how)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send():
                await end.send_all(payload)
                await end.finish()

            received = await end.receive_all()
        await end.aclose()
        return received


async def plain_session(port, payload=b"hello"):
    """Like ``session``, for a client without TLS."""
    with trio.fail_after(PATIENCE):
        async with await connect(port) as stream:
            await stream.send_all(payload)
            await stream.send_eof()
            return await read_all(stream)


async def refused(port, **how):
    """Return the error of a refused client: in the handshake, or (TLS 1.3) at its first read."""
    with trio.fail_after(PATIENCE):
        stream = await connect(port)
        async with stream:
            end = TlsEnd(stream, how.get("context") or client_context(), server_name=NAME)
            try:
                await end.shake_hands()
                await end.send_all(b"hello")
                await end.receive_some()
            except (ssl.SSLError, trio.BrokenResourceError) as error:
                return error
    raise AssertionError("the client was not refused")


# TLS with clients


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
async def test_a_client_that_returns_resumes_its_session_whichever_worker_it_comes_to(tmp_path, tls, version):
    context = client_context(version=version)
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=tls)) as lb:
        last = None
        for number in range(20):
            end = await connect_tls(lb.port, context=context, session=last)
            assert end.object.session_reused == (number > 0)
            await end.send_all(b"x")
            assert await end.receive_exactly(1) == b"x"
            last = end.object.session
            await end.aclose()


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.usefixtures("real_command")
async def test_a_listener_ends_tls_and_the_record_counts_the_stream(tmp_path, tls, version):
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=tls)) as lb:
        assert await session(lb.port, b"x" * 1000, context=client_context(version=version)) == b"x" * 1000
        record = await lb.only_record()
    assert (record["ended_by"], record["reason"], record["server"]) == ("client", "eof", "s")
    assert (record["bytes_in"], record["bytes_out"]) == (1000, 1000)


async def test_an_answer_goes_on_after_the_client_has_finished(tmp_path, tls):
    async def answer_late(stream):
        question = b"".join([chunk async for chunk in stream])
        await stream.send_all(question * 20_000)

    async with serving(answer_late) as server, balancer(tmp_path, config(server, listener=tls)) as lb:
        assert await session(lb.port, b"0123456789") == b"0123456789" * 20_000


async def test_a_server_that_is_reset_does_not_look_complete(tmp_path, tls):
    async def half(stream):
        await stream.send_all(b"half an an")
        await stream.receive_some()
        reset_at_close(stream)

    async with serving(half) as server, balancer(tmp_path, config(server, listener=tls, health=None)) as lb:
        end = await connect_tls(lb.port)
        assert await end.receive_exactly(10) == b"half an an"
        await end.send_all(b"go")
        with pytest.raises(trio.BrokenResourceError):
            await end.receive_some()
        await end.aclose()
        assert (await lb.only_record())["reason"] == "reset"


async def test_the_server_speaks_first(tmp_path, tls):
    async def greet(stream):
        await stream.send_all(b"220 hello\r\n")
        await stream.receive_some()

    async with serving(greet) as server, balancer(tmp_path, config(server, listener=tls)) as lb:
        end = await connect_tls(lb.port)
        assert await end.receive_exactly(11) == b"220 hello\r\n"
        await end.aclose()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.example.org", {"a.example.org"}),
        ("B.Example.org", {"b.example.org", "*.b.example.org"}),
        ("x.b.example.org", {"b.example.org", "*.b.example.org"}),
        (None, {"a.example.org"}),
    ],
)
async def test_of_several_certificates_the_one_is_shown_that_is_asked_for(tmp_path, name, found):
    pairs = [
        write_certificate(tmp_path, "a", NAME),
        write_certificate(tmp_path, "b", "b.example.org", "*.b.example.org"),
    ]
    listener = "".join(f"[[listeners.web.tls.certificates]]\n{pair}" for pair in pairs)
    context = client_context()
    context.check_hostname = name is not None
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=listener)) as lb:
        end = await connect_tls(lb.port, name, context=context)
        assert names_in(end) == found
        await end.aclose()


async def test_the_first_protocol_that_both_speak_is_chosen(tmp_path, tls):
    text = f'{tls}alpn = ["h2", "http/1.1"]'
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=text)) as lb:
        for offered, chosen in [(["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (["x"], None), ([], None)]:
            end = await connect_tls(lb.port, context=client_context(alpn=offered))
            assert end.object.selected_alpn_protocol() == chosen
            await end.aclose()


async def test_a_version_that_is_too_old_is_refused(tmp_path, tls):
    text = f'{tls}min_version = "1.3"'
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=text)) as lb:
        error = await refused(lb.port, context=client_context(version=ssl.TLSVersion.TLSv1_2))
        assert "PROTOCOL_VERSION" in error.reason, "the alert has the reason"
        record = await lb.event("connection.closed")
        assert await session(lb.port) == b"hello"
    assert (record["ended_by"], record["reason"], record["server"]) == ("lb", "tls_failed", None)


def client_with_certificate(issued, version=None):
    context = client_context(version=version)
    issued.configure_cert(context)
    return context


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("asked", ["optional", "required"])
async def test_certificates_of_clients(tmp_path, tls, asked, version):
    text = f'{tls}client_certificate = "{asked}"\nclient_ca = "{write_authority(tmp_path)}"'
    good = client_with_certificate(certificate("client"), version)
    strange = client_with_certificate(trustme.CA().issue_cert("client"), version)
    none = client_context(version=version)
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=text, health=None)) as lb:
        assert await session(lb.port, context=good) == b"hello"
        await refused(lb.port, context=strange)
        if asked == "optional":
            assert await session(lb.port, context=none) == b"hello"
        else:
            await refused(lb.port, context=none)
            await lb.event("connection.closed", reason="tls_failed", count=2)
        record = await lb.event("connection.closed", reason="tls_failed")
        assert (record["ended_by"], record["bytes_in"]) == ("lb", 0)
        assert server.connections == (2 if asked == "optional" else 1), "a refused client gets no server"


@pytest.mark.parametrize(
    ("first", "ended_by"), [(b"GET / HTTP/1.1\r\n\r\n", "lb"), (b"\x16\x03\x01", "client"), (b"", "client")]
)
async def test_who_does_not_shake_hands_gets_no_server(tmp_path, tls, first, ended_by):
    async with refusing("s") as server, balancer(tmp_path, config(server, listener=tls, health=None)) as lb:
        stream = await connect(lb.port)
        async with stream:
            if first:
                await stream.send_all(first)
            with suppress(trio.BrokenResourceError), trio.fail_after(PATIENCE):  # it may already have been refused
                await stream.send_eof()
                while await stream.receive_some():
                    pass
        record = await lb.only_record()
    assert (record["ended_by"], record["reason"], record["attempts"]) == (ended_by, "tls_failed", [])


async def test_a_client_that_minds_our_certificate_ends_it(tmp_path, tls):
    context = ssl.create_default_context()
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=tls)) as lb:
        end = TlsEnd(await connect(lb.port), context, server_name=NAME)
        with pytest.raises(ssl.SSLCertVerificationError):
            await end.shake_hands()
        await end._flush()  # send the alert
        await end.aclose()
        record = await lb.only_record()
    assert (record["ended_by"], record["reason"]) == ("client", "tls_failed")


async def test_the_handshake_has_a_deadline(tmp_path, tls):
    text = f'header_timeout = "200ms"\n{tls}'
    async with (
        serving(echo) as server,
        balancer(tmp_path, config(server, listener=text)) as lb,
        await connect(lb.port) as stream,
    ):
        await stream.send_all(b"\x16\x03\x01\x02")
        record = await lb.event("connection.closed")
        assert (record["ended_by"], record["reason"]) == ("lb", "tls_failed")
        assert 200 <= record["duration_ms"] < 5000
        with suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""


async def test_a_handshake_under_way_is_called_off_at_the_stop(tmp_path, tls):
    async with serving(echo) as server:
        text = config(server, listener=tls, top='[process]\nstop_timeout = "100ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            await stream.send_all(b"\x16\x03\x01\x02")
            assert await session(lb.port) == b"hello"
            await lb.event("connection.closed", reason="eof")  # or the stop may call it off, too
            assert await lb.stop() == 0
            (record,) = lb.of("connection.closed", reason="stopped")
            assert record["server"] is None


# TLS with servers


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
async def test_a_pool_speaks_tls_and_the_client_does_not(tmp_path, version):
    handler = tls_server(echo, server_context("localhost", "127.0.0.1", version=version))
    async with serving(handler) as server:
        text = config(server, pool=in_pool(tmp_path))
        async with balancer(tmp_path, text) as lb:
            assert await plain_session(lb.port) == b"hello"
            record = await lb.only_record()
    assert (record["reason"], record["bytes_in"], record["bytes_out"]) == ("eof", 5, 5)


async def test_both_sides_speak_tls_and_the_server_is_asked_for_by_name(tmp_path, tls):
    asked = []
    context = server_context("inner.example.org")
    context.sni_callback = lambda _object, name, _context: asked.append(name)
    async with serving(tls_server(echo, context)) as server:
        pool = in_pool(tmp_path, 'server_name = "inner.example.org"')
        async with balancer(tmp_path, config(server, listener=tls, pool=pool, health=None)) as lb:
            assert await session(lb.port, b"x" * 100_000) == b"x" * 100_000
    assert asked == ["inner.example.org"]


async def test_a_server_that_cannot_prove_its_name_is_a_failed_connect_and_the_next_is_tried(tmp_path, tls):
    wrong = tls_server(echo, server_context("other.example.org"))
    right = tls_server(echo, server_context("127.0.0.1"))
    async with serving(wrong, name="wrong") as first, serving(right, name="right") as second:
        text = config(first, second, listener=tls, pool=in_pool(tmp_path), health=None)
        async with balancer(tmp_path, text) as lb:
            for _ in range(2):
                assert await session(lb.port) == b"hello"
            await lb.event("connection.closed", count=2)
            record, *_ = [each for each in lb.of("connection.closed") if each["attempts"]]
    assert record["server"] == "right"
    ((server, error),) = [(each["server"], each["error"]) for each in record["attempts"]]
    assert server == "wrong"
    assert error.startswith("certificate verify failed: IP address mismatch")


async def test_a_server_that_does_not_speak_tls_is_a_failed_connect(tmp_path):
    async def plain(stream):
        await stream.send_all(b"220 I speak in the clear\r\n")
        await stream.receive_some()

    async with serving(plain) as server:
        text = config(server, pool="retries = 0\n" + in_pool(tmp_path), health=None)
        async with balancer(tmp_path, text) as lb:
            async with await connect(lb.port) as stream:
                assert await stream.receive_some() == b""
            record = await lb.only_record()
    assert record["reason"] == "connect_failed"
    assert [attempt["error"] for attempt in record["attempts"]] == ["TLS: wrong version number"]


async def test_a_server_that_does_not_answer_the_handshake_is_late_and_its_socket_is_closed(tmp_path):
    async def silent(stream):
        while await stream.receive_some():
            pass

    async with serving(silent) as server:
        pool = 'retries = 0\nconnect_timeout = "200ms"\n' + in_pool(tmp_path)
        async with balancer(tmp_path, config(server, pool=pool, health=None)) as lb:
            async with await connect(lb.port) as stream:
                assert await stream.receive_some() == b""
            await server.until(lambda server: server.open == 0)
            record = await lb.only_record()
    assert [attempt["error"] for attempt in record["attempts"]] == ["timed out"]


async def test_our_own_certificate_is_shown_to_servers_that_ask(tmp_path):
    context = server_context("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(tmp_path / write_authority(tmp_path))
    pool = in_pool(tmp_path, write_certificate(tmp_path, "own", "lb.example.org"))
    async with serving(tls_server(echo, context)) as server, balancer(tmp_path, config(server, pool=pool)) as lb:
        assert await plain_session(lb.port) == b"hello"


async def test_without_verify_any_certificate_does(tmp_path):
    handler = tls_server(echo, server_context("other.example.org"))
    pool = "[pools.web.tls]\nverify = false"
    async with serving(handler) as server, balancer(tmp_path, config(server, pool=pool)) as lb:
        assert await plain_session(lb.port) == b"hello"


# Both sides


@pytest.mark.slow
@pytest.mark.parametrize("inner", [False, True], ids=["plain servers", "TLS servers"])
async def test_bulk_goes_both_ways_unchanged(tmp_path, tls, inner):
    payload = os.urandom(BULK)
    handler = tls_server(echo, server_context("127.0.0.1")) if inner else echo
    async with serving(handler) as server:
        pool = in_pool(tmp_path) if inner else ""
        async with balancer(tmp_path, config(server, listener=tls, pool=pool)) as lb:
            received = []
            async with trio.open_nursery() as nursery:
                for _ in range(3):

                    @nursery.start_soon
                    async def one():
                        received.append(hashlib.sha256(await session(lb.port, payload)).digest())

            assert received == [hashlib.sha256(payload).digest()] * 3
            records = [await lb.event("connection.closed", count=count) for count in (1, 2, 3)]
    assert {(record["bytes_in"], record["bytes_out"]) for record in records} == {(len(payload), len(payload))}


@pytest.mark.slow
async def test_a_certificate_is_read_again_and_nobody_notices_under_load(tmp_path, tls):
    async with backends("a") as (server,):
        text = config(server, listener=tls)
        async with balancer(tmp_path, text) as lb:
            old = await connect_tls(lb.port)
            serials, going, another = {old.object.getpeercert()["serialNumber"]}, True, trio.Event()

            async def load():
                while going:
                    end = await connect_tls(lb.port)
                    if (serial := end.object.getpeercert()["serialNumber"]) not in serials:
                        serials.add(serial)
                        another.set()
                    await end.send_all(b"name\n")
                    assert await end.receive_exactly(2) == b"a\n"
                    await end.finish()
                    assert await end.receive_all() == b""
                    await end.aclose()

            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(load)
                for _ in range(5):
                    issued = trustme_certificate(NAME)
                    write_certificate(tmp_path, "a", issued=issued)
                    another = trio.Event()
                    applied = await lb.reload(text)
                    assert (applied["event"], applied["changed"]) == ("config.applied", ["web"])
                    with trio.fail_after(PATIENCE):
                        await another.wait()
                going = False
            await old.send_all(b"name\n")
            assert await old.receive_exactly(2) == b"a\n"
            await old.finish()
            assert await old.receive_all() == b""
            await old.aclose()
        assert {record["reason"] for record in lb.of("connection.closed")} == {"eof"}
    assert len(serials) == 6


def trustme_certificate(name):
    """Another certificate for the same name."""
    return certificate.__wrapped__(name)


async def test_a_certificate_that_cannot_be_read_changes_nothing(tmp_path, tls):
    async with serving(echo) as server:
        text = config(server, listener=tls)
        async with balancer(tmp_path, text) as lb:
            write_certificate(tmp_path, "b", "b.example.org")
            (tmp_path / "a.key").write_bytes((tmp_path / "b.key").read_bytes())
            rejected = await lb.reload(text)
            (error,) = rejected["errors"]
            assert "listeners.web.tls.key: 'a.key' does not belong to 'a.pem' (line " in error
            assert await session(lb.port) == b"hello"


async def test_no_key_is_in_the_log(tmp_path, tls):
    secret = (tmp_path / "a.key").read_text().splitlines()[1]
    async with serving(echo) as server:
        text = config(server, listener=tls)
        async with balancer(tmp_path, text) as lb:
            assert await session(lb.port) == b"hello"
            await lb.reload(text.replace("a.key", "none.key"))
            await lb.reload(text)
            assert await lb.stop() == 0
    assert secret not in repr(lb.events)
