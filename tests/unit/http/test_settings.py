"""The keys of mode http: what they mean, and what is said of mistakes."""

from __future__ import annotations

import itertools
import math

import attrs
import pytest

from lb.config.describe import describe
from lb.config.load import parse
from lb.model import (
    CacheSpec,
    Files,
    HeaderEdits,
    HttpSettings,
    Redirect,
    Respond,
    RouteCache,
    RouteSpec,
    Secret,
    ToPool,
    UsersSpec,
)
from lb.model.address import Networks
from lb.model.http import Rate
from tests.support.complaints import complaints

HASH = "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/"
POOLS = '[pools.web]\nservers = ["10.0.0.1:80"]\n[pools.video]\nservers = ["10.0.0.2:80"]\n'
EVERYTHING = f"""
[listeners.www]
mode = "http"
bind = ":8080"
pool = "web"
keep_alive = "5s"
idle_timeout = "0"
max_header = "64KiB"
max_body = "10GiB"
trusted_proxies = ["10.0.0.0/8"]
access_log = false
h2c = true

[[listeners.www.routes]]
name = "videos"
host = ["Video.example.com.", "*.video.example.com"]
path = "=/videos/ü"
methods = ["GET", "HEAD"]
pool = "video"
strip_prefix = "/videos/"
add_prefix = "/v%20/"
host_header = "video.internal:8080"
request_headers = {{ set = {{ X-Client = "{{client_ip}}" }}, add = {{ Via = "x" }}, remove = ["Cookie"] }}
response_headers = {{ set = {{ X-A = '{{"json": 1}} {{cache_status}}' }}, add = {{}}, remove = ["Server"] }}
auth = "staff"
forward_auth = "https://auth.internal/verify?x=y"
auth_headers = ["X-User"]
compress = true
rate = "90/m"
burst = 5
limit_rate = "2MiB"
limit_rate_after = "4GiB"
viewer_secret_file = "viewers.key"
cache = {{ zone = "videos" }}

[[listeners.www.routes]]
path = "/static"
files = "site"

[[listeners.www.routes]]
host = "example.com"
redirect = "https://www.{{host}}{{uri}}"
status = 301

[[listeners.www.routes]]
host = "example.com"
path = "=/robots.txt"
respond = ""
status = 404

[caches.videos]

[users.staff]
file = "staff.htpasswd"
realm = "The staff"

{POOLS}
"""


@pytest.fixture
def directory(tmp_path):
    """The directory of the configuration, with what it names."""
    (tmp_path / "site").mkdir()
    (tmp_path / "viewers.key").write_bytes(b" key\n\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "staff.htpasswd").write_text(f"alice:{HASH}\n")
    return tmp_path


def settings(text, directory, listener="www"):
    return parse(text, str(directory / "lb.toml")).listeners[listener].settings


def errors(text, directory):
    return complaints(text, directory / "lb.toml")


def listener(lines="", *routes):
    tables = "".join(f"[[listeners.www.routes]]\n{route}\n" for route in routes)
    return f'[listeners.www]\nmode = "http"\nbind = ":8080"\n{lines}\n{tables}{POOLS}'


def test_every_key_reaches_the_model(directory):
    staff = UsersSpec("staff", "The staff", "staff.htpasswd", (("alice", Secret(HASH)),))
    videos = RouteSpec(
        "videos",
        ToPool("video"),
        hosts=("video.example.com", "*.video.example.com"),
        path="/videos/ü",
        exact=True,
        methods=("GET", "HEAD"),
        strip_prefix="/videos",
        add_prefix="/v%20",
        host_header="video.internal:8080",
        request_headers=HeaderEdits((("X-Client", "{client_ip}"),), (("Via", "x"),), ("Cookie",)),
        response_headers=HeaderEdits((("X-A", '{"json": 1} {cache_status}'),), (), ("Server",)),
        auth=staff,
        forward_auth="https://auth.internal/verify?x=y",
        auth_headers=("X-User",),
        compress=True,
        rate=Rate(1.5),
        burst=5,
        limit_rate=2 << 20,
        limit_rate_after=4 << 30,
        cache=RouteCache(CacheSpec("videos")),
        viewer_secret=Secret(b" key\n"),
    )
    config = parse(EVERYTHING, str(directory / "lb.toml"))
    assert config.users == {"staff": staff}
    assert config.listeners["www"].settings == HttpSettings(
        pool="web",
        routes=(
            RouteSpec("example.com=/robots.txt", Respond("", 404), ("example.com",), "/robots.txt", exact=True),
            RouteSpec("example.com/", Redirect("https://www.{host}{uri}", 301), ("example.com",)),
            videos,
            RouteSpec("/static", Files(str(directory / "site")), path="/static"),
        ),
        keep_alive=5.0,
        idle_timeout=math.inf,
        max_header=64 << 10,
        max_body=10 << 30,
        trusted_proxies=Networks(("10.0.0.0/8",)),
        access_log=False,
        h2c=True,
    )
    assert config.listeners["www"].settings.pools == ("web", "video")


def test_every_key_of_the_model_is_in_the_text_that_has_everything(directory):
    found = settings(EVERYTHING, directory)
    videos = next(route for route in found.routes if route.name == "videos")
    for default, given in ((HttpSettings(), found), (RouteSpec("", ToPool("")), videos)):
        assert [key for key in attrs.fields_dict(type(given)) if getattr(default, key) == getattr(given, key)] == []


def test_an_empty_name_of_a_file_with_a_secret_is_none(directory):
    (route,) = settings(listener("", "pool = 'web'\nviewer_secret_file = ''"), directory).routes
    assert route.viewer_secret is None


def test_the_least_listener_takes_every_default(directory):
    assert settings(listener('pool = "web"'), directory) == HttpSettings("web")
    assert settings(listener("", 'pool = "web"'), directory) == HttpSettings("", (RouteSpec("/", ToPool("web")),))


def test_a_pool_of_the_listeners_name_serves_what_no_route_takes(directory):
    text = listener("", 'path = "/v"\npool = "video"').replace("listeners.www", "listeners.web")
    assert settings(text, directory, "web").pools == ("web", "video")
    assert settings(listener("servers = ['10.0.0.3:80']"), directory).pool == "www"


def test_a_listener_needs_something_to_answer_with(directory):
    assert errors(listener(), directory) == ["listeners.www: needs a 'pool', 'servers' or 'routes'"]
    assert errors(listener("pool = 'web'\nservers = ['10.0.0.3:80']"), directory) == [
        "listeners.www: has both 'pool' and 'servers'; use only one of them"
    ]
    assert errors(listener("pool = 'wep'"), directory) == [
        "listeners.www.pool: there is no pool 'wep', did you mean 'web'?"
    ]


def test_the_portable_splicer_has_no_mode_http(directory, monkeypatch):
    monkeypatch.setenv("LB_SPLICER", "portable")
    assert errors(listener("pool = 'web'"), directory) == [
        "listeners.www.mode: mode 'http' needs the fast splicer: it runs on Linux, without LB_SPLICER=portable"
    ]


def test_the_order_of_the_file_does_not_matter(directory):
    routes = (
        "path = '/a'\npool = 'web'",
        "host = 'a.com'\npool = 'web'",
        "host = '*.com'\nrespond = ''",
        "respond = ''",
    )
    found = {settings(listener("", *order), directory) for order in itertools.permutations(routes)}
    assert [[route.name for route in each.routes] for each in found] == [["a.com/", "*.com/", "/a", "/"]]


def test_routes_without_a_name_are_named_after_host_and_path(directory):
    found = settings(
        listener(
            "",
            'host = ["a.com", "b.com"]\npath = "/x"\npool = "web"',
            'host = ["a.com", "b.com"]\npath = "/x"\nmethods = ["PUT", "POST"]\npool = "web"',
            'path = "=/x"\nmethods = ["GET"]\npool = "web"',
            'name = "/x"\npool = "web"',
        ),
        directory,
    )
    assert [route.name for route in found.routes] == ["a.com/x PUT,POST", "a.com/x", "=/x", "/x"]


WRONG_KEYS = [
    ("keep_alive = -1", "keep_alive: must be 0 or more, not -1"),
    ("idle_timeout = '5'", "idle_timeout: needs a unit, as in '5s' or '5ms', not '5'"),
    ("max_header = 0", "max_header: must be 1024 or more, not 0"),
    ("max_header = '2MiB'", "max_header: must be 1048576 or less, not 2097152"),
    ("max_body = '1TiB'", "max_body: must be a number of bytes like '256KiB' or '1MiB', not '1TiB'"),
    (
        "trusted_proxies = ['10.0.0']",
        "trusted_proxies[0]: must be a network like '10.0.0.0/8' or '2001:db8::/32', not '10.0.0'",
    ),
    ("h2c = 1", "h2c: must be true or false, not 1"),
    ("access_log = 1", "access_log: must be true or false, not 1"),
    ("explain_sample = 1", "explain_sample: unknown key"),
    ("routes = 'web'", "routes: must be a list, not 'web'"),
    ("routes = ['web']", "routes[0]: must be a table, not 'web'"),
]


@pytest.mark.parametrize(("line", "error"), WRONG_KEYS)
def test_a_wrong_value_of_the_listener_is_one_message_at_its_key(line, error, directory):
    found = errors(listener(f"pool = 'web'\n{line}"), directory)
    assert found[:1] == [f"listeners.www.{error}"]
    assert len(found) == (2 if error.startswith("routes[0]") else 1)


P = 'pool = "web"\n'
HOST = "must be a host like 'www.example.com' or '*.example.com', without a port, not "
QUERY = "must be a path without a query and control characters, not "
ENCODED = "must be written decoded, as paths of requests are decoded, not "
SIMPLE = "never matches, as paths of requests are made simple, did you mean "
ADDED = "must be a path of a URL like '/app', not "
URL = "must be a URL like 'http://127.0.0.1:9091/verify', not "
RATE = "must be a number of requests and a unit of time, like '20/s', '100/m' or '500/h', not "
FIXED = "is about the connection or the length, and cannot be changed"
NO_PATH = "has no effect: no path of the route begins with "
NO_SERVER = "has no effect: no server gets the request"
NO_VARIABLE = "there is no variable {hots} here, did you mean 'host'?"
OWN_KEY = "'Host' cannot be changed here; use 'host_header'"
WRONG = [
    # the rule
    (P + "name = ''", "name: a name has 1 to 200 printable characters, not ''"),
    (P + "name = 'a\tb'", "name: a name has 1 to 200 printable characters, not 'a\\tb'"),
    (P + "host = 'a.com:80'", f"host: {HOST}'a.com:80'"),
    (P + "host = ['a.com', 'a b']", f"host[1]: {HOST}'a b'"),
    (P + "host = 'a.*.com'", f"host: {HOST}'a.*.com'"),
    (P + "host = '[::1'", f"host: {HOST}'[::1'"),
    (P + "host = '*'", "host: leave it out for any host, or name a wildcard like '*.example.com'"),
    (P + "host = 'ä.com'", "host: must be the name in its ASCII form ('xn--…'), as clients send it, not 'ä.com'"),
    (P + "host = []", "host: must name at least one host; leave it out for any host"),
    (P + "host = 3", "host: must be a string, not 3"),
    (P + "path = 'a'", "path: must begin with '/', not 'a'"),
    (P + "path = ''", "path: must begin with '/', not ''"),
    (P + "path = '~ \\.php$'", "path: must begin with '/', not '~ \\\\.php$'"),
    (P + "path = '/a/*'", "path: is a prefix already, write '/a/', not '/a/*'"),
    (P + "path = '/a?b'", f"path: {QUERY}'/a?b'"),
    (P + 'path = "/a\\u0000"', f"path: {QUERY}'/a\\x00'"),
    (P + "path = '/a%20b'", f"path: {ENCODED}'/a%20b'"),
    (P + "path = '/a//b'", f"path: {SIMPLE}'/a/b'?"),
    (P + "path = '=/a/./b'", f"path: {SIMPLE}'/a/b'?"),
    (P + "path = '/../a'", "path: never matches, the path leaves the root: '/../a'"),
    (P + "methods = ['get']", "methods[0]: methods are case-sensitive, did you mean 'GET'?"),
    (P + "methods = ['CONNECT']", "methods[0]: 'CONNECT' is refused in this mode, whatever the route"),
    (P + "methods = ['A B']", "methods[0]: must be a method like 'GET', not 'A B'"),
    (P + "methods = 'GET'", "methods: must be a list, not 'GET'"),
    # the target
    ("", ": has no target: it needs 'pool', 'files', 'media', 'redirect' or 'respond'"),
    (P + "respond = ''", ": has 'pool' and 'respond'; use only one of them"),
    (P + "files = 'site'\nredirect = '/'", ": has 'pool' and 'files' and 'redirect'; use only one of them"),
    ("pool = 'videos'", "pool: there is no pool 'videos', did you mean 'video'?"),
    ("files = 'side'", "files: 'side' does not exist"),
    ("files = 'staff.htpasswd'", "files: 'staff.htpasswd' is not a directory"),
    ("files = ''", "files: must be the name of a file, not ''"),
    ("redirect = ''", "redirect: must be a URL like 'https://{host}{uri}', without spaces, not ''"),
    ("redirect = 'https://{hots}'", f"redirect: {NO_VARIABLE}"),
    ("redirect = 'https://{server}'", "redirect: there is no variable {server} here"),
    ("redirect = '/'\nstatus = 304", "status: must be one of 301, 302, 303, 307, 308, not 304"),
    ("redirect = '/'\nstatus = 301.0", "status: must be one of 301, 302, 303, 307, 308, not 301.0"),
    ("respond = ''\nstatus = 103", "status: must be 200 or more, not 103"),
    ("respond = ''\nstatus = 600", "status: must be 599 or less, not 600"),
    ("respond = 'x'\nstatus = 204", "respond: must be empty: a response 204 has no body"),
    (P + "status = 200", "status: has no effect without 'redirect' or 'respond'"),
    # on the way
    (P + "strip_prefix = 'a'", "strip_prefix: must begin with '/', not 'a'"),
    (P + "path = '/a'\nstrip_prefix = '/b'", f"strip_prefix: {NO_PATH}'/b'"),
    (P + "path = '=/a'\nstrip_prefix = '/a/b'", f"strip_prefix: {NO_PATH}'/a/b'"),
    (P + "path = '/ab'\nstrip_prefix = '/a'", f"strip_prefix: {NO_PATH}'/a'"),
    (P + "add_prefix = 'a'", f"add_prefix: {ADDED}'a'"),
    (P + "add_prefix = '/a b'", f"add_prefix: {ADDED}'/a b'"),
    (P + "add_prefix = '/a?b'", f"add_prefix: {ADDED}'/a?b'"),
    (P + "host_header = 'a/b'", "host_header: must be 'client', 'server' or a host, not 'a/b'"),
    (P + "host_header = ''", "host_header: must be 'client', 'server' or a host, not ''"),
    (P + "auth = 'stuff'", "auth: there are no users 'stuff', did you mean 'staff'?"),
    (P + "auth = 'x'", "auth: there are no users 'x', as in [users.x]"),
    (P + "forward_auth = 'auth.internal'", f"forward_auth: {URL}'auth.internal'"),
    (P + "forward_auth = 'ftp://a/'", f"forward_auth: {URL}'ftp://a/'"),
    (P + "forward_auth = 'http://u@a/'", f"forward_auth: {URL}'http://u@a/'"),
    (P + "forward_auth = 'http://a:0/'", f"forward_auth: {URL}'http://a:0/'"),
    (P + "forward_auth = 'http://a/ b'", f"forward_auth: {URL}'http://a/ b'"),
    (P + "auth_headers = ['X-User']", "auth_headers: has no effect without 'forward_auth'"),
    (P + "forward_auth = 'http://a'\nauth_headers = ['Host']", f"auth_headers[0]: {OWN_KEY}"),
    (P + "compress = 'zstd'", "compress: must be true or false, not 'zstd'"),
    (P + "rate = '20/s'\nburst = 0", "burst: must be 1 or more, not 0"),
    (P + "burst = 5", "burst: has no effect without 'rate'"),
    (P + "limit_rate = 100", "limit_rate: must be 1024 or more, not 100"),
    (P + "viewer_secret_file = 'none'", "viewer_secret_file: 'none' cannot be read: no such file or directory"),
    (P + "viewer_secret_file = 'empty'", "viewer_secret_file: 'empty' is empty"),
    (P + "viewer_secret_file = 'site'", "viewer_secret_file: 'site' cannot be read: is a directory"),
    (P + "viewer_secret_file = 7", "viewer_secret_file: must be a string, not 7"),
    (P + "limit_rate_after = '1MiB'", "limit_rate_after: has no effect without 'limit_rate'"),
    ("respond = ''\nstrip_prefix = '/'\nadd_prefix = '/a'", f"add_prefix: {NO_SERVER}"),
    ("files = 'site'\nhost_header = 'server'", f"host_header: {NO_SERVER}"),
    ("redirect = '/'\nrequest_headers = { remove = ['A'] }", f"request_headers: {NO_SERVER}"),
    (P + "cache = { zone = 1 }", "cache.zone: must be a string, not 1"),
    (P + "paht = '/'", "paht: unknown key, did you mean 'path'?"),
]


@pytest.mark.parametrize(("route", "error"), WRONG)
def test_a_wrong_value_of_a_route_is_one_message_at_its_key(route, error, directory):
    users = f'{listener("", route)}[users.staff]\nfile = "staff.htpasswd"\n'
    place = "listeners.www.routes[0]" + ("" if error.startswith(":") else ".")
    (found,) = errors(users, directory)
    assert found.startswith(f"{place}{error}")
    assert found == f"{place}{error}" or "; known: {client_ip}, " in found


@pytest.mark.parametrize(
    "rate", ["20", "'20'", "'0/s'", "'1.5/s'", "'20 / s'", "'20/sec'", "false", "0.0", "'-1/s'", "'٣/s'"]
)
def test_a_rate_has_a_unit_of_time(rate, directory):
    assert errors(listener("", f"{P}rate = {rate}"), directory) == [f"listeners.www.routes[0].rate: {RATE}{rate}"]


@pytest.mark.parametrize(
    ("edits", "error"),
    [
        ("set = { Host = 'a' }", f"set.Host: {OWN_KEY}"),
        ("remove = ['A', 'host']", "remove[1]: 'host' cannot be changed here; use 'host_header'"),
        ("set = { 'a b' = 'a' }", "set.'a b': must be the name of a header field, not 'a b'"),
        ("set = { A = 'a', a = 'b' }", "set.a: is 'A' again; case does not matter"),
        ("set = { A = 1 }", "set.A: must be a string, not 1"),
        ('add = { A = "a\\r\\nB: c" }', "add.A: must not hold control characters"),
        ("remove = 'A'", "remove: must be a list, not 'A'"),
        ("sat = {}", "sat: unknown key, did you mean 'set'?"),
        ("set = { A = '{hots}' }", f"set.A: {NO_VARIABLE}"),
        ("set = { A = '{server}' }", "set.A: there is no variable {server} here"),
        *((f"remove = ['{name}']", f"remove[0]: '{name}' {FIXED}") for name in ("Connection", "content-length", "TE")),
        *((f"set.{name} = ''", f"set.{name}: '{name}' {FIXED}") for name in ("Transfer-Encoding", "Upgrade", "Expect")),
        *((f"add.{name} = ''", f"add.{name}: '{name}' {FIXED}") for name in ("Keep-Alive", "Proxy-Authorization")),
    ],
)
def test_a_wrong_change_of_a_header_field_is_one_message(edits, error, directory):
    (found,) = errors(listener("", f"{P}request_headers = {{ {edits} }}"), directory)
    assert found.partition("; known")[0] == f"listeners.www.routes[0].request_headers.{error}"


def test_a_response_may_have_a_field_named_host(directory):
    assert settings(listener("", f"{P}response_headers = {{ set = {{ Host = 'a' }} }}"), directory).routes


def test_all_mistakes_of_all_routes_are_reported_at_once(directory):
    routes = ("path = 'a'\nrespond = ''\nrate = 3", "pool = 'wep'\nmethods = ['get', 3]", "host = 'a.com'")
    assert [error.partition(": ")[0] for error in errors(listener("keep_alive = 'x'", *routes), directory)] == [
        "listeners.www.routes[0].path",
        "listeners.www.routes[0].rate",
        "listeners.www.routes[1].pool",
        "listeners.www.routes[1].methods[0]",
        "listeners.www.routes[1].methods[1]",
        "listeners.www.routes[2]",
        "listeners.www.keep_alive",
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("path = '/a'", "path = '/a'", "/a"),
        ("", "path = '/'", "/"),
        ("host = 'a.com'", "host = ['b.com', 'A.com.']", "a.com/"),
        ("host = '*.com'\nmethods = ['PUT', 'GET']", "host = '*.com'\nmethods = ['GET']", "GET *.com/"),
        ("name = 'one'\npath = '=/a'", "name = 'other'\npath = '=/a'", "/a"),
    ],
)
def test_two_routes_that_take_the_same_requests_are_an_error(one, other, same, directory):
    text = listener("", f"{one}\nrespond = ''", f"{other}\n{P}")
    assert errors(text, directory) == [
        f"listeners.www.routes[1]: takes the same requests as listeners.www.routes[0]: {same}"
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("path = '/a'", "path = '=/a'"),
        ("path = '/a'", "path = '/a/'"),
        ("path = '/a'", "path = '/A'"),
        ("host = 'a.com'", "host = '*.a.com'"),
        ("methods = ['GET']", "methods = ['PUT']"),
        ("methods = ['GET']", ""),
    ],
)
def test_routes_that_differ_in_host_path_or_methods_are_no_error(one, other, directory):
    assert len(settings(listener("", f"{one}\n{P}", f"{other}\n{P}"), directory).routes) == 2


def test_two_routes_with_one_name_are_an_error(directory):
    routes = ("name = 'a'\npath = '/a'\n", "name = 'a'\npath = '/b'\n", "name = '/d'\npath = '/c'\n", "path = '/d'\n")
    assert errors(listener("", *(route + P for route in routes)), directory) == [
        "listeners.www.routes[1]: 'a' is already the name of listeners.www.routes[0]",
        "listeners.www.routes[3]: '/d' is already the name of listeners.www.routes[2]",
    ]


def test_a_rate_may_be_by_the_minute_or_the_hour(directory):
    def rate(text):
        return settings(listener("", f"{P}rate = {text}"), directory).routes[0].rate

    assert [rate(each) for each in ("'20/s'", "'30/m'", "'1800/h'", "'0'", "0")] == [20, 0.5, 0.5, 0, 0]


def test_a_directory_may_be_absolute_and_may_be_a_link(directory):
    (directory / "current").symlink_to(directory / "site")
    for given in (directory / "site", directory / "current"):
        (route,) = settings(listener("", f"files = '{given}'"), directory).routes
        assert route.target == Files(str(given)), "a link is followed by each request, so that it may be moved"


def test_a_summary_has_the_routes_in_the_order_in_which_they_win(directory):
    lines = describe(parse(EVERYTHING, str(directory / "lb.toml"))).splitlines()
    assert lines[0] == "listener www: :8080, mode http -> 4 routes, others -> pool web"
    assert lines[1:3] == [
        "  example.com=/robots.txt  host example.com, path =/robots.txt, respond '', status 404",
        "  example.com/             host example.com, path /, redirect https://www.{host}{uri}, status 301",
    ]
    assert lines[3].startswith(
        "  videos                   host video.example.com, *.video.example.com, path =/videos/ü, "
    )
    assert "auth staff, " in lines[3]
    assert "rate 90/m, burst 5, " in lines[3]
    assert lines[4] == f"  /static                  path /static, files {directory / 'site'}"
    assert "cache.zone videos" in lines[3]
    assert lines[-2] == "users staff: 1 of staff.htpasswd"


def test_credentials_in_header_values_are_not_shown(directory):
    edits = "request_headers = { set = { Authorization = 'Basic c2VjcmV0', X-Api-Key = 'secret', X-A = 'shown' } }"
    text = describe(parse(listener("", P + edits), str(directory / "lb.toml")))
    assert "request_headers.set.Authorization (hidden), request_headers.set.X-Api-Key (hidden)" in text
    assert "request_headers.set.X-A 'shown'" in text
    assert "secret" not in text
