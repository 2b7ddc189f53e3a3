"""``lb explain`` of requests: from a file, and from a running balancer, whose answer is what a request then gets."""

from __future__ import annotations

import json

import httpx
import pytest

from lb import cli
from tests.support.balancer import QUICK_CHECKS, run_lb, with_workers
from tests.support.http_peers import http_server
from tests.support.operating import ADMIN, operated

CONFIG = """
[listeners.web]
mode = "http"
bind = "127.0.0.1:0"
pool = "rest"

[[listeners.web.routes]]
name = "app"
host = "www.example.com"
path = "/app"
strip_prefix = "/app"
pool = "app"

[[listeners.web.routes]]
name = "old"
host = "old.example.com"
redirect = "https://www.example.com{uri}"

[pools.rest]
servers = ["127.0.0.1:9"]
[pools.app]
strategy = { name = "consistent-hash", key = "uri", size = 1009 }
"""
CHOSEN = {f"http://www.example.com/app/{number}" for number in range(8)}


@pytest.fixture
def explain(capsys, tmp_path):
    """Runs ``lb explain`` with a file of these lines; returns the exit code, stdout and stderr."""

    def run(text, *arguments):
        path = tmp_path / "lb.toml"
        path.write_text(text)
        code = cli.main(["explain", "-c", str(path), "--listener", "web", *arguments])
        return code, *capsys.readouterr()

    return run


ALONE = CONFIG + 'servers = ["127.0.0.1:1", "127.0.0.1:2"]\n'


def test_from_the_file_alone(explain):
    code, out, err = explain(ALONE, "--url", "http://www.example.com/app/a?b", "--without", "127.0.0.1:1")
    assert (code, err) == (0, "")
    first, *lines = out.splitlines()
    assert first.startswith("127.0.0.1 on web gets 127.0.0.1:")
    assert lines[:4] == [
        "GET http://www.example.com/app/a?b",
        "route app: its host is www.example.com, /app is the longest prefix, any method",
        "  strip_prefix = /app",
        "  the server gets GET /a?b, Host www.example.com",
    ]
    assert lines[4].startswith("pool app, consistent-hash: by a hash of the request (/app/a?b is at ")
    assert "without 127.0.0.1:1: 127.0.0.1:2" in out


@pytest.mark.parametrize(
    ("arguments", "code", "first"),
    [
        (("http://old.example.com/a?b",), 0, "308 to https://www.example.com/a?b, from the balancer"),
        (("http://www.example.com/", "--method", "POST"), 0, "127.0.0.1:9"),
        (("http://www.example.com/a%00",), 1, "the error 400"),
        (("http://www.example.com/", "--header", "Content-Length: x"), 1, "the error 400"),
    ],
)
def test_the_exit_code_says_whether_anything_answers(explain, arguments, code, first):
    got, out, err = explain(ALONE, "--url", *arguments)
    assert (got, err) == (code, "")
    assert out.splitlines()[0] == f"127.0.0.1 on web gets {first}"
    got, out, err = explain(ALONE, "--json", "--url", *arguments)
    assert (got, err, json.loads(out)["served"]) == (code, "", code == 0)


def test_a_request_without_a_route_gets_404(explain):
    code, out, _ = explain(ALONE.replace('pool = "rest"\n', "", 1), "--url", "http://other/", "--source", "10.1.2.3")
    assert (code, out) == (1, "10.1.2.3 on web gets the error 404\nGET http://other/\nno route takes GET other/\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--url", "www.example.com"), "lb: the URL must be like 'https://www.example.com/a', not 'www.example.com'\n"),
        (("--url", "http://a/", "--header", "x"), "lb: a header must be a line like 'Accept: text/html', not 'x'\n"),
        (("--method", "PUT"), "lb: --method and --header are of a request: give its --url\n"),
        (
            (),
            "lb: give the --source of a client, the --url of a request, or the --target of a tunnel\n",
        ),
        (("--source", "10.1.2.3"), "lb: the listener 'web' has mode 'http': ask with a URL, or a target\n"),
    ],
)
def test_what_is_no_question_is_bad_usage(explain, arguments, message):
    assert explain(ALONE, *arguments) == (2, "", message)


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_a_running_balancer_does_what_it_says(tmp_path):
    async with http_server(name="a") as a, http_server(name="b") as b:
        text = with_workers(
            f'{ADMIN}\n{CONFIG}servers = ["{a.address}", "{b.address}"]\n[pools.app.health]\n{QUICK_CHECKS}\n'
        )
        async with operated(tmp_path, text) as (lb, operator), httpx.AsyncClient() as web:
            said = {}
            for url in CHOSEN:
                answer = await operator.get("/api/v1/explain", listener="web", source="127.0.0.1", url=url)
                said[url] = (answer["request"]["route"], answer["chosen"])
                response = await web.get(
                    url.replace("www.example.com", f"127.0.0.1:{lb.port}"), headers={"Host": "www.example.com"}
                )
                assert response.status_code == 200
            done = {}
            for number in range(len(CHOSEN)):
                record = await lb.event("http.request", count=number + 1, route="app")
                done[f"http://{record['host']}{record['path']}"] = (record["route"], record["server"])
            assert done == said
            assert {server for _, server in done.values()} == {str(a.address), str(b.address)}

            bind = (await lb.event("admin.started"))["bind"]
            ask = ("explain", "--admin", bind, "--listener", "web", "--url")
            code, out, err = await run_lb(*ask, "http://old.example.com/")
            assert (code, err) == (0, "")
            assert out.startswith("127.0.0.1 on web gets 308 to https://www.example.com/, from the balancer\n")
            await operator.until(
                lambda: operator.get("/api/v1/explain", listener="web", source="::1", url="http://other/"),
                lambda answer: answer["chosen"] is None,
            )
            code, out, err = await run_lb(*ask, "http://other/", "--header", "Accept: a", "--method", "PUT")
            assert (code, err) == (1, "")
            assert out.startswith("127.0.0.1 on web gets no server: the connection is closed\n")
            assert "connection refused" in out
            code, _, err = await run_lb(*ask, "other")
            assert (code, err) == (1, "lb: the URL must be like 'https://www.example.com/a', not 'other'\n")


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_a_running_balancer_knows_the_server_of_a_sticky_cookie(tmp_path):
    async with http_server() as a, http_server() as b:
        pool = f'[pools.web]\nsticky = {{ cookie = "lb" }}\nservers = ["{a.address}", "{b.address}"]'
        text = with_workers(f'{ADMIN}\n[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\n{pool}\n')
        async with operated(tmp_path, text) as (lb, operator):
            for number in range(4):
                async with httpx.AsyncClient() as web:
                    url = f"http://127.0.0.1:{lb.port}/"
                    cookie = f"lb={(await web.get(url)).cookies['lb']}"
                server = (await lb.event("http.request", count=number + 1))["server"]
                asked = {"listener": "web", "source": "::1", "url": url, "header": f"Cookie: {cookie}"}
                answer = await operator.get("/api/v1/explain", **asked)
                assert (answer["chosen"], answer["decides"], answer["request"]["sticky_server"]) == (
                    server,
                    "cookie",
                    server,
                )
