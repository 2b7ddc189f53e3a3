"""``lb explain`` of a request: its route and why, what happens on the way, what its server gets, who answers."""

from __future__ import annotations

import time

import attrs
import pytest

from lb.config.load import parse
from lb.explain.explanation import ExplainQuestion, explanation, pool_name, routed
from lb.http.sticky_values import StickyValues
from lb.model.address import Client
from lb.model.explained_request import AskedRequest
from lb.model.request import RequestClient
from strategies.driver import finish
from tests.support.pooling import Harness, servers
from tests.support.viewer_link import viewer_link

PEER = Client("192.0.2.7", 0)
CONFIG = """
[listeners.www]
mode = "http"
bind = ":8080"
pool = "web"
max_header = "1KiB"
max_body = "1KiB"
trusted_proxies = ["10.0.0.0/8"]

[[listeners.www.routes]]
name = "videos"
host = "video.example.com"
path = "/videos"
pool = "video"
response_headers = { set = { Server = "x" } }
strip_prefix = "/videos"
rate = "20/s"
forward_auth = "http://127.0.0.1:9/"
compress = true
host_header = "server"

[[listeners.www.routes]]
host = "example.com"
redirect = "{scheme}://www.{host}{uri}"
status = 301

[[listeners.www.routes]]
path = "=/ip"
respond = "{client_ip}"

[[listeners.www.routes]]
path = "=/gone"
respond = ""
status = 204

[[listeners.www.routes]]
path = "/files"
files = "."

[pools.web]
servers = ["10.0.0.1:80", "10.0.0.2:80"]

[pools.video]
servers = ["10.0.0.3:80"]
"""


def asked(url, *headers, method="GET", peer=PEER, config=CONFIG, secret=None):
    parsed = parse(config, "lb.toml")
    question = ExplainQuestion(parsed.listeners["www"], peer, "", ())
    return routed(question, AskedRequest(url, method, headers), parsed.pools, secret)


def answer(question, harness=None):
    return finish(explanation(question, harness and harness.pool))


def test_a_request_has_a_route_a_way_and_a_pool():
    question = asked("https://video.example.com/videos/a%20b?c#d")
    assert pool_name(question) == "video"
    told = answer(question, Harness(*servers("a")))
    request = told["request"]
    assert request["route"] == "videos"
    assert request["why"] == "route videos: its host is video.example.com, /videos is the longest prefix, any method"
    assert list(request["on_the_way"]) == [
        "rate",
        "forward_auth",
        "strip_prefix",
        "host_header",
        "compress",
        "response_headers.set.Server",
    ], "in the order in which they happen"
    assert request["on_the_way"]["rate"] == "20/s"
    assert request["server_gets"] == {"target": "/a%20b?c", "host": "the server's address"}
    assert (told["chosen"], told["served"]) == ("a", True)
    assert told["notes"] == ["whatever the URL says, clients of this listener come by http"]


@pytest.mark.parametrize(
    ("url", "headers", "key"),
    [
        ("http://cached:81/a?b", (), "http cached:81 /a?b"),
        ("http://cached/a", ("X-Fresh: 1",), None),
        ("http://cached/a", ("Content-Length: 1",), None),
        ("http://other/a", (), None),
    ],
)
def test_the_key_in_the_cache_is_told(url, headers, key):
    config = f"""{CONFIG}
        [caches.videos]
        [[listeners.www.routes]]
        host = "cached"
        pool = "web"
        cache = {{ zone = "videos", bypass = ["header:X-Fresh"] }}
    """
    request = answer(asked(url, *headers, config=config))["request"]
    assert request["cache_key"] == key
    assert request["on_the_way"].get("cache.zone") == (None if "other" in url else "videos")


def test_a_link_for_viewers_is_judged_and_taken_off(tmp_path):
    (tmp_path / "key").write_text("secret\n")
    config = f"""{CONFIG}
        [caches.videos]
        [[listeners.www.routes]]
        path = "/live/"
        pool = "web"
        viewer_secret_file = "{tmp_path}/key"
        cache = {{ zone = "videos" }}
    """
    soon = int(time.time()) + 1000
    request = answer(asked(f"http://a{viewer_link(b'secret', '/live/', soon)}/live/x", config=config))["request"]
    assert (request["error"], request["cache_key"]) == (None, "http a /live/x")
    assert request["server_gets"]["target"] == "/live/x"
    assert request["on_the_way"]["viewer_secret_file"] == "(hidden)"
    expired, wrong = viewer_link(b"secret", "/live/", soon - 2000), viewer_link(b"other", "/live/", soon)
    for link, why in ((expired, "has expired"), (wrong, "is not valid"), ("", "it has no link for viewers")):
        request = answer(asked(f"http://a{link}/live/x", config=config))["request"]
        assert (request["route"], request["error"], request["server_gets"]) == ("/live/", 403, None)
        assert request["why"].endswith(why)
    request = answer(asked(f"http://a{wrong}/other", config=config))["request"]
    assert (request["route"], request["server_gets"]["target"]) == ("web", f"{wrong}/other")


def test_what_no_route_takes_goes_to_the_pool_of_the_listener_or_gets_404():
    question = asked("http://other/a")
    assert (pool_name(question), question.request.route.name) == ("web", "web")
    question = asked("http://other/a", config=CONFIG.replace('pool = "web"\nmax', "max"))
    told = answer(question)
    assert (pool_name(question), told["request"]["error"], told["served"]) == ("", 404, False)
    assert told["request"]["why"] == "no route takes GET other/a"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://example.com/a?b", "301 to http://www.example.com/a?b"),
        ("http://any/ip", "200 with the text '192.0.2.7'"),
        ("http://any/gone", "204"),
        ("http://any/files/a", "a file of "),
    ],
)
def test_what_the_balancer_answers_itself_is_told(url, text):
    told = answer(asked(url))
    assert told["request"]["answer"].startswith(text)
    assert (told["pool"], told["served"], told["request"]["server_gets"]) == (None, True, None)


@pytest.mark.parametrize(
    ("url", "method", "headers", "error", "why"),
    [
        ("http://any/a%2Fb", "GET", (), 400, "refused: the path has an escape that is not allowed"),
        ("http://any/../a", "GET", (), 400, "refused: the path leaves the root"),
        ("http://any/", "GET", ("A : b",), 400, "refused: a header"),
        ("http://any/", "GET", ("Host: a", "Host: b"), 400, "refused: "),
        ("http://any/", "CONNECT", (), 405, "CONNECT is for mode forward"),
        ("http://any/", "get it", (), 400, "refused: the request line has not three parts"),
        ("http://any/files/a", "PUT", (), 405, "route /files: it takes any host, "),
        ("http://any/", "POST", ("Content-Length: 1025",), 413, "route web: "),
        ("http://any/" + "a" * 1100, "GET", (), 414, "refused: the head is too long"),
        ("http://any/", "GET", ("A: " + "b" * 1100,), 431, "refused: the head is too long"),
    ],
)
def test_what_is_refused_is_refused_as_a_listener_does(url, method, headers, error, why):
    question = asked(url, *headers, method=method)
    told = answer(question)
    assert pool_name(question) == ""
    assert (told["request"]["error"], told["served"]) == (error, False)
    assert told["request"]["why"].startswith(why)


@pytest.mark.parametrize(
    ("url", "headers", "message"),
    [
        ("www.example.com", (), "the URL must be like"),
        ("ftp://a/", (), "the URL must be like"),
        ("http://a/", ("Accept",), "a header must be a line like"),
        ("http://a/", ("A: b\r\nHost: c",), "must be one line"),
        ("http://a/\r\nX: y", (), "the URL must be like"),
    ],
)
def test_what_is_no_request_is_no_question(url, headers, message):
    with pytest.raises(ValueError, match=message):
        asked(url, *headers)


def test_the_pool_sees_the_client_whom_trusted_proxies_name_with_its_request():
    question = asked("http://any/a", "X-Forwarded-For: 203.0.113.9", peer=Client("10.1.2.3", 0))
    assert isinstance(question.chosen_for, RequestClient)
    assert question.chosen_for.request.uri == b"/a"
    assert answer(question, Harness(*servers("a")))["request"]["client"] == "203.0.113.9"
    assert asked("http://any/a", "X-Forwarded-For: 203.0.113.9").chosen_for.host == PEER.host


def test_a_host_header_wins_over_the_url_as_with_curl():
    assert asked("http://127.0.0.1:8080/", "host: Video.example.com").request.route.name == "web"
    assert asked("http://127.0.0.1:8080/videos", "host: Video.example.com").request.route.name == "videos"


def test_without_a_server_and_for_a_denied_client_nothing_answers():
    question = asked("http://any/")
    down = Harness(*servers("a"))
    down.pool.empty(0.0)
    assert answer(question, down)["served"] is False
    denied = asked("http://any/ip", config=CONFIG.replace("max_body", 'deny = ["192.0.2.0/24"]\nmax_body'))
    assert (answer(denied)["served"], answer(denied)["denied"]) == (False, "deny = 192.0.2.0/24")


def test_what_cannot_be_asked_is_said():
    http = parse(CONFIG, "lb.toml").listeners["www"]
    tcp = parse('listeners.web.bind = ":80"\npools.web.servers = ["10.0.0.1:80"]', "lb.toml").listeners["web"]
    with pytest.raises(LookupError, match="has mode 'http': ask with a URL"):
        pool_name(ExplainQuestion(http, PEER, "", ()))
    with pytest.raises(LookupError, match="has mode 'tcp', which reads no requests"):
        routed(ExplainQuestion(tcp, PEER, "", ()), AskedRequest("http://a/"), {})
    question = ExplainQuestion(http, PEER, "", ("a",))
    with pytest.raises(LookupError, match="there is no server to leave out"):
        explanation(routed(question, AskedRequest("http://any/ip"), {}), None)


STICKY = CONFIG.replace("[pools.web]\n", '[pools.web]\nsticky = { cookie = "lb" }\n')
SECRET = b"secret of the balancer"


def with_cookie(name, secret=SECRET):
    """Ask with the cookie that names a server, and whether the secret is known."""
    web = parse(STICKY, "lb.toml").pools["web"]
    harness = Harness(*web.servers)
    harness.pool.spec = web
    cookie = StickyValues(web.sticky, "web", SECRET).of(name).decode()
    return asked("http://any/", f"Cookie: a=b; lb={cookie}", config=STICKY, secret=secret), harness


@pytest.mark.parametrize("name", ["10.0.0.1:80", "10.0.0.2:80"])
def test_a_client_with_a_sticky_cookie_stays_with_its_server(name):
    question, harness = with_cookie(name)
    told = answer(question, harness)
    assert (told["request"]["sticky_server"], told["chosen"], told["decides"]) == (name, name, "cookie")
    assert [each["verdict"] for each in told["servers"] if each["server"] == name] == ["chosen"]
    assert not any("cookie" in note for note in told["notes"])
    without = attrs.evolve(question, without=[name])
    told = answer(without, harness)["without"]
    assert (told["chosen"] != name, told["decides"]) == (True, "turn"), "another one, until it has a cookie of its own"


@pytest.mark.parametrize(("name", "secret"), [("10.0.0.9:80", SECRET), ("10.0.0.1:80", None), ("10.0.0.1:80", b"x")])
def test_a_cookie_that_names_no_server_decides_nothing(name, secret):
    question, harness = with_cookie(name, secret)
    told = answer(question, harness)
    assert (told["request"]["sticky_server"], told["decides"]) == (None, "turn")
    assert "a client with a cookie 'lb' of the pool goes to the server that it names" in told["notes"]


def test_with_a_secret_file_the_file_alone_knows_the_server(tmp_path):
    (tmp_path / "secret").write_text("0123456789abcdef0123456789abcdef")
    config = STICKY.replace('cookie = "lb" }', f'cookie = "lb", secret_file = "{tmp_path}/secret" }}')
    web = parse(config, "lb.toml").pools["web"]
    cookie = StickyValues(web.sticky, "web", b"").of("10.0.0.2:80").decode()
    assert asked("http://any/", f"Cookie: lb={cookie}", config=config).request.sticky_server == "10.0.0.2:80"
