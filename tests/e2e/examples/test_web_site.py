"""examples/http/lb.toml: HTTPS and the way to it, sticky sessions, an API, files, pages for the staff."""

from __future__ import annotations

from contextlib import AsyncExitStack

import httpx
import pytest

from tests.support.balancer import PATIENCE, balancer
from tests.support.examples import adapted
from tests.support.http_peers import HttpServer
from tests.support.servers import free_port, serving
from tests.support.tls_peers import client_context, write_certificate

pytestmark = pytest.mark.slow

SITE = "www.example.com"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nServer: app\r\nContent-Length: 4000\r\n\r\n" + b"page" * 1000
HOSTS = [f"127.0.0.{number}" for number in range(1, 6)]
APP, API = HOSTS[:3], HOSTS[3:]


class Site:
    """The servers, and a client of the balancer."""

    def __init__(self, lb, servers):
        self.servers = servers
        self._ports = lb.ports
        self.client = httpx.AsyncClient(verify=client_context(), timeout=PATIENCE)

    async def get(self, path, *, host=SITE, plain=False, **options):
        scheme, listener = ("http", "plain") if plain else ("https", "www")
        url = f"{scheme}://127.0.0.1:{self._ports[listener]}{path}"
        return await self.client.get(url, headers={"Host": host}, extensions={"sni_hostname": SITE}, **options)

    def paths(self, hosts):
        """Return what these servers were asked for, besides their health."""
        asked = [(host, request.target) for host in hosts for request, _ in self.servers[host].requests]
        found = {}
        for host, path in asked:
            if path != b"/healthz":
                found.setdefault(host, []).append(path)
        return found


@pytest.fixture
async def site(tmp_path):
    port = free_port()
    write_certificate(tmp_path, "site", SITE, "example.com")
    (tmp_path / "staff.htpasswd").write_text("alice:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n")
    static, proofs = tmp_path / "static", tmp_path / "acme" / ".well-known" / "acme-challenge"
    static.mkdir()
    proofs.mkdir(parents=True)
    (static / "site.css").write_text("body { color: teal }\n" * 100)
    (proofs / "token").write_text("proof")
    text = adapted(
        "http/lb",
        ('":80"', '"127.0.0.1:0"'),
        ('":443"', '"127.0.0.1:0"'),
        ('"127.0.0.1:9900"', '"127.0.0.1:0"'),
        (":8000", f":{port}"),
        ("/etc/trio-lb/tls/www.example.com/fullchain.pem", "site.pem"),
        ("/etc/trio-lb/tls/www.example.com/privkey.pem", "site.key"),
        ('rate = "20/s"', 'rate = "1/h"'),
        ("burst = 40", "burst = 4"),
        ("/var/www/acme", str(tmp_path / "acme")),
        ("/srv/www/static", str(static)),
    )
    servers = {host: HttpServer({b"/page": PAGE}) for host in HOSTS}
    async with AsyncExitStack() as stack:
        for host, server in servers.items():
            await stack.enter_async_context(serving(server.serve, address=(host, port)))
        lb = await stack.enter_async_context(balancer(tmp_path, text))
        found = Site(lb, servers)
        async with found.client:
            yield found


async def test_plain_http_leads_to_https_but_for_certbots_proofs(site):
    response = await site.get("/a?b", plain=True)
    assert (response.status_code, response.headers["location"]) == (308, "https://www.example.com/a?b")
    assert (await site.get("/.well-known/acme-challenge/token", plain=True)).text == "proof"


async def test_the_site_has_one_name_and_other_names_have_nothing(site):
    response = await site.get("/a?b", host="example.com")
    assert (response.status_code, response.headers["location"]) == (308, "https://www.example.com/a?b")
    assert (await site.get("/", host="other.example.com")).status_code == 404


async def test_a_client_of_the_application_stays_with_its_server_and_gets_it_compressed(site):
    response = await site.get("/page")
    assert (response.content, "content-encoding" in response.headers) == (b"page" * 1000, True)
    assert response.headers["strict-transport-security"] == "max-age=31536000"
    assert "server" not in response.headers
    assert "; Secure" in response.headers["set-cookie"]
    for _ in range(5):
        await site.get("/more")  # the client sends the cookie
    assert len(site.paths(APP)) == 1
    assert not site.paths(API)


async def test_the_api_sees_paths_without_its_prefix_and_a_client_above_its_rate_waits(site):
    statuses = [(await site.get("/api/orders")).status_code for _ in range(6)]
    assert statuses == [200] * 4 + [429] * 2
    assert site.paths(API) == {host: [b"/orders"] * 2 for host in API}


async def test_files_are_served_by_the_balancer_itself(site):
    response = await site.get("/static/site.css")
    assert (response.status_code, response.headers["cache-control"]) == (200, "public, max-age=86400")
    assert response.headers["content-type"].startswith("text/css")
    assert not site.paths(HOSTS)


async def test_only_the_staff_sees_its_pages(site):
    assert (await site.get("/admin/users")).status_code == 401
    assert (await site.get("/admin/users", auth=("alice", "myPassword"))).status_code == 200
    assert [*site.paths(APP).values()] == [[b"/admin/users"]]
