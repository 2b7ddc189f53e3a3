"""Where an application's streams are served, by the configuration."""

from __future__ import annotations

import hashlib
import hmac

from lb.config.load import parse
from lb.explain.stream_routes import stream_routes
from tests.support.tls_peers import write_certificate

WEB = '[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\n'
LIVE = '[media.live.live]\npublish = [{ name = "*", key = "k" }]\n'


def route(path="/tv/", **keys):
    return f'[[listeners.web.routes]]\npath = "{path}"\nmedia = "live"\n' + "".join(
        f"{key} = {value}\n" for key, value in keys.items()
    )


def found(text, directory="."):
    return [*stream_routes(parse(text, f"{directory}/lb.toml").listeners.values(), "live")]


def test_an_origin_is_the_address_or_the_host_of_who_asks():
    (served,) = found(WEB + route() + LIVE)
    assert served.path == served.link(0) == "/tv/"
    assert served.origin("10.0.0.1:8080", "lb.example") == "http://10.0.0.1:8080"
    assert served.origin("0.0.0.0:8080", "lb.example") == "http://lb.example:8080"
    assert served.origin("[::]:8080", "[::1]") == "http://[::1]:8080"


def test_a_name_of_the_route_goes_before_that_of_the_certificate(tmp_path):
    tls = "[listeners.web.tls]\n" + write_certificate(tmp_path, "web", "*.example", "tv.example")
    (served,) = found(WEB + tls + route() + LIVE, tmp_path)
    assert served.origin("0.0.0.0:443", "10.0.0.1") == "https://tv.example:443"
    (served,) = found(WEB + tls + route(host='["*.example", "www.example"]') + LIVE, tmp_path)
    assert served.origin("0.0.0.0:443", "10.0.0.1") == "https://www.example:443"


def test_a_route_without_a_login_comes_first(tmp_path):
    login = route("/a/", forward_auth='"http://127.0.0.1:9/"')
    assert [each.path for each in found(WEB + login + route("/b") + LIVE)] == ["/b/", "/a/"]


def test_a_link_is_signed_as_the_contract_says(tmp_path):
    (tmp_path / "key").write_text("secret\n")
    (served,) = found(WEB + route(viewer_secret_file='"key"') + LIVE, tmp_path)
    signature = hmac.new(b"secret", b"1796000000/tv/", hashlib.sha256).hexdigest()
    assert served.link(1_796_000_000) == f"/~1796000000.{signature}/tv/"


def test_another_application_is_not_served_there():
    assert [*stream_routes(parse(WEB + route() + LIVE, "lb.toml").listeners.values(), "other")] == []
