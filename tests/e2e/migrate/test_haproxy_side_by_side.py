"""The same requests to HAProxy, and to what ``lb migrate`` makes of its configuration: both answer the same."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager

import pytest

from tests.e2e.migrate.test_nginx_side_by_side import Ask, is_told, seen, servers_chosen, told
from tests.support.balancer import run_lb
from tests.support.migrating import DATA, files_for, haproxy_side, localized, our_side, servers_of
from tests.support.paths import ROOT
from tests.support.tls_peers import write_certificate

pytestmark = pytest.mark.slow

ALICE = {"Authorization": "Basic YWxpY2U6c2VjcmV0"}
TABLE = {
    "basic": [Ask("/a/b?c=d"), Ask("/upload", "POST", content=b"x" * 100_000)],
    "virtual_hosts": [
        Ask(path, method, host=host, **({"content": b"x"} if method == "POST" else {}))
        for host in (
            *("shop.example.org", "www.shop.example.org", "a.tenants.example.org", "tenants.example.org"),
            *("wiki.example.org", "other.test"),
        )
        for path in ("/", "/static/a.css", "/images/b", "/wiki", "/wiki/a", "/.well-known/acme-challenge/token")
        for method in ("GET", "POST")
    ],
    "https": [
        Ask("/a?b=c", host="site.example.net"),
        Ask("/x", port=443, host="a.example.org", heed=("strict-transport-security", "server")),
        Ask("/x?y", port=443, host="example.net"),
    ],
    "gateway": [
        Ask(path, headers={"X-Debug": "1"})
        for path in (
            *("/", "/alive", "/.env", "/.git/config", "/robots.txt", "/api/users/7?x=1", "/files/a/b", "/admin/"),
            *("/app/", "/elsewhere"),
        )
    ],
    "maps": [Ask(host=host) for host in ("red.example.com", "www.red.example.com", "green.example.com", "x.test")],
}
"""For each configuration the requests, in their order."""


def for_this_machine(text):
    """Leave out what HAProxy cannot have here: other users, Lua and files of other machines."""
    dropped = ("lua-load", "http-request lua", "errorfile", "user haproxy", "group haproxy")
    return "".join(line for line in text.splitlines(keepends=True) if not line.strip().startswith(dropped))


@asynccontextmanager
async def both(tmp_path, name):
    """Run HAProxy, and ours with what the command has made of its configuration, before the same servers."""
    source = for_this_machine((DATA / "haproxy" / f"{name}.cfg").read_text())
    homes = [tmp_path / "theirs", tmp_path / "ours"]
    for home in homes:
        files_for(home)
        for pem in ("site", "shop"):
            write_certificate(home / "tls", pem, "a.example.org")
            (home / "tls" / f"{pem}.pem").write_text(
                (home / "tls" / f"{pem}.pem").read_text() + (home / "tls" / f"{pem}.key").read_text()
            )
        (home / "maps.map").write_text((DATA / "haproxy" / "maps.map").read_text())
        (home / "operators.htpasswd").write_text((ROOT / "tests/data/staff.htpasswd").read_text())
    async with servers_of(source) as servers:
        texts = [localized(source, home, servers).replace("/etc/haproxy/certs", f"{home}/tls") for home in homes]
        texts[0] = texts[0].replace("(maps.map", f"({homes[0]}/maps.map")
        (homes[1] / "haproxy.cfg").write_text(texts[1])
        code, migrated, said = await run_lb("migrate", homes[1] / "haproxy.cfg")
        assert code in (0, 3), said
        assert all("cannot be read" in line for line in said.splitlines() if line.startswith("lb check")), said
        async with haproxy_side(homes[0], texts[0]) as theirs, our_side(homes[1], migrated) as ours:
            yield theirs, ours


def seen_of(response, heed):
    """Return what clients see, but the page that HAProxy makes itself."""
    status, location, body, fields = seen(response, heed)
    return status, location, None if body and body.startswith(b"<html>") else body, fields


def told_of(response, like, name):
    """Return what the server saw, but its name where several take turns, and the port, which is the test's."""
    found = told(response, like)
    if name == "basic":
        found.pop("server")
    found["fields"].pop("x-forwarded-port", None)
    return found


@pytest.mark.parametrize("name", TABLE)
async def test_both_answer_the_same(tmp_path, name):
    async with both(tmp_path, name) as (theirs, ours):
        different = []
        for ask in TABLE[name]:
            there, here = await ask.of(theirs), await ask.of(ours)
            saw = [told_of(each, there, name) if is_told(there) and is_told(here) else None for each in (there, here)]
            shown = [seen_of(each, ask.heed) for each in (there, here)]
            if (shown[0], saw[0]) != (shown[1], saw[1]):
                different.append((ask, *shown, *saw))
        assert not different, "\n".join(map(str, different))


async def test_both_choose_servers_in_the_same_proportion(tmp_path):
    async with both(tmp_path, "basic") as sides:
        theirs, ours = [Counter(await servers_chosen(side, [Ask("/")] * 40)) for side in sides]
        assert theirs == ours == {"10.0.0.11:8080": 10, "10.0.0.12:8080": 30}


async def test_both_keep_a_client_with_its_server(tmp_path):
    async with both(tmp_path, "sticky") as sides:
        for side in sides:
            first = await Ask("/", port=8080).of(side)
            cookie = {"Cookie": f"SERVERID={first.cookies['SERVERID']}"}
            again = await servers_chosen(side, [Ask("/", port=8080, headers=cookie)] * 6)
            assert set(again) == {first.json()["server"]}
            for path in ("/by-source/", "/by-table/", "/by-user/?user=7", "/by-uri/a"):
                assert len({*await servers_chosen(side, [Ask(path, port=8080)] * 6)}) == 1
            tenants = [Ask("/by-tenant/", port=8080, headers={"X-Tenant": str(number)}) for number in range(40)]
            assert len({*await servers_chosen(side, tenants)}) == 2


async def test_both_choose_servers_by_the_name_in_the_handshake(tmp_path):
    async with both(tmp_path, "sni") as (theirs, ours):
        for host in ("mail.example.com", "x.apps.example.com", "apps.example.com", "other.test"):
            there, here = [(await side.ask(port=443, host=host)).json()["server"] for side in (theirs, ours)]
            assert (here in WWW and there in WWW) or (here in APPS and there in APPS) or here == there, host


WWW = ("10.3.0.4:8443", "10.3.0.5:8443")
APPS = ("10.3.0.2:8443", "10.3.0.3:8443")


async def test_both_limit_the_rate_of_a_client(tmp_path):
    async with both(tmp_path, "rates") as sides:
        for side in sides:
            statuses = [(await Ask("/login/").of(side)).status_code for _ in range(8)]
            passed = statuses.count(200)
            assert statuses == [200] * passed + [429] * (8 - passed)
            assert passed == 5 or (side is sides[0] and passed >= 3)  # HAProxy counts the test's two first connects
            assert (await Ask("/").of(side)).status_code == 200


async def test_both_ask_for_the_password(tmp_path):
    async with both(tmp_path, "gateway") as sides:
        for side in sides:
            response = await Ask("/admin/x").of(side)
            assert (response.status_code, response.headers["www-authenticate"][:5]) == (401, "Basic")


async def test_both_serve_from_the_cache_and_compress(tmp_path):
    async with both(tmp_path, "cached") as sides:
        for side in sides:
            response = await Ask("/a", headers={"Accept-Encoding": "gzip"}).of(side)
            assert response.status_code == 200
            assert [(await Ask("/assets/a.js").of(side)).status_code for _ in range(3)] == [200] * 3
