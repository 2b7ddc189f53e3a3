"""nginx's configurations as lb.toml: each file in tests/data/migrate/nginx becomes the .toml beside it.

``MIGRATE_WRITE=1`` writes these files anew, to be read before they are committed.
"""

from __future__ import annotations

import os
import re
import sys

import pytest
import tomli

from lb.config.load import parse
from lb.tools.migrate.formats import FORMATS, UnreadableError
from lb.tools.migrate.toml_text import toml_text
from tests.support.migrating import DATA, files_for, localized
from tests.support.paths import EXAMPLES, ROOT

FILES = sorted((DATA / "nginx").glob("*.conf"))
INCLUDED = DATA / "nginx" / "included" / "nginx.conf"
GAPS = {
    "databases": ["listen"],
    "included": ["error_page"],
    "locations": ["access_log"],
    "office": ["allow", "deny"],
    "php": ["index", "try_files", "location", "location"],
    "rewritten": [
        *("geo", "server_name", "proxy_set_header", "proxy_redirect", "proxy_cookie_path", "sub_filter", "mirror"),
        *("stub_status", "mp4", "secure_link", "secure_link_md5", "location"),
    ],
    "single_page": ["try_files", "error_page"],
}
"""The directives without a counterpart, by file; the others are complete."""


def translated(path):
    return FORMATS["nginx"].translate(path)


def text_of(conf, tmp_path, name="nginx.conf"):
    """Return what a configuration given as text becomes, and what became of its directives."""
    path = tmp_path / name
    path.write_text(conf)
    migration = translated(path)
    return toml_text(migration.draft), migration.findings()


def of_server(lines, tmp_path, outside=""):
    """Return the listener that a server with these lines becomes, and the gaps."""
    text, findings = text_of(f"http {{ {outside} server {{ listen 80; {lines} }} }}", tmp_path)
    gaps = [each.directive.name for each in findings if each.outcome == "gap"]
    return tomli.loads(text)["listeners"]["http"], gaps


@pytest.mark.parametrize("path", [*FILES, INCLUDED], ids=lambda path: path.parent.name + "/" + path.stem)
def test_a_configuration_becomes_what_a_person_would_write(path):
    expected = path.parent.with_suffix(".toml") if path is INCLUDED else path.with_suffix(".toml")
    migration = translated(path)
    text = toml_text(migration.draft)
    if os.environ.get("MIGRATE_WRITE"):
        expected.write_text(text)
    assert text == expected.read_text()
    gaps = [each.directive.name for each in migration.findings() if each.outcome == "gap"]
    assert gaps == GAPS.get(expected.stem, [])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_comes_out_is_a_valid_configuration(path, tmp_path):
    files_for(tmp_path)
    text = localized(toml_text(translated(path).draft), tmp_path, Unchanged())
    parse(text, str(tmp_path / "lb.toml"))


class Unchanged(dict):
    """Servers stay where they are."""

    def __missing__(self, address):
        return address


def test_every_directive_is_accounted_for():
    for path in FILES:
        said = {(each.directive.line, each.directive.name) for each in translated(path).findings()}
        words = re.findall(r"(?m)^ *([a-z_0-9]+)(?= |;)", re.sub(r"#.*", "", path.read_text()))
        assert len(said) >= len(words) - words.count("include"), path


def test_the_example_of_a_cache_for_videos_is_complete():
    migration = translated(EXAMPLES / "video-cache" / "nginx.conf")
    assert {each.outcome for each in migration.findings()} == {"translated", "not needed"}
    ours = parse(toml_text(migration.draft), "lb.toml")
    example = parse((EXAMPLES / "video-cache" / "lb.toml").read_text(), "lb.toml")
    (mine, *_), (its,) = ours.listeners["http"].settings.routes, example.listeners["www"].settings.routes
    mine = next(each for each in (mine, *_) if each.cache)
    for key in ("valid", "use_stale", "status_header", "background_update", "revalidate", "collapse"):
        assert getattr(mine.cache, key) == getattr(its.cache, key)
    assert mine.cache.key == "{scheme}backend_video_server{uri}"  # nginx's: all hosts share what is stored
    assert (mine.path, mine.target, mine.host_header) == (its.path, its.target, "backend_video_server")
    cache, its_cache = ours.caches["video_cache"], example.caches["video_cache"]
    assert (cache.max_size, cache.inactive) == (its_cache.max_size, its_cache.inactive)


def test_a_file_that_is_one_site_is_read_as_such(tmp_path):
    text, _ = text_of("server { listen 81; location / { proxy_pass http://10.0.0.1:80; } }", tmp_path, "site.conf")
    assert "[listeners.http-81]" in text
    text, _ = text_of("location / { proxy_pass http://10.0.0.1:80; }", tmp_path, "snippet.conf")
    assert "[listeners.http]" in text


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ("http {", "unexpected end of file"),
        ("http { server { listen 80; location / { proxy_pass; } } }", 'arguments in "proxy_pass" directive'),
        ("include nginx.conf;", "includes itself"),
        ("include nothing.conf;", "No such file or directory: "),
    ],
)
def test_what_nginx_would_not_read_is_unreadable(conf, said, tmp_path):
    with pytest.raises(UnreadableError, match=said):
        text_of(conf, tmp_path)


def test_without_the_parser_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "crossplane", None)
    with pytest.raises(UnreadableError, match=r"pip install 'trio-lb\[migrate\]'"):
        text_of("events {}", tmp_path)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("allow 10.0.0.0/8; deny all;", (["10.0.0.0/8"], None)),
        ("deny 10.1.0.0/16; allow 10.0.0.0/8; deny all;", (["10.0.0.0/8"], ["10.1.0.0/16"])),
        ("deny 10.1.0.0/16;", (None, ["10.1.0.0/16"])),
        ("deny 10.1.0.0/16; allow all;", (None, ["10.1.0.0/16"])),
    ],
)
def test_rules_about_networks_that_are_the_same_in_any_order(rules, expected, tmp_path):
    listener, gaps = of_server(f"{rules} location / {{ proxy_pass http://10.0.0.1:80; }}", tmp_path)
    assert ((listener.get("allow"), listener.get("deny")), gaps) == (expected, [])


@pytest.mark.parametrize(
    "guard",
    [
        "allow 10.1.2.3; deny 10.1.0.0/16; allow 10.0.0.0/8; deny all;",
        "auth_request /nowhere;",
        "secure_link $arg_md5;",
        "limit_except GET { auth_basic x; }",
        'if ($http_x_key != "a") { return 403; }',
        "auth_jwt api;",
    ],
)
def test_what_is_guarded_in_a_way_of_its_own_is_closed(guard, tmp_path):
    listener, gaps = of_server(f"location / {{ {guard} proxy_pass http://10.0.0.1:80; }}", tmp_path)
    assert gaps
    assert [(each.get("pool"), each.get("status")) for each in listener["routes"]] == [(None, 403)]


def test_a_condition_of_the_server_that_refuses_closes_its_locations(tmp_path):
    lines = "if ($blocked) { return 403; } location / { proxy_pass http://10.0.0.1:80; }"
    listener, gaps = of_server(lines, tmp_path)
    assert gaps == ["if"]
    assert [each["status"] for each in listener["routes"]] == [403]


def test_one_server_that_wants_certificates_of_clients_makes_the_listener_want_them(tmp_path):
    tls = "listen 443 ssl; ssl_certificate /a.pem; ssl_certificate_key /a.key; return 204;"
    text, findings = text_of(
        f"http {{ server {{ server_name a.example; {tls} ssl_verify_client on; ssl_client_certificate /ca.pem; }}"
        f" server {{ server_name b.example; {tls} }} }}",
        tmp_path,
    )
    found = tomli.loads(text)["listeners"]["https"]["tls"]
    assert (found["client_certificate"], found["client_ca"]) == ("required", "/ca.pem")
    assert [each.directive.name for each in findings if each.outcome == "gap"] == ["ssl_verify_client"]


def test_an_expression_that_is_a_prefix_yields_to_longer_ones_and_says_so(tmp_path):
    place = "location ~ ^/api/ { proxy_pass http://10.0.0.1; } location /api/v2/ { proxy_pass http://10.0.0.2; }"
    _, gaps = of_server(place, tmp_path)
    assert gaps == ["location"]


def test_a_listener_with_tls_and_without_a_certificate_does_not_become_one_without_tls(tmp_path):
    text, findings = text_of("http { server { listen 443 ssl; ssl_reject_handshake on; return 204; } }", tmp_path)
    assert tomli.loads(text)["listeners"]["https"]["tls"] == {"certificate": ""}
    assert [each.directive.name for each in findings if each.outcome == "gap"] == ["ssl_reject_handshake"]


def test_rules_of_the_server_that_are_not_translated_close_each_location(tmp_path):
    rules = "allow 10.1.2.3; deny 10.1.0.0/16; allow 10.0.0.0/8; deny all;"
    places = "location / { proxy_pass http://10.0.0.1:80; } location /a/ { root /srv; }"
    listener, _ = of_server(f"{rules} {places}", tmp_path)
    assert "allow" not in listener
    assert {each.get("status") for each in listener["routes"]} == {403, 301} - {301}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("return 301 https://$host$request_uri;", {"redirect": "https://{host}{uri}", "status": 301}),
        ("return 308 https://$host$request_uri;", {"redirect": "https://{host}{uri}"}),
        ("return https://example.com/;", {"redirect": "https://example.com/", "status": 302}),
        ('return 200 "hello $remote_addr";', {"respond": "hello {client_ip}"}),
        ("return 503;", {"respond": "", "status": 503}),
        ("rewrite ^/(.*)$ https://b.example/$1 permanent;", {"redirect": "https://b.example{uri}", "status": 301}),
        ("rewrite ^ https://b.example$request_uri? redirect;", {"redirect": "https://b.example{uri}", "status": 302}),
        ("if ($scheme = http) { return 301 https://a.example; }", {"redirect": "https://a.example", "status": 301}),
        ("if ($https = '') { return 301 https://a.example; }", {"redirect": "https://a.example", "status": 301}),
    ],
)
def test_answers_of_a_whole_server(lines, expected, tmp_path):
    listener, gaps = of_server(lines, tmp_path)
    assert (listener["routes"], gaps) == ([expected], [])


def test_a_host_that_is_answered_by_a_condition_is_not_served(tmp_path):
    lines = "server_name a.example b.example; if ($host = b.example) { return 301 https://a.example; }"
    text, _ = text_of(
        f"http {{ server {{ listen 80; return 404; }} server {{ listen 80; {lines}"
        " location / { proxy_pass http://10.0.0.1:80; } } }",
        tmp_path,
    )
    routes = tomli.loads(text)["listeners"]["http"]["routes"]
    assert [(each.get("host"), each.get("status"), each.get("pool")) for each in routes] == [
        (None, 404, None),
        ("b.example", 301, None),
        ("a.example", None, "a"),
    ]


@pytest.mark.parametrize(
    ("location", "passed", "expected"),
    [
        ("/", "http://10.0.0.1/", (None, None)),
        ("/", "http://10.0.0.1/app/", (None, "/app")),
        ("/a/", "http://10.0.0.1/", ("/a", None)),
        ("/a", "http://10.0.0.1/b", ("/a", "/b")),
        ("= /a", "http://10.0.0.1/a", (None, None)),
        ("/a/", "http://10.0.0.1", (None, None)),
        ("/a/", "http://10.0.0.1$request_uri", (None, None)),
    ],
)
def test_the_path_that_servers_see(location, passed, expected, tmp_path):
    listener, gaps = of_server(f"location {location} {{ proxy_pass {passed}; }}", tmp_path)
    route = listener["routes"][0]
    assert ((route.get("strip_prefix"), route.get("add_prefix")), gaps) == (expected, [])


@pytest.mark.parametrize(
    ("location", "passed"),
    [
        ("/a/", "http://10.0.0.1/b"),
        ("= /a", "http://10.0.0.1/b"),
        ("/", "http://$host"),
        ("~ ^/a/", "http://10.0.0.1/$1"),
    ],
)
def test_paths_and_servers_that_cannot_be_said_are_gaps(location, passed, tmp_path):
    _, gaps = of_server(f"location {location} {{ proxy_pass {passed}; }}", tmp_path)
    assert gaps == ["proxy_pass"]


def test_a_smaller_limit_of_bodies_is_a_gap_as_the_listener_has_one(tmp_path):
    listener, gaps = of_server(
        "client_max_body_size 10m; location / { proxy_pass http://10.0.0.1; }"
        " location /up/ { client_max_body_size 2g; proxy_pass http://10.0.0.1; }",
        tmp_path,
    )
    assert (listener["max_body"], gaps) == ("2GiB", ["client_max_body_size"])


def test_a_listener_never_has_the_name_of_a_pool(tmp_path):
    text, _ = text_of(
        "http { upstream http { server 10.0.0.1; } server { listen 80; location /a/ { proxy_pass http://http; } } }",
        tmp_path,
    )
    assert tomli.loads(text)["listeners"].keys() == {"http-2"}


@pytest.mark.parametrize("inside", [True, False], ids=["of the location", "of the server"])
def test_methods_that_are_refused(inside, tmp_path):
    rule, target = "if ($request_method !~ ^(GET|POST)$) { return 405; }", "proxy_pass http://10.0.0.1;"
    place = f"location / {{ {rule} {target} }}" if inside else f"{rule} location / {{ {target} }}"
    listener, gaps = of_server(place, tmp_path)
    assert gaps == []
    assert [(each.get("methods"), each.get("pool"), each.get("status")) for each in listener["routes"]] == [
        (["GET", "POST"], "backend", None),
        (None, None, 405),
    ]


def test_what_is_off_is_no_gap(tmp_path):
    lines = "proxy_redirect off; ssi off; autoindex off; location / { proxy_pass http://10.0.0.1; }"
    assert of_server(lines, tmp_path)[1] == []


def test_upstreams_that_nothing_uses_are_left_out(tmp_path):
    text, findings = text_of("http { upstream a { server 10.0.0.1; } server { listen 80; return 204; } }", tmp_path)
    assert "pools" not in text
    assert {each.outcome for each in findings if each.directive.name == "upstream"} == {"not needed"}


def test_the_how_to_has_all_words():
    page = (ROOT / "docs" / "how-to" / "from-nginx.md").read_text()
    assert [word for word in FORMATS["nginx"].words() if f"`{word}`" not in page] == []
