"""Traefik's file provider: rules, priorities, what is closed, and what cannot be read."""

from __future__ import annotations

import sys

import pytest
import tomli

from lb.tools.migrate.first_match import RequestMatch
from lb.tools.migrate.formats import FORMATS, UnreadableError
from lb.tools.migrate.toml_text import toml_text
from lb.tools.migrate.traefik.router_rules import NoSuchRuleError, read_rule

SERVICE = "  services:\n    app:\n      loadBalancer:\n        servers:\n          - url: http://10.0.0.1:80\n"


def translated(text, tmp_path, name="traefik.yml"):
    """Return the tables of a configuration, and the names of its gaps."""
    path = tmp_path / name
    path.write_text(text)
    migration = FORMATS["traefik"].translate(path)
    gaps = [each.directive.name for each in migration.findings() if each.outcome == "gap"]
    return tomli.loads(toml_text(migration.draft)), gaps


def with_middleware(middleware, tmp_path, rule="PathPrefix(`/`)"):
    """Return the listener for one router with one middleware, and the gaps."""
    router = f"http:\n  routers:\n    a:\n      rule: {rule}\n      service: app\n      middlewares: [m]\n"
    tables, gaps = translated(f"{router}  middlewares:\n    m:\n{middleware}{SERVICE}", tmp_path)
    return tables["listeners"]["web"], gaps


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("Host(`a.example`, `b.example`)", [[("a.example", "", ""), ("b.example", "", "")]]),
        ("Host(`a.example`) && PathPrefix(`/x/`)", [[("a.example", "", "")], [("", "/x/", "")]]),
        ('Host("A.example")', [[("a.example", "", "")]]),
        ("Path(`/x`)", [[("", "=/x", "")]]),
        ("Method(`get`)", [[("", "", "GET")]]),
        ("HostRegexp(`{sub:[a-z]+}.a.example`)", [[("*.a.example", "", "")]]),
        (r"HostRegexp(`^.+\.a\.example$`)", [[("*.a.example", "", "")]]),
        ("PathRegexp(`^/(a|b)/`)", [[("", "/a/", ""), ("", "/b/", "")]]),
        ("PathPrefix(`/`)", [[("", "", "")]]),
        ("HostSNI(`*`)", [[("", "", "")]]),
    ],
)
def test_a_rule_without_alternatives(rule, expected):
    (terms,) = read_rule(rule).condition
    assert [[(each.host, each.path, each.method) for each in term.any_of] for term in terms] == expected


def test_alternatives_negations_and_brackets():
    condition = read_rule("(Host(`a`) || Host(`b`)) && !(Path(`/x`) || Path(`/y`))").condition
    assert len(condition) == 2
    for (first, *negated), host in zip(condition, "ab", strict=True):
        assert first.any_of == (RequestMatch(host=host),)
        assert [(each.is_negated, each.any_of[0].path) for each in negated] == [(True, "=/x"), (True, "=/y")]


@pytest.mark.parametrize(
    "rule",
    [
        "Header(`A`, `b`)",
        "ClientIP(`10.0.0.0/8`)",
        "Host(`a`",
        "Host(`a`) Host(`b`)",
        "Query(`a`, `b`)",
        "Host`a`",
        "&&",
        "",
    ],
)
def test_rules_without_a_counterpart(rule):
    with pytest.raises(NoSuchRuleError):
        read_rule(rule)


@pytest.mark.parametrize(
    "middleware",
    [
        "      digestAuth:\n        users: [alice:x:y]\n",
        "      plugin:\n        checker:\n          key: secret\n",
    ],
)
def test_what_is_guarded_in_a_way_of_its_own_is_closed(middleware, tmp_path):
    listener, gaps = with_middleware(middleware, tmp_path)
    assert gaps
    assert [(each["status"], each.get("pool")) for each in listener["routes"]] == [(403, None)]


def test_networks_of_one_router_among_others_are_closed(tmp_path):
    text = (
        "http:\n  routers:\n    a:\n      rule: PathPrefix(`/`)\n      service: app\n"
        "    b:\n      rule: PathPrefix(`/admin/`)\n      service: app\n      middlewares: [office]\n"
        f"  middlewares:\n    office:\n      ipAllowList:\n        sourceRange: [10.0.0.0/8]\n{SERVICE}"
    )
    tables, gaps = translated(text, tmp_path)
    listener = tables["listeners"]["web"]
    assert gaps == ["middlewares"]
    assert ("allow" in listener, listener["pool"]) == (False, "app")
    assert listener["routes"] == [{"path": "/admin/", "respond": "", "status": 403}]


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ("      compress: {}\n", {"compress": True}),
        ("      addPrefix:\n        prefix: /app\n", {"add_prefix": "/app"}),
        ("      rateLimit:\n        average: 100\n        burst: 50\n", {"rate": "100/s", "burst": 50}),
        ("      rateLimit:\n        average: 6\n        period: 1m\n", {"rate": "6/m", "burst": 1}),
        (
            "      headers:\n        customRequestHeaders:\n          X-A: b\n",
            {"request_headers": {"set": {"X-A": "b"}}},
        ),
        (
            '      headers:\n        customResponseHeaders:\n          Server: ""\n',
            {"response_headers": {"remove": ["Server"]}},
        ),
        ("      forwardAuth:\n        address: http://10.0.0.9/v\n", {"forward_auth": "http://10.0.0.9/v"}),
    ],
)
def test_middlewares(middleware, expected, tmp_path):
    listener, gaps = with_middleware(middleware, tmp_path)
    assert (listener["routes"], gaps) == ([{"pool": "app", **expected}], [])


def test_a_check_of_mode_grpc_asks_for_the_health_of_the_server(tmp_path):
    check = "mode: grpc\nscheme: https\nport: 50052\ninterval: 5s\npath: /x\nstatus: 200\nheaders:\n  X-A: b\n"
    lines = "".join(f"          {line}\n" for line in check.splitlines())
    router = "http:\n  routers:\n    a:\n      rule: PathPrefix(`/`)\n      service: app\n"
    service = SERVICE.replace("        servers:", f"        healthCheck:\n{lines}        servers:").replace(
        "http:", "h2c:"
    )
    tables, gaps = translated(router + service, tmp_path)
    assert gaps == []
    assert tables["pools"]["app"]["health"] == {
        "probe": "grpc", "port": 50052, "tls": True, "interval": "5s", "fast_interval": "5s", "timeout": "5s",
        "rise": 1, "fall": 1,
    }  # fmt: skip


def test_a_redirect_to_the_scheme_that_is_there_is_none(tmp_path):
    middleware = "      redirectScheme:\n        scheme: https\n        port: 8443\n        permanent: true\n"
    listener, _ = with_middleware(middleware, tmp_path)
    assert listener["routes"] == [{"redirect": "https://{host}:8443{uri}", "status": 308}]
    listener, _ = with_middleware(middleware.replace("https", "http"), tmp_path)
    assert listener["pool"] == "app"


def test_a_listener_with_tls_always_has_a_certificate(tmp_path):
    text = (
        "entryPoints:\n  websecure:\n    address: ':443'\nhttp:\n  routers:\n    a:\n      rule: Host(`a.example`)\n"
        f"      service: app\n      tls:\n        certResolver: le\n{SERVICE}"
    )
    tables, gaps = translated(text, tmp_path)
    assert tables["listeners"]["websecure"]["tls"]["certificate"] == "/etc/letsencrypt/live/a.example/fullchain.pem"
    assert gaps == ["certResolver"]


def test_keys_are_the_same_in_upper_and_lower_case(tmp_path):
    text = f"http:\n  Routers:\n    a:\n      Rule: Host(`a.example`)\n      service: app\n{SERVICE}".lower()
    tables, gaps = translated(text.replace("host(", "Host("), tmp_path)
    assert (tables["listeners"]["web"]["routes"], gaps) == ([{"host": "a.example", "pool": "app"}], [])


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("a: [", "traefik.yml", "expected"),
        ("- a\n", "traefik.yml", "is no table of keys"),
        ("a = ", "traefik.toml", "Invalid value"),
        ("a: &a\n  b: *a\n", "traefik.yml", "leads back to itself"),
        (
            f"http:\n  routers:\n    r:\n      rule: Path(`/`)\n      service: app\n{SERVICE.replace(':80', ':b')}",
            "traefik.yml",
            "malformed",
        ),
    ],
)
def test_what_traefik_would_not_read_is_unreadable(text, name, said, tmp_path):
    with pytest.raises(UnreadableError, match=said):
        translated(text, tmp_path, name)


def test_aliases_that_multiply_are_refused(tmp_path):
    lines = [f"a{number}: &a{number} {{ x: *a{number - 1}, y: *a{number - 1} }}" for number in range(1, 40)]
    with pytest.raises(UnreadableError, match="more than 100000 keys"):
        translated("\n".join(["a0: &a0 { x: y }", *lines]), tmp_path)


def test_without_the_parser_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UnreadableError, match=r"pip install 'trio-lb\[migrate\]'"):
        translated("http:\n", tmp_path)
