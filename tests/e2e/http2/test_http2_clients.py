"""Real clients of HTTP/2: curl, node, httpx and chromium."""

from __future__ import annotations

import hashlib
import json
from functools import partial

import httpx
import pytest
import trio

from tests.e2e.http.test_real_clients import output
from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer, config
from tests.support.browser import new_page
from tests.support.http_origin import content, http_origin
from tests.support.tls_peers import client_context, write_authority, write_certificate

pytestmark = pytest.mark.slow

NAME = "a.example.org"
NODE = """
const http2 = require('http2');
const crypto = require('crypto');
const session = http2.connect(process.argv[2]);
const ask = (path, body) => new Promise((resolve, reject) => {
  const request = session.request(
    body ? {':path': path, ':method': 'POST', 'priority': 'u=1'} : {':path': path}, {endStream: !body});
  const answer = {};
  const hash = crypto.createHash('sha256');
  request.on('response', (headers) => { answer.status = headers[':status']; });
  request.on('trailers', (trailers) => { answer.trailers = trailers['x-sum']; });
  request.on('data', (data) => hash.update(data));
  request.on('end', () => { answer.sha256 = hash.digest('hex'); resolve(answer); });
  request.on('error', reject);
  if (body) request.end(body);
});
(async () => {
  const paths = Array.from({length: 50}, (_, index) => '/bytes?n=20000&seed=' + index);
  const answers = await Promise.all(paths.map((path) => ask(path)));
  answers.push(await ask('/digest', Buffer.alloc(3000000, 'x')));
  console.log(JSON.stringify(answers));
  session.close();
})();
"""


def secure(tmp_path):
    return f'mode = "http"\n[listeners.web.tls]\n{write_certificate(tmp_path, "a", NAME)}'


async def test_curl_downloads_and_uploads(tmp_path):
    data = content(3_000_000)
    (tmp_path / "upload").write_bytes(data)
    write_authority(tmp_path)
    async with http_origin() as a, balancer(tmp_path, config(a, listener=secure(tmp_path), health=None)) as lb:
        base = ("--http2", "--cacert", tmp_path / "ca.pem", "--resolve", f"{NAME}:{lb.port}:127.0.0.1", "-sS")
        url = f"https://{NAME}:{lb.port}"
        for framing in ("length", "chunked", "close"):
            assert await output(program("curl"), *base, f"{url}/bytes?n=3000000&framing={framing}") == data
        sent = await output(program("curl"), *base, "-T", tmp_path / "upload", f"{url}/digest")
        assert sent.decode() == hashlib.sha256(data).hexdigest()
        head = await output(program("curl"), *base, "-I", f"{url}/bytes?n=10")
        assert head.startswith(b"HTTP/2 200")
        assert {record["version"] for record in lb.of("http.request")} == {"2"}


async def test_alpn_can_be_without_it(tmp_path):
    listener = secure(tmp_path) + 'alpn = ["http/1.1"]'
    write_authority(tmp_path)
    async with http_origin() as a, balancer(tmp_path, config(a, listener=listener, health=None)) as lb:
        base = ("--http2", "--cacert", tmp_path / "ca.pem", "--resolve", f"{NAME}:{lb.port}:127.0.0.1", "-sS")
        head = await output(program("curl"), *base, "-i", f"https://{NAME}:{lb.port}/name")
        assert head.startswith(b"HTTP/1.1 200")


async def test_node_asks_for_much_at_a_time(tmp_path):
    (tmp_path / "ask.js").write_text(NODE)
    listener = 'mode = "http"\nh2c = true'
    async with http_origin() as a, balancer(tmp_path, config(a, listener=listener, health=None)) as lb:
        told = await output(program("node"), tmp_path / "ask.js", f"http://127.0.0.1:{lb.port}")
    answers = json.loads(told)
    expected = [hashlib.sha256(content(20_000, seed)).hexdigest() for seed in range(50)]
    assert [answer["sha256"] for answer in answers[:50]] == expected
    digest = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert answers[50] == {"status": 200, "sha256": hashlib.sha256(digest.encode()).hexdigest()}


async def test_httpx_negotiates_it(tmp_path):
    async with http_origin() as a, balancer(tmp_path, config(a, listener=secure(tmp_path), health=None)) as lb:
        url = f"https://127.0.0.1:{lb.port}"
        async with httpx.AsyncClient(http2=True, verify=client_context(), timeout=PATIENCE) as user:
            extensions = {"sni_hostname": NAME}
            for count in (0, 10, 500_000):
                got = await user.get(f"{url}/bytes?n={count}", extensions=extensions)
                assert (got.http_version, got.content) == ("HTTP/2", content(count))
            sent = await user.post(f"{url}/digest", content=content(500_000), extensions=extensions)
            assert sent.text == hashlib.sha256(content(500_000)).hexdigest()


async def test_a_browser_loads_a_page_over_it(tmp_path):
    """The browser does not know the authority of the tests: it is told to ignore that."""
    (tmp_path / "site").mkdir()
    numbers = range(40)
    page = "".join(f'<script src="{number}.js"></script>' for number in numbers)
    (tmp_path / "site" / "index.html").write_text(f"<script>window.sum = 0</script>{page}")
    for number in numbers:
        (tmp_path / "site" / f"{number}.js").write_text(f"window.sum += {number}; //{'x' * 20_000}")
    listener = 'mode = "http"\nroutes = [{ files = "site" }]\n[listeners.web.tls]\n'
    listener += write_certificate(tmp_path, "a", NAME)
    async with http_origin() as a, balancer(tmp_path, config(a, listener=listener, health=None)) as lb:
        found = await trio.to_thread.run_sync(partial(load_page, f"https://127.0.0.1:{lb.port}/"))
        assert found == (sum(numbers), "h2")
        await lb.event("http.request", status=200, version="2", count=len(numbers) + 1)


def load_page(url):
    """Return what the scripts of a page have summed up, and the protocol that the last one came over."""
    with new_page(ignore_https_errors=True) as page:
        page.goto(url)
        page.wait_for_load_state("load")
        entries = "performance.getEntriesByType('resource').at(-1).nextHopProtocol"
        return page.evaluate("window.sum"), page.evaluate(entries)
