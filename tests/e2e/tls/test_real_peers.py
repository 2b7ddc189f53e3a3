"""TLS with real peers: openssl and curl as clients, nginx and HAProxy as servers."""

from __future__ import annotations

import getpass
import hashlib
import os
import subprocess

import pytest
import trio

from tests.e2e.traffic.test_real_peers import program, running
from tests.support.balancer import PATIENCE, balancer, config, with_workers
from tests.support.servers import Named, backends, free_port
from tests.support.tls_peers import write_authority, write_certificate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("balancer_kind")]
NAME, OTHER = "a.example.org", "b.example.org"
MIB = 1 << 20


@pytest.fixture
def tls(tmp_path):
    """The ``tls`` table of a listener with a certificate for NAME, signed by ``ca.pem``."""
    write_authority(tmp_path)
    return "[listeners.web.tls]\n" + write_certificate(tmp_path, "a", NAME)


async def output(*command, stdin=b""):
    """Run a program that must succeed, and return its output."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(command, stdin=stdin, capture_stdout=True, stderr=subprocess.DEVNULL)
    return done.stdout


async def curl(directory, port, *options, name=NAME, path="/", scheme="https"):
    where = f"{name}:{port}:127.0.0.1"
    url = f"{scheme}://{name}:{port}{path}"
    trusted = directory / "ca.pem"
    return await output(program("curl"), "-sSf", "--cacert", trusted, "--resolve", where, *options, url)


def nginx_tls(directory, port, name, stem):
    """Return the command of an nginx with TLS that serves ``directory``, and its name at ``/name``."""
    home = directory / f"nginx-{stem}"
    home.mkdir()
    paths = "".join(f"{kind}_temp_path {home};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(
        f"daemon off; master_process on; worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n"
        f"user {getpass.getuser()};\n"
        "events { worker_connections 200; }\n"
        f"http {{ access_log off; {paths} client_max_body_size 0;\n"
        f"server {{ listen 127.0.0.1:{port} ssl; server_name {name}; root {directory};\n"
        f"ssl_certificate {directory}/{stem}.pem; ssl_certificate_key {directory}/{stem}.key;\n"
        f'location = /name {{ return 200 "nginx {name}"; }} }} }}\n'
    )
    return [program("nginx"), "-p", home, "-c", home / "nginx.conf"]


def haproxy_tls(directory, port, name, stem):
    """Return the command of a HAProxy with TLS that responds with its name."""
    both = directory / f"{stem}-both.pem"
    both.write_bytes((directory / f"{stem}.pem").read_bytes() + (directory / f"{stem}.key").read_bytes())
    file = directory / f"haproxy-{stem}.cfg"
    file.write_text(
        "defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 1s\n"
        f"frontend f\n bind 127.0.0.1:{port} ssl crt {both}\n"
        f' http-request return status 200 content-type text/plain string "haproxy {name}"\n'
    )
    return [program("haproxy"), "-db", "-f", file]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_gets_its_protocol_and_an_answer(tmp_path, tls, version):
    async with backends("a") as (server,), balancer(tmp_path, config(server, listener=f'{tls}alpn = ["x", "y"]')) as lb:
        client = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{lb.port}", "-servername", NAME, version]
        client += ["-verify_return_error", "-verify_hostname", NAME, "-CAfile", tmp_path / "ca.pem", "-alpn", "y"]
        printed = await output(*client, "-ign_eof", stdin=b"name\necho some text\nclose\n")
        assert b"ALPN protocol: y" in printed
        assert b"Verify return code: 0 (ok)" in printed
        assert b"\na\nsome text\n" in printed
        record = await lb.only_record()
    assert (record["reason"], record["ended_by"], record["bytes_in"]) == ("eof", "server", 26)


@pytest.mark.parametrize("inner", [nginx_tls, haproxy_tls])
async def test_curl_gets_through_two_layers_of_tls(tmp_path, tls, inner):
    port = free_port()
    write_certificate(tmp_path, "b", OTHER)
    pool = f'[pools.web.tls]\nca = "ca.pem"\nserver_name = "{OTHER}"'
    checks = 'probe = "tls"\nverify = true\nserver_name = "{}"\nca = "{}"\ninitial = "down"'.format(
        OTHER, tmp_path / "ca.pem"
    )
    async with running(inner(tmp_path, port, OTHER, "b"), port):
        text = config(Named("inner", f"127.0.0.1:{port}"), listener=tls, pool=pool, health=checks)
        async with balancer(tmp_path, text) as lb:
            await lb.event("backend.restored")
            for _ in range(3):
                assert (await curl(tmp_path, lb.port, path="/name")).endswith(OTHER.encode())
            records = [await lb.event("connection.closed", count=count) for count in (1, 2, 3)]
    assert {(record["reason"], record["server"]) for record in records} == {("eof", "inner")}


async def test_a_large_file_of_nginx_arrives_whole(tmp_path, tls):
    port = free_port()
    write_certificate(tmp_path, "b", OTHER)
    content = os.urandom(32 * MIB)
    (tmp_path / "large").write_bytes(content)
    pool = f'[pools.web.tls]\nca = "ca.pem"\nserver_name = "{OTHER}"'
    async with running(nginx_tls(tmp_path, port, OTHER, "b"), port):
        text = config(Named("inner", f"127.0.0.1:{port}"), listener=tls, pool=pool)
        async with balancer(tmp_path, text) as lb:
            received = await curl(tmp_path, lb.port, "-H", "Connection: close", path="/large")
            record = await lb.only_record()
    assert hashlib.sha256(received).digest() == hashlib.sha256(content).digest()
    assert (record["reason"], record["bytes_out"] > 32 * MIB) == ("eof", True)


async def test_the_name_leads_to_nginx_or_to_haproxy_which_shake_hands_themselves(tmp_path):
    write_authority(tmp_path)
    ports = free_port(), free_port()
    for stem, name in (("a", NAME), ("b", OTHER)):
        write_certificate(tmp_path, stem, name)
    text = with_workers(
        f'\n[listeners.web]\nbind = "127.0.0.1:0"\n[listeners.web.sni]\n"{NAME}" = "nginx"\ndefault = "haproxy"\n'
        f'[pools.nginx]\nservers = ["127.0.0.1:{ports[0]}"]\n[pools.haproxy]\nservers = ["127.0.0.1:{ports[1]}"]\n'
    )
    async with (
        running(nginx_tls(tmp_path, ports[0], NAME, "a"), ports[0]),
        running(haproxy_tls(tmp_path, ports[1], OTHER, "b"), ports[1]),
        balancer(tmp_path, text) as lb,
    ):
        assert await curl(tmp_path, lb.port, path="/name") == b"nginx a.example.org"
        assert await curl(tmp_path, lb.port, path="/name", name=OTHER) == b"haproxy b.example.org"
