"""TLVs of PROXY headers: HAProxy's are passed on, the balancer's own are understood by HAProxy."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.traffic.test_real_peers import program, running
from tests.support.balancer import balancer, config, connect, read_all
from tests.support.servers import Named, free_port
from tests.support.tls_peers import (
    connect_tls,
    write_certificate,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("worker_count")]

FIELDS = ("fc_pp_authority", "fc_pp_unique_id", "src")


def answering(home, port):
    """Return the command of an HAProxy that answers with what a header has told it."""
    home.mkdir()
    fields = "|".join(f"%[{field}]" for field in FIELDS)
    (home / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n"
        f"frontend end\n bind 127.0.0.1:{port} accept-proxy\n"
        f' http-request return status 200 content-type text/plain lf-string "{fields}"\n'
    )
    return [program("haproxy"), "-db", "-f", home / "haproxy.cfg"]


def in_front(home, port, lb_port):
    """Return the command of an HAProxy that tells the balancer an authority and an id."""
    home.mkdir()
    (home / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n"
        f"frontend front\n bind 127.0.0.1:{port}\n unique-id-format made-in-front\n default_backend lb\n"
        f"backend lb\n server lb 127.0.0.1:{lb_port} send-proxy-v2 proxy-v2-options unique-id,crc32c\n"
    )
    return [program("haproxy"), "-db", "-f", home / "haproxy.cfg"]


REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"


def body(answer):
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return rest.decode().split("|")


@pytest.mark.parametrize("own", [True, False])
async def test_the_id_that_haproxy_gave_reaches_haproxy(tmp_path, own):
    server = Named("end", f"127.0.0.1:{(port := free_port())}")
    tlvs = 'proxy_tlvs = ["unique-id", "crc32c"]' if own else ""
    text = config(server, listener="accept_proxy = true", pool=f'send_proxy = "v2"\n{tlvs}', health=None)
    front = free_port()
    async with (
        running(answering(tmp_path / "end", port), port),
        balancer(tmp_path, text) as lb,
        running(in_front(tmp_path / "front", front, lb.port), front),
        await trio.open_tcp_stream("127.0.0.1", front, local_address="127.0.0.9") as stream,
    ):
        await stream.send_all(REQUEST)
        assert body(await read_all(stream)) == ["", "made-in-front", "127.0.0.9"]


async def test_haproxy_hears_which_name_a_tls_client_asked_for(tmp_path):
    """The id ends with that of the log."""
    server = Named("end", f"127.0.0.1:{(port := free_port())}")
    tls = f"[listeners.web.tls]\n{write_certificate(tmp_path, 'front', 'a.example.org', 'b.example.org')}"
    pool = 'send_proxy = "v2"\nproxy_tlvs = ["authority", "alpn", "unique-id", "ssl", "crc32c"]'
    text = config(server, listener=tls, pool=pool, health=None)
    async with running(answering(tmp_path / "end", port), port), balancer(tmp_path, text) as lb:
        client = await connect_tls(lb.port, "b.example.org")
        await client.send_all(REQUEST)
        name, unique_id, _ = body(await client.receive_all())
        await client.aclose()
        record = await lb.only_record()
    assert name == "b.example.org"
    assert unique_id.rpartition("-")[2] == str(record["id"])


async def test_a_plain_client_asked_for_no_name(tmp_path):
    server = Named("end", f"127.0.0.1:{(port := free_port())}")
    pool = 'send_proxy = "v2"\nproxy_tlvs = ["authority", "alpn", "ssl"]'
    text = config(server, pool=pool, health=None)
    async with (
        running(answering(tmp_path / "end", port), port),
        balancer(tmp_path, text) as lb,
        await connect(lb.port) as stream,
    ):
        await stream.send_all(REQUEST)
        assert body(await read_all(stream)) == ["", "", "127.0.0.1"]
