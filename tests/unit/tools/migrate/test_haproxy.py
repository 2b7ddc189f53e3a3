"""haproxy.cfg: what single lines become, what is closed, and what cannot be read."""

from __future__ import annotations

import pytest
import tomli

from lb.tools.migrate.formats import FORMATS, UnreadableError
from lb.tools.migrate.toml_text import toml_text

DEFAULTS = "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
APP = "backend app\n  server s1 10.0.0.1:80\n"


def translated(text, tmp_path):
    """Return the tables of a configuration, and the names of its gaps."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(text)
    migration = FORMATS["haproxy"].translate(path)
    gaps = [each.directive.name for each in migration.findings() if each.outcome == "gap"]
    return tomli.loads(toml_text(migration.draft)), gaps


def front(lines, tmp_path, backend=APP, mode="http"):
    """Return the listener that a frontend with these lines becomes, and the gaps."""
    inner = "".join(f"  {line}\n" for line in lines)
    text = f"{DEFAULTS}frontend www\n  mode {mode}\n  bind :80\n{inner}  default_backend app\n{backend}"
    tables, gaps = translated(text, tmp_path)
    return tables["listeners"]["www"], gaps


def back(lines, tmp_path, server="server s1 10.0.0.1:80"):
    """Return the pool that a backend with these lines becomes, and the gaps."""
    inner = "".join(f"  {line}\n" for line in lines)
    tables, gaps = translated(f"{DEFAULTS}backend app\n{inner}  {server}\n", tmp_path)
    return tables["pools"]["app"], gaps


@pytest.mark.parametrize(
    "line",
    [
        "http-request deny unless { req.cook(key) -m found }",
        "http-request deny if !{ req.hdr(x-key) -m str secret }",
        "http-request deny if { path_beg /admin/ } !{ src 10.0.0.0/8 }",
        "http-request auth unless { http_auth(staff) } or { req.hdr(x-key) -m str secret }",
        "http-request deny unless { src 10.0.0.0/8 } { req.hdr(x-key) -m str secret }",
    ],
)
def test_who_may_pass_in_a_way_that_cannot_be_said_may_not(line, tmp_path):
    listener, gaps = front([line], tmp_path)
    assert gaps == [line.split()[0]]
    refusing = [each for each in listener.get("routes", ()) if each.get("status") == 403]
    assert refusing or listener.get("allow") == ["10.0.0.0/8"]


def test_clients_of_tcp_who_cannot_be_told_apart_may_not_connect(tmp_path):
    line = "tcp-request connection reject unless { src_get_gpc0(marks) gt 0 }"
    listener, gaps = front([line], tmp_path, mode="tcp")
    assert (listener["allow"], gaps) == (["127.0.0.1", "::1"], ["tcp-request connection"])


def test_a_list_of_those_who_may_not_pass_that_cannot_be_said_is_left_out(tmp_path):
    listener, gaps = front(["http-request deny if { req.hdr(user-agent) -m sub bot }"], tmp_path)
    assert (listener["pool"], gaps) == ("app", ["http-request"])


def test_an_answer_needs_the_password_that_a_rule_before_it_asks_for(tmp_path):
    rules = ["http-request auth unless { http_auth(staff) }", "http-request redirect location /b if { path /a }"]
    users = "userlist staff\n  user alice password $6$a$b\n"
    listener, gaps = front(rules, tmp_path, APP + users)
    assert gaps == []
    assert {each.get("path"): each["auth"] for each in listener["routes"]} == {"=/a": "staff", None: "staff"}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("{ hdr(host) -i a.example }", {"host": "a.example"}),
        ("{ hdr_end(host) .a.example }", {"host": "*.a.example"}),
        ("{ hdr(host) -m end a.example }", {"host": ["a.example", "*.a.example"]}),
        (r"{ hdr_reg(host) ^(www\.)?a\.example$ }", {"host": ["a.example", "www.a.example"]}),
        ("{ path_beg /a/ /b/ }", [{"path": "/a/"}, {"path": "/b/"}]),
        ("{ path /a }", {"path": "=/a"}),
        ("{ path_reg ^/(a|b)/ }", [{"path": "/a/"}, {"path": "/b/"}]),
        ("METH_POST", {"methods": ["POST"]}),
        ("{ method PUT DELETE } { path_beg /a/ }", {"path": "/a/", "methods": ["PUT", "DELETE"]}),
        ("{ dst_port 81 }", []),
        ("FALSE", []),
    ],
)
def test_conditions_that_are_routes(condition, expected, tmp_path):
    listener, gaps = front(
        [f"use_backend other if {condition}"], tmp_path, f"{APP}backend other\n  server o 10.0.0.2:80\n"
    )
    routes = [each for each in listener.get("routes", ()) if each.pop("pool") == "other"]
    assert (routes, gaps) == (expected if isinstance(expected, list) else [expected], [])


@pytest.mark.parametrize(
    "condition",
    [
        "{ req.cook(a) -m str b }",
        "{ path_end .php }",
        "{ nbsrv(app) lt 1 }",
        "{ src 10.0.0.0/8 }",
        "{ hdr_beg(host) www. }",
    ],
)
def test_conditions_that_are_no_routes_are_gaps(condition, tmp_path):
    listener, gaps = front([f"use_backend other if {condition}"], tmp_path)
    assert (listener["pool"], gaps) == ("app", ["use_backend"])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (r"replace-path ^/api/(.*) /\1", ("/api", None)),
        (r"replace-path /api(/.*)? /v2\1", ("/api", "/v2")),
        ("set-path %[path,regsub(^/api/,/)]", ("/api", None)),
        ("set-path /app%[path]", (None, "/app")),
    ],
)
def test_the_path_that_servers_see(rule, expected, tmp_path):
    listener, gaps = front([f"http-request {rule} if {{ path_beg /api/ }}"], tmp_path)
    route = next(each for each in listener["routes"] if each.get("path") == "/api/")
    assert ((route.get("strip_prefix"), route.get("add_prefix")), gaps) == (expected, [])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["balance roundrobin"], None),
        (["balance leastconn"], "least-conn"),
        (["balance source", "hash-type consistent"], "consistent-hash"),
        (["balance uri whole"], {"name": "consistent-hash", "key": "uri"}),
        (["balance url_param id"], {"name": "consistent-hash", "key": "query:id"}),
        (["balance hdr(host)"], {"name": "consistent-hash", "key": "host"}),
        (["balance hash req.cook(sid)"], {"name": "consistent-hash", "key": "cookie:sid"}),
        (["balance random(2)"], "random-two"),
        (["balance first"], "first"),
    ],
)
def test_strategies(lines, expected, tmp_path):
    pool, gaps = back(lines, tmp_path)
    assert (pool.get("strategy"), gaps) == (expected, [])


@pytest.mark.parametrize(
    ("expect", "found"),
    [
        ("status 200", {"expect_status": "200"}),
        ("status 200-299,301", {"expect_status": "200-299,301"}),
        ("! status 500", {"expect_status": "100-499,501-599"}),
        ("rstatus ^[23]", {"expect_status": "200-399"}),
        ("string OK.", {"expect_status": "100-599", "expect_body": r"OK\."}),
    ],
)
def test_what_a_check_expects(expect, found, tmp_path):
    lines = ["option httpchk GET /up", f"http-check expect {expect}"]
    pool, gaps = back(lines, tmp_path, "server s1 10.0.0.1:80 check")
    health = pool["health"]
    assert ({key: health[key] for key in found}, health["path"], gaps) == (found, "/up", [])


def test_what_haproxy_does_by_default_is_written_out(tmp_path):
    pool, gaps = back([], tmp_path)
    assert (pool["health"], pool["passive"], pool["retries"], gaps) == (False, {"failures": 0}, 3, [])
    assert pool["http"] == {"response_timeout": "30s", "retry_on": []}
    tables, _ = translated("listen raw\n  bind :80\n  server s1 10.0.0.1:80 check\n", tmp_path)
    assert tables["listeners"]["raw"]["idle_timeout"] == "0"
    assert tables["pools"]["raw"]["connect_timeout"] == "2m"
    assert tables["pools"]["raw"]["health"] == {"fast_interval": "2s", "timeout": "2s"}


def test_http2_without_tls(tmp_path):
    text = f"{DEFAULTS}listen grpc\n  bind :50051 proto h2\n  server s1 10.0.0.1:50051 proto h2\n"
    tables, gaps = translated(text, tmp_path)
    http2 = tables["listeners"]["grpc"]["h2c"], tables["pools"]["grpc"]["http"]["protocol"]
    assert (http2, gaps) == ((True, "h2"), [])


def test_values_in_quotes_and_with_escapes(tmp_path):
    listener, _ = front(
        [r"""http-response set-header X-A "a 'b' \"c\"" """, r"http-response set-header X-B d\ e"], tmp_path
    )
    assert listener["routes"][0]["response_headers"]["set"] == {"X-A": "a 'b' \"c\"", "X-B": "d e"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bind :80\n", "haproxy.cfg:1: bind is in no section"),
        ('frontend a\n  bind ":80\n', 'haproxy.cfg:2: " without its end'),
        (
            "frontend a\n  bind :80\n  maxconn many\n  default_backend b\nbackend b\n  server s 10.0.0.1:80 weight x\n",
            "malformed",
        ),
    ],
)
def test_what_haproxy_would_not_read_is_unreadable(text, said, tmp_path):
    with pytest.raises(UnreadableError, match=said):
        translated(text, tmp_path)
