"""Who may pass a route: ``auth``, ``forward_auth`` and ``rate``, through the real command."""

from __future__ import annotations

import re
import subprocess

import httpx
import pytest
import trio
import trio.testing

from tests.support.auth_server import auth_server, response
from tests.support.balancer import PATIENCE, balancer, with_workers
from tests.support.paths import ROOT
from tests.support.peers import needs_program

OK = response(200, b"Content-Type: text/plain", body=b"hello")


def config(server, route, top=""):
    return with_workers(f"""
{top}
[listeners.web]
mode = "http"
bind = "127.0.0.1:0"
[[listeners.web.routes]]
name = "all"
pool = "app"
{route}
[pools.app]
servers = ["127.0.0.1:{server.port}"]
health = false
""")


def client(lb):
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{lb.port}", timeout=PATIENCE)


def write_users(path, option, **passwords):
    path.unlink(missing_ok=True)
    for user, password in passwords.items():
        create = [] if path.exists() else ["-c"]
        subprocess.run(["htpasswd", *create, "-b", option, path, user, password], check=True, capture_output=True)


@needs_program("htpasswd")
@pytest.mark.parametrize("option", ["-B", "-m", "-5"])
async def test_users_of_an_htpasswd_file_pass_until_a_reload_changes_it(tmp_path, option):
    users = tmp_path / "staff.htpasswd"
    write_users(users, option, ann="sesame", bob="ünï:codé")
    top = '[users.staff]\nfile = "staff.htpasswd"\nrealm = "Staff only"'
    async with auth_server(OK) as server:
        text = config(server, 'auth = "staff"', top)
        async with balancer(tmp_path, text) as lb, client(lb) as web:
            refused = await web.get("/")
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == 'Basic realm="Staff only", charset="UTF-8"'
            assert (await web.get("/", auth=("ann", "simsalabim"))).status_code == 401
            assert server.requests == []
            for _ in range(3):
                assert (await web.get("/", auth=("ann", "sesame"))).text == "hello"
            assert (await web.get("/", auth=("bob", "ünï:codé"))).status_code == 200
            assert server.fields()[b"authorization"][0].startswith(b"Basic ")
            assert (await web.post("/", auth=("ann", "sesame"), content=b"x" * 100_000)).status_code == 200

            write_users(users, option, ann="changed", eve="new")
            await lb.reload(text)
            assert (await web.get("/", auth=("ann", "sesame"))).status_code == 401
            assert (await web.get("/", auth=("bob", "ünï:codé"))).status_code == 401
            assert (await web.get("/", auth=("ann", "changed"))).status_code == 200
            events = [await lb.event("http.request", count=number) for number in range(1, 11)]
        statuses = [(event["status"], event["reason"]) for event in events]
        assert statuses.count((401, "auth")) == 4
        assert statuses.count((200, "ok")) == 6


async def test_another_server_decides(tmp_path):
    def decide(lines):
        if b"Cookie: session=good" in lines or b"cookie: session=good" in lines:
            return response(204)
        return response(302, b"Location: https://login.example.com/", b"Set-Cookie: next=1", body=b"log in")

    async with auth_server(OK) as server, auth_server(decide) as decider:
        text = config(server, f'forward_auth = "{decider.url}"')
        async with balancer(tmp_path, text) as lb, client(lb) as web:
            refused = await web.get("/private/%41?x=1")
            assert (refused.status_code, refused.text) == (302, "log in")
            assert refused.headers["location"] == "https://login.example.com/"
            assert refused.headers["set-cookie"] == "next=1"
            asked = decider.fields()
            assert asked[b"x-forwarded-uri"] == [b"/private/%41?x=1"]
            assert asked[b"x-forwarded-method"] == [b"GET"]
            assert asked[b"x-forwarded-for"] == [b"127.0.0.1"]
            assert asked[b"x-forwarded-proto"] == [b"http"]
            assert asked[b"host"] == [b"127.0.0.1:%d" % decider.port]
            assert server.requests == []

            for _ in range(5):
                assert (await web.get("/", headers={"Cookie": "session=good"})).status_code == 200
            assert decider.connections == 1
            first = await lb.event("http.request")
            assert (first["status"], first["reason"], first["route"]) == (302, "auth", "all")


def shown(page, **addresses):
    """Return the configuration of a how-to, with other addresses in the place of its own."""
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text().partition("```toml\n")[2].partition("```")[0]
    text = text.replace("[listeners.www", "[listeners.web").replace('":8080"', '"127.0.0.1:0"')
    for pool, address in addresses.items():
        text = re.sub(rf"(\[pools\.{pool}\]\nservers = ).*", rf'\1["{address}"]\nhealth = false', text)
    return with_workers(text)


@needs_program("htpasswd")
async def test_the_how_to_about_passwords(tmp_path):
    write_users(tmp_path / "staff.htpasswd", "-B", alice="sesame")
    async with auth_server(OK) as server:
        text = shown("basic-auth", app=f"127.0.0.1:{server.port}")
        async with balancer(tmp_path, text) as lb, client(lb) as web:
            refused = await web.get("/reports/may")
            assert (refused.status_code, 'realm="Reports"' in refused.headers["www-authenticate"]) == (401, True)
            assert (await web.get("/reports/may", auth=("alice", "sesame"))).status_code == 200
            assert (await web.get("/")).status_code == 200, "the rest of the site is open"


async def test_the_how_to_about_another_server_that_decides(tmp_path):
    login = response(302, b"Location: https://auth.example.com/")
    async with auth_server(OK) as server, auth_server(login) as decider:
        text = shown("forward-auth", app=f"127.0.0.1:{server.port}", authelia=f"127.0.0.1:{decider.port}")
        text = text.replace("http://127.0.0.1:9091", f"http://127.0.0.1:{decider.port}")
        async with balancer(tmp_path, text) as lb, client(lb) as web:
            app, auth = {"Host": "app.example.com"}, {"Host": "auth.example.com"}
            assert (await web.get("/", headers=app)).headers["location"] == "https://auth.example.com/"
            assert decider.requests[-1][0] == b"GET /api/authz/forward-auth HTTP/1.1"
            decider.answer = response(200, b"Remote-User: alice", body=b"the login")
            assert (await web.get("/", headers=app)).text == "hello"
            assert (await web.get("/", headers=auth)).text == "the login"
            assert decider.requests[-1][0] == b"GET / HTTP/1.1"


async def test_without_the_server_that_decides_nobody_passes_and_the_log_says_why(tmp_path):
    async with auth_server(OK) as server, auth_server(response(204)) as decider:
        route = f'forward_auth = "{decider.url}"'
        async with balancer(tmp_path, config(server, route)) as lb, client(lb) as web:
            assert (await web.get("/")).status_code == 200
            decider.answer = b""
            assert (await web.get("/")).status_code == 502
            event = await lb.event("forward_auth.failed")
            assert (event["error"], event["failures"]) == ("not a valid HTTP response", 1)
            assert "?" not in event["url"]
            assert len(server.requests) == 1


async def test_a_client_above_its_rate_is_told_when_to_come_again_whichever_worker_it_meets(tmp_path, worker_count):
    async with auth_server(OK) as server:
        text = config(server, 'rate = "1/h"\nburst = 5')
        async with balancer(tmp_path, text) as lb:
            answers, began = [], trio.current_time()
            for _ in range(12):
                async with client(lb) as web:
                    answers.append(await web.get("/"))
            assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 7
            passed = trio.current_time() - began
            assert all(3600 - passed <= int(answer.headers["retry-after"]) <= 3600 for answer in answers[5:])
            assert (await lb.event("http.request", status=429))["reason"] == "rate"
            await lb.reload(text.replace('"all"', '"all of it"'))
            await lb.reload(text)
            async with client(lb) as web:
                assert (await web.get("/")).status_code == 429
            assert len(server.requests) == 5


async def test_the_server_that_decides_names_the_user_and_a_client_cannot(tmp_path):
    async with auth_server(OK) as server, auth_server(response(204, b"Remote-User: ann")) as decider:
        route = f'forward_auth = "{decider.url}"\nauth_headers = ["Remote-User", "Remote-Groups"]'
        async with balancer(tmp_path, config(server, route)) as lb, client(lb) as web:
            forged = {"Remote-User": "root", "Remote_User": "root", "Remote-Groups": "admins", "X-Other": "mine"}
            passed = await web.post("/private", headers=forged, content=b"y" * 100_000)
            assert passed.text == "hello"
            got = server.fields()
            assert got[b"remote-user"] == [b"ann"]
            assert b"remote_user" not in got
            assert b"remote-groups" not in got
            assert got[b"x-other"] == [b"mine"]
            assert b"content-length" not in decider.fields()


async def test_behind_a_trusted_proxy_the_server_that_decides_is_told_what_the_servers_are(tmp_path):
    async with auth_server(OK) as server, auth_server(response(204)) as decider:
        text = config(server, f'forward_auth = "{decider.url}"')
        text = text.replace('mode = "http"', 'mode = "http"\ntrusted_proxies = ["127.0.0.1"]')
        told = {
            "X-Forwarded-For": "192.0.2.7",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "www.example.com",
            "X-Forwarded-Port": "443",
            "X-Forwarded-Uri": "/of-the-proxy",
            "X-Request-Id": "abc",
        }
        async with balancer(tmp_path, text) as lb, client(lb) as web:
            assert (await web.get("/here", headers=told)).status_code == 200
        asked, got = decider.fields(), server.fields()
        for name, value in {**told, "X-Forwarded-For": "192.0.2.7, 127.0.0.1"}.items():
            lower = name.lower().encode()
            assert got[lower] == [value.encode()]
            assert asked[lower] == ([b"/here"] if lower == b"x-forwarded-uri" else [value.encode()])


async def test_a_websocket_passes_once_the_server_that_decides_lets_it(tmp_path):
    switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello"
    async with auth_server(switching) as server, auth_server(response(204)) as decider:
        text = config(server, f'forward_auth = "{decider.url}"')
        async with balancer(tmp_path, text) as lb:
            stream = await trio.open_tcp_stream("127.0.0.1", lb.port)
            request = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
            await stream.send_all(request)
            received = b""
            with trio.fail_after(PATIENCE):
                while not received.endswith(b"hello"):
                    received += await stream.receive_some()
            assert received.startswith(b"HTTP/1.1 101 ")
            assert b"upgrade" not in decider.fields()
            await stream.aclose()


async def test_a_client_that_leaves_waits_for_no_decision(tmp_path):
    async with auth_server(OK) as server, auth_server(None) as decider:
        text = config(server, f'forward_auth = "{decider.url}"')
        async with balancer(tmp_path, text) as lb:
            stream = await trio.open_tcp_stream("127.0.0.1", lb.port)
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with trio.fail_after(PATIENCE):
                while not decider.requests:
                    await trio.testing.wait_all_tasks_blocked(0.01)
                await stream.aclose()
                assert (await lb.event("http.request"))["reason"] == "client_left"
                while decider.open:
                    await trio.testing.wait_all_tasks_blocked(0.01)
            assert server.requests == []
