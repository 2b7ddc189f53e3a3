"""squid.conf: rules of access, and that nothing is opened."""

from __future__ import annotations

import pytest
import tomli

from lb.tools.migrate.formats import FORMATS, UnreadableError
from lb.tools.migrate.squid.units import squid_bytes, squid_seconds
from lb.tools.migrate.toml_text import toml_text

ACLS = (
    "acl office src 10.0.0.0/8\nacl room src 10.1.0.0/16\nacl guests src 192.0.2.0/24\nacl bad dstdomain .bad.example\n"
    "acl good dstdomain good.example\nacl known proxy_auth REQUIRED\nacl hours time 08:00-18:00\nacl web port 443\n"
    "acl CONNECT method CONNECT\n"
)
THIS_HOST = ["127.0.0.0/8", "::1"]


def translated(text, tmp_path):
    """Return the listener of a configuration, and the names of its gaps."""
    path = tmp_path / "squid.conf"
    path.write_text(text)
    migration = FORMATS["squid"].translate(path)
    gaps = [each.directive.name for each in migration.findings() if each.outcome == "gap"]
    return tomli.loads(toml_text(migration.draft))["listeners"]["proxy"], gaps


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (["allow office", "deny all"], {"allow": ["10.0.0.0/8"]}),
        (["deny !room", "allow office", "deny all"], {"allow": ["10.1.0.0/16"]}),
        (["deny room", "allow office", "deny all"], {"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]}),
        (["allow office", "allow guests", "deny all"], {"allow": ["10.0.0.0/8", "192.0.2.0/24"]}),
        (
            ["deny bad", "allow office", "deny all"],
            {"allow": ["10.0.0.0/8"], "deny_to": ["bad.example", "*.bad.example"]},
        ),
        (["allow office !bad", "deny all"], {"allow": ["10.0.0.0/8"], "deny_to": ["bad.example", "*.bad.example"]}),
        (["deny !good", "allow office", "deny all"], {"allow": ["10.0.0.0/8"], "allow_to": ["good.example"]}),
        (["allow office good", "deny all"], {"allow": ["10.0.0.0/8"], "allow_to": ["good.example"]}),
        (["allow known", "deny all"], {"auth": "proxy"}),
        (["deny !known", "allow office", "deny all"], {"allow": ["10.0.0.0/8"], "auth": "proxy"}),
        (["deny CONNECT !web", "allow office", "deny all"], {"allow": ["10.0.0.0/8"], "connect_ports": [443]}),
        (["deny CONNECT", "allow office", "deny all"], {"allow": ["10.0.0.0/8"], "connect_ports": []}),
        (["allow office"], {"allow": ["10.0.0.0/8"]}),
        (["deny room"], {"allow": ["0.0.0.0/0", "::/0"], "deny": ["10.1.0.0/16"]}),
        (["allow all"], {"allow": ["0.0.0.0/0", "::/0"]}),
        ([], {"allow": THIS_HOST}),
        (["deny all"], {"allow": THIS_HOST}),
    ],
)
def test_rules_that_are_lists(rules, expected, tmp_path):
    listener, gaps = translated(ACLS + "".join(f"http_access {each}\n" for each in rules), tmp_path)
    keys = ("allow", "deny", "allow_to", "deny_to", "auth")
    found = {key: listener[key] for key in keys if key in listener}
    if "connect_ports" in expected:
        found["connect_ports"] = listener["connect_ports"]
    assert (found, [each for each in gaps if each == "http_access"]) == (expected, [])


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (["deny !hours", "allow office", "deny all"], {"allow": THIS_HOST}),
        (["allow office hours", "deny all"], {"allow": THIS_HOST}),
        (["deny !room", "deny !guests", "allow office", "deny all"], {"allow": THIS_HOST}),
        (["deny !good", "allow office bad", "deny all"], {"allow": ["10.0.0.0/8"], "allow_to": ["nowhere.invalid"]}),
        (["allow guests good", "allow office", "deny all"], {"allow": ["10.0.0.0/8"]}),
        (["allow room", "allow office known", "deny all"], {"allow": ["10.0.0.0/8"], "auth": "proxy"}),
        (
            ["deny room bad", "allow office", "deny all"],
            {"allow": ["10.0.0.0/8"], "deny_to": ["bad.example", "*.bad.example"]},
        ),
    ],
)
def test_rules_that_are_no_lists_open_nothing(rules, expected, tmp_path):
    listener, _ = translated(ACLS + "".join(f"http_access {each}\n" for each in rules), tmp_path)
    keys = ("allow", "deny", "allow_to", "deny_to", "auth")
    assert {key: listener[key] for key in keys if key in listener} == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5 minutes", 300),
        ("30 seconds", 30),
        ("2 hours", 7200),
        ("500 milliseconds", 0.5),
        ("90", 90),
        ("1 month", 2592000),
    ],
)
def test_times(text, seconds):
    assert squid_seconds(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("64 KB", 65536), ("1 MB", 1 << 20), ("10 bytes", 10), ("3", 3)])
def test_sizes(text, size):
    assert squid_bytes(text) == size


def test_a_line_may_go_on_in_the_next_one(tmp_path):
    listener, _ = translated(
        "acl office src 10.0.0.0/8 \\\n  192.0.2.0/24\nhttp_access allow office # ours\n", tmp_path
    )
    assert listener["allow"] == ["10.0.0.0/8", "192.0.2.0/24"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{ a }\n", "squid.conf:1: { is no directive"),
        ("connect_timeout soon\n", "malformed"),
        ("acl a src\nhttp_access\n", "malformed"),
    ],
)
def test_what_squid_would_not_read_is_unreadable(text, said, tmp_path):
    with pytest.raises(UnreadableError, match=said):
        translated(text, tmp_path)
