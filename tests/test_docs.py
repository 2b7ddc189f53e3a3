"""The documentation matches the code: keys, events, options, links, and all complete configurations in it."""

from __future__ import annotations

import argparse
import inspect
import re
from typing import get_args

import attrs
import pytest
import tomli

import healthcheck.registry
import strategies.registry
from lb import cli, events, model
from lb.cache.cache_key import KeyTemplate
from lb.config.load import parse
from lb.console.arguments import add_ctl
from lb.http.compression import COMPRESSIBLE_TYPES
from lb.http.templates import VARIABLES
from lb.model import table as config_table
from lb.model.cache import IgnoredField, StaleReason
from lb.tools.reference.tables import rows, section
from strategies import maglev
from tests.support.paths import ROOT
from tests.support.schema_peer import refused_places
from tests.support.tls_peers import write_certificate

REFERENCE = ROOT / "docs" / "reference"
PAGES = [path for pattern in ("*.md", "docs/**/*.md", "bench/*.md") for path in sorted(ROOT.glob(pattern))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def default(cell):
    """Return the TOML value of a cell; None if it is prose."""
    literal = re.fullmatch(r"`(.+)`", cell)
    return tomli.loads(f"it = {literal[1]}")["it"] if literal else None


TCP_KEYS = {field.name for field in attrs.fields(model.TcpSettings)} - {"no_tls"}  # in the table `sni`
CONFIGURATION = {
    "[process]": (model.ProcessSpec, set()),
    "[log]": (model.LogSpec, set()),
    "[admin]": (model.AdminSpec, {"token_file"}),
    "[announce]": (model.AnnounceSpec, set()),
    "[listeners.NAME]": (model.ListenerSpec, {"servers"} | TCP_KEYS),
    "[[listeners.NAME.routes]]": (
        model.RouteSpec,
        {"host", "pool", "files", "media", "redirect", "respond", "status", "viewer_secret_file"},
    ),
    "[listeners.NAME.routes.cache]": (model.RouteCache, set()),
    "[caches.NAME]": (model.CacheSpec, set()),
    "[media]": (model.MediaSpec, set()),
    "[media.live.NAME]": (model.LiveSpec, set()),
    "[[media.live.NAME.publish]]": (model.PublishKey, {"name", "key_file"}),
    "[media.vod.NAME]": (model.VodSpec, set()),
    "[users.NAME]": (model.UsersSpec, set()),
    "[listeners.NAME.tls]": (model.ListenerTlsSpec, {"certificate", "key"}),
    "[pools.NAME]": (model.PoolSpec, set()),
    "[pools.NAME.etcd]": (model.EtcdSpec, {"key", "password_file", "hold", "file"}),
    "[pools.NAME.kubernetes]": (model.KubernetesSource, set()),
    "[pools.NAME.http]": (model.HttpPoolSpec, set()),
    "[pools.NAME.tls]": (model.PoolTlsSpec, {"key"}),
    "[pools.NAME.health]": (model.HealthSpec, set()),
    "[[pools.NAME.health.checks]]": (model.CheckSpec, {"name"}),
    "[pools.NAME.passive]": (model.PassiveSpec, set()),
    "[pools.NAME.outlier]": (model.OutlierSpec, set()),
    "[[pools.NAME.servers]]": (model.ServerSpec, {"name"}),
}
"""Heading -> the class of the section, and the keys that are not fields of the class."""


NO_KEYS = {"drained", "exact", "hashes", "hosts", "namespace", "password", "target", "viewer_secret"}
"""Fields that operators set while the balancer runs, or that several keys or a file make."""
HTTP_KEYS = rows(section("configuration.md", "## Mode `http`"))
FORWARD_KEYS = rows(section("configuration.md", "## Mode `forward`"))


def documented(heading):
    found = rows(section("configuration.md", f"## `{heading}`"))
    for more in {"[media.live.NAME]": ("### Recordings and DVR", "### Relays and hooks")}.get(heading, ()):
        found |= rows(section("configuration.md", more))
    return found


FROM_DNS = rows(section("configuration.md", "### Servers from DNS"))


def defaults(heading):
    """Return TOML lines with all defaults of a section."""
    return defaults_of(documented(heading))


def defaults_of(table):
    return "\n".join(f"{key} = {cells[1].strip('`')}" for key, cells in table.items() if cells[1][0] == "`")


@pytest.mark.parametrize("heading", CONFIGURATION)
def test_every_field_of_the_model_is_in_the_reference(heading):
    spec, more = CONFIGURATION[heading]
    fields = {field.name for field in attrs.fields(spec)} - ({"name"} if heading[:2] != "[[" else set()) - {"settings"}
    assert documented(heading).keys() == (fields - {"dns"} - NO_KEYS) | more  # configured among the servers


def test_every_field_of_servers_from_dns_is_in_the_reference():
    fields = attrs.fields_dict(model.DnsSource)
    assert FROM_DNS.keys() == fields.keys()
    assert {key: default(cells[1].partition(";")[0]) for key, cells in FROM_DNS.items()} == {
        **{key: field.default for key, field in fields.items()},
        "dns": None,
        "port": None,
    }


def test_every_key_of_mode_http_is_in_the_reference():
    assert HTTP_KEYS.keys() == {field.name for field in attrs.fields(model.HttpSettings)}


def test_every_key_of_mode_forward_is_in_the_reference():
    assert FORWARD_KEYS.keys() == {field.name for field in attrs.fields(model.ForwardSettings)}


@pytest.mark.parametrize("heading", CONFIGURATION)
def test_every_value_that_the_model_sets_is_given_in_the_reference(heading):
    spec, _ = CONFIGURATION[heading]
    set_by_model = {field.name for field in attrs.fields(spec) if field.default is not attrs.NOTHING}
    given = {key for key, cells in documented(heading).items() if default(cells[1]) is not None}
    sections = {
        "servers",
        "health",
        "checks",
        "passive",
        "outlier",
        "tls",
        "sni",
        "dns",
        "name",
        "token",
        "http",
        "sticky",
        "proxy",
        "etcd",
        "kubernetes",
        "auth",
        "zone",
        "path",
    }  # and user-defined names
    files = {"ca", "client_ca", "token_file", "certificate", "servers_file", "socket_mode", "socket_owner", "user"}
    assert set_by_model - given <= sections | files | NO_KEYS


EVERY_DEFAULT = f"""
[process]
{defaults("[process]")}
[log]
{defaults("[log]")}
[announce]
addresses = ["203.0.113.5"]
interface = "lo"
{defaults("[announce]")}
[listeners.web]
bind = ":80"
{defaults("[listeners.NAME]")}
[pools.web]
{defaults("[pools.NAME]")}
[pools.web.health]
{defaults("[pools.NAME.health]")}
[pools.web.passive]
{defaults("[pools.NAME.passive]")}
[pools.web.http]
{defaults("[pools.NAME.http]")}
[[pools.web.servers]]
address = "10.0.0.1:80"
{defaults("[[pools.NAME.servers]]")}
"""


def test_the_defaults_in_the_reference_are_those_of_the_code():
    least = """
        announce = { addresses = ["203.0.113.5"], interface = "lo" }
        listeners.web = { bind = ":80", servers = ["10.0.0.1:80"] }
    """
    assert parse(EVERY_DEFAULT, "reference") == parse(least, "least")
    found = '[[pools.web.servers]]\ndns = "web.internal"\nport = 80\n'
    outlier = f"{EVERY_DEFAULT}{found}[pools.web.outlier]\n{defaults('[pools.NAME.outlier]')}"
    assert parse(outlier, "reference").pools["web"].outlier == model.OutlierSpec()


WITH_HTTP = f"""
[listeners.www]
mode = "http"
bind = ":80"
pool = "web"
{defaults_of(HTTP_KEYS)}
[[listeners.www.routes]]
pool = "web"
{defaults("[[listeners.NAME.routes]]")}
[pools.web]
servers = ["10.0.0.1:80"]
"""


def test_the_defaults_of_mode_http_in_the_reference_are_those_of_the_code():
    least = """
        listeners.www = { mode = "http", bind = ":80", pool = "web", routes = [{ pool = "web" }] }
        pools.web.servers = ["10.0.0.1:80"]
    """
    assert parse(WITH_HTTP, "reference") == parse(least, "least")


WITH_FORWARD = f"""
[listeners.proxy]
mode = "forward"
bind = "127.0.0.1:3128"
{defaults_of(FORWARD_KEYS)}
"""


def test_the_defaults_of_mode_forward_in_the_reference_are_those_of_the_code():
    least = 'listeners.proxy = { mode = "forward", bind = "127.0.0.1:3128" }'
    assert parse(WITH_FORWARD, "reference") == parse(least, "least")
    assert [key for key, cells in FORWARD_KEYS.items() if default(cells[1]) is None] == ["auth"]


WITH_CACHE = f"""
{WITH_HTTP.replace("cache = {}", "")}
[listeners.www.routes.cache]
zone = "videos"
{defaults("[listeners.NAME.routes.cache]")}
[caches.videos]
path = "videos"
{defaults("[caches.NAME]")}
"""


def test_the_defaults_of_caches_in_the_reference_are_those_of_the_code():
    least = """
        pools.web.servers = ["10.0.0.1:80"]
        caches.videos.path = "videos"
        [listeners.www]
        mode = "http"
        bind = ":80"
        routes = [{ pool = "web", cache.zone = "videos" }]
        pool = "web"
    """
    assert parse(WITH_CACHE, "reference") == parse(least, "least")


def test_the_parser_knows_the_keys_of_caches_in_the_reference_and_no_others(monkeypatch):
    known = {}
    monkeypatch.setattr(config_table.Table, "finish", lambda table: known.setdefault(table.path, table.known))
    parse(WITH_CACHE, "reference")
    assert known["listeners.www.routes[0].cache"] == {*documented("[listeners.NAME.routes.cache]")}
    assert known["caches.videos"] == {*documented("[caches.NAME]")}


WITH_MEDIA = f"""
listeners.tv = {{ mode = "rtmp", bind = ":1935" }}
[media]
memory = {documented("[media]")["memory"][1].strip("`")}
[media.live.tv]
{defaults("[media.live.NAME]")}
[[media.live.mine.publish]]
name = "show"
key = "secret"
[media.vod.films]
root = "{ROOT}"
{defaults("[media.vod.NAME]")}
"""


def test_the_defaults_of_media_in_the_reference_are_those_of_the_code():
    least = f"""
        listeners.tv = {{ mode = "rtmp", bind = ":1935" }}
        media.live = {{ tv = {{}}, mine.publish = [{{ name = "show", key = "secret" }}] }}
        media.vod.films.root = "{ROOT}"
    """
    assert parse(WITH_MEDIA, "reference") == parse(least, "least")


def test_the_parser_knows_the_keys_of_media_in_the_reference_and_no_others(monkeypatch):
    known = {}
    monkeypatch.setattr(config_table.Table, "finish", lambda table: known.setdefault(table.path, table.known))
    parse(WITH_MEDIA, "reference")
    assert known["media"] == {*documented("[media]")}
    assert known["media.live.tv"] == {*documented("[media.live.NAME]")}
    assert known["media.live.mine.publish[0]"] == {*documented("[[media.live.NAME.publish]]")}
    assert known["media.vod.films"] == {*documented("[media.vod.NAME]")}


def test_the_parser_knows_the_keys_of_mode_forward_in_the_reference_and_no_others(monkeypatch):
    known = {}
    monkeypatch.setattr(config_table.Table, "finish", lambda table: known.setdefault(table.path, table.known))
    parse(WITH_FORWARD, "reference")
    assert known["listeners.proxy"] == {*documented("[listeners.NAME]")} - TCP_KEYS | {*FORWARD_KEYS, "pool"}


def test_the_parser_knows_the_keys_of_mode_http_in_the_reference_and_no_others(monkeypatch):
    known = {}
    monkeypatch.setattr(config_table.Table, "finish", lambda table: known.setdefault(table.path, table.known))
    parse(
        f'{WITH_HTTP}sticky = {{ cookie = "lb" }}\n[users.staff]\nfile = "{ROOT}/tests/data/staff.htpasswd"',
        "reference",
    )
    common = {*documented("[listeners.NAME]")} - TCP_KEYS
    assert known["listeners.www"] == common | {*HTTP_KEYS}
    assert known["listeners.www.routes[0]"] == {*documented("[[listeners.NAME.routes]]")}
    assert known["users.staff"] == {*documented("[users.NAME]")}
    assert known["pools.web.sticky"] == {"cookie", "secret_file"}


def test_the_parser_knows_the_keys_of_cluster_in_the_reference_and_no_others(monkeypatch):
    known = {}
    monkeypatch.setattr(config_table.Table, "finish", lambda table: known.setdefault(table.path, table.known))
    parse((ROOT / "tests" / "data" / "config" / "good" / "everything.toml").read_text(), "reference")
    assert known["cluster"] == {*documented("[cluster]")}
    assert known["cluster.etcd"] == {*rows(section("configuration.md", "### Where etcd is"))}


def test_the_parser_knows_the_keys_of_the_reference_and_no_others(monkeypatch):
    known = {}
    finish = config_table.Table.finish

    def record_keys(table):
        known.setdefault(table.path, set()).update(table.known)
        finish(table)

    monkeypatch.setattr(config_table.Table, "finish", record_keys)
    parse(f'{EVERY_DEFAULT}[[pools.web.servers]]\ndns = "web.internal"\nport = 80', "reference")
    assert known == {
        "": {"process", "log", "admin", "announce", "cluster", "listeners", "pools", "users", "caches", "media"},
        "process": {*documented("[process]")},
        "log": {*documented("[log]")},
        "announce": {*documented("[announce]")},
        "listeners.web": {*documented("[listeners.NAME]")},
        "pools.web": {*documented("[pools.NAME]")},
        "pools.web.strategy": {"name"},
        "pools.web.health": {*documented("[pools.NAME.health]")},
        "pools.web.passive": {*documented("[pools.NAME.passive]")},
        "pools.web.http": {*documented("[pools.NAME.http]")},
        "pools.web.proxy": {*documented("[pools.NAME.proxy]")},
        "pools.web.servers[0]": {*documented("[[pools.NAME.servers]]")},
        "pools.web.servers[1]": {*FROM_DNS},
    }


def test_the_parser_knows_the_keys_of_one_of_several_checks_and_no_others(monkeypatch):
    known = {}
    monkeypatch.setattr(config_table.Table, "finish", lambda table: known.setdefault(table.path, table.known))
    check = f"[[pools.web.health.checks]]\n{defaults('[[pools.NAME.health.checks]]')}"
    parse(f'listeners.web.bind = ":80"\npools.web.servers = ["10.0.0.1:80"]\n{check}', "reference")
    assert known["pools.web.health.checks[0]"] == {*documented("[[pools.NAME.health.checks]]")}


def options_of(plug_in):
    """Return name -> default as in TOML; None if there is none."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(plug_in).parameters.items()}
    toml_terms = {inspect.Parameter.empty: None, (): []}
    return {name: toml_terms.get(default, default) for name, default in defaults.items()}


def documented_options(text):
    return {key: default(cells[1]) for key, cells in rows(text).items()}


@pytest.mark.parametrize("name", healthcheck.registry.names())
def test_every_probe_is_in_the_reference_with_its_options(name):
    _, found, rest = section("configuration.md", "### Probes").partition(f'`probe = "{name}"`')
    assert found
    assert documented_options(rest.partition('`probe = "')[0]) == options_of(healthcheck.registry.load(name))


def test_every_strategy_is_in_the_reference_with_its_options():
    text = section("configuration.md", "## Strategies")
    table, *options = re.split(r"`(.+)` has (?:an option|options):", text)
    documented = {name: documented_options(each) for name, each in zip(options[::2], options[1::2], strict=True)}
    assert [*rows(table)] == strategies.registry.names()
    for name in strategies.registry.names():
        size = {"size": maglev.DEFAULT_SIZE} if name == "consistent-hash" else {}
        assert documented.pop(name, {}) == options_of(strategies.registry.load(name)) | size
    assert not documented


def test_every_variable_is_in_the_reference():
    assert rows(section("http.md", "## Variables")).keys() == {f"{{{name}}}" for name in VARIABLES}


def test_every_variable_of_a_cache_key_is_in_the_reference():
    with pytest.raises(ValueError, match="known: ") as caught:
        KeyTemplate("{}")
    known = str(caught.value).partition("known: ")[2].split(", ")
    assert [*rows(section("cache.md", "## The key"))] == known


def test_every_reason_to_serve_stale_and_every_field_to_ignore_is_in_the_reference():
    table = documented("[listeners.NAME.routes.cache]")
    assert set(re.findall(r'`"(\w+)"`', table["use_stale"][-2])) == set(get_args(StaleReason))
    ignored = set(re.findall(r'`"([\w-]+)"`', table["ignore"][-2]))
    assert {name.lower() for name in ignored} == set(get_args(IgnoredField))


def test_every_type_that_is_compressed_is_in_the_reference():
    named = set(re.findall(r"`([^`]+)`", section("http.md", "## Compression")))
    assert {name.decode().removeprefix("application/") for name in COMPRESSIBLE_TYPES} <= named


NAMED = [getattr(events, name) for name in events.__all__ if hasattr(getattr(events, name), "name")]
EVENTS = [event for event in NAMED if "name" in vars(event)]
"""Without variants, which have the name of another event."""


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_every_event_is_in_the_reference_with_its_fields(event):
    text = section("events.md", f"### `{event.name}` ({event.level})")
    assert [*rows(text)] == [field.name for field in attrs.fields(event)]


@pytest.mark.parametrize("page", ["configuration.md", "events.md", "admin.md", "cache.md", "forward.md", "http.md"])
def test_every_row_of_a_table_says_something(page):
    """Keys, fields, metrics, variables: a row without a sentence is as good as none."""
    assert [key for key, cells in rows((REFERENCE / page).read_text()).items() if not any(cells[-2:])] == []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_every_event_has_a_sentence(event):
    text = section("events.md", f"### `{event.name}` ({event.level})")
    assert text.strip()[:1] not in ("", "|"), "no sentence before the table of the fields"


def test_the_reference_has_what_the_record_of_a_tunnel_has_beside_that_of_a_connection():
    fields = [field.name for field in attrs.fields(events.TunnelClosed)][len(attrs.fields(events.ConnectionClosed)) :]
    assert [*rows(section("events.md", "### Tunnels of forward proxies"))] == fields


def test_the_reference_has_what_the_record_of_a_request_to_a_forward_proxy_has_beside_that_of_others():
    fields = [field.name for field in attrs.fields(events.ProxiedRequest)][len(attrs.fields(events.HttpRequest)) :]
    assert [*rows(section("events.md", "### Requests to forward proxies"))] == fields


def test_the_reference_knows_no_other_events():
    headings = re.findall(r"^### `(.+)` ", (REFERENCE / "events.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(event.name for event in EVENTS)


def test_every_reason_is_in_the_reference():
    table = section("events.md", "### Why a connection ended")
    assert sorted(rows(table)) == sorted(get_args(events.Reason))
    table = section("events.md", "### How a request ended")
    assert sorted(rows(table)) == sorted(get_args(events.RequestReason))
    table = section("events.md", "### Why a publisher ended")
    assert sorted(rows(table)) == sorted(get_args(events.UnpublishReason))
    table = section("events.md", "### Why a publisher was refused")
    assert sorted(rows(table)) == sorted(get_args(events.RefusalReason))


def test_every_command_and_option_is_in_the_reference():
    text = (REFERENCE / "command-line.md").read_text()
    (commands,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert sorted(set(re.findall(r"^\| `lb ([a-z]+)", text, re.MULTILINE))) == sorted(commands.choices)
    options = {option for command in commands.choices.values() for option in command._option_string_actions}
    assert not [option for option in options - {"-h"} if option not in text]


def test_every_command_and_option_of_ctl_is_in_the_reference():
    parser = argparse.ArgumentParser()
    add_ctl(parser)
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    text = section("command-line.md", "## `lb ctl`")
    table = re.findall(r"^\| `([a-z]+)", text, re.MULTILINE)
    assert sorted({*table} & {*commands.choices}) == sorted(commands.choices)
    assert {*table} - {*commands.choices} == {"lb"}
    options = {option for command in commands.choices.values() for option in command._option_string_actions}
    assert not [option for option in options - {"-h", "--help"} if f"`{option}" not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = FENCE.sub("", page.read_text())
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    assert not [target for target in targets if "://" not in target and not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_a_page_has_its_heading(page):
    text = page.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert not [anchor for anchor in re.findall(r"\]\(#([^)]+)\)", text) if anchor not in anchors]


SHOWN = [
    pytest.param(body, id=f"{page.relative_to(ROOT)}:{number}")
    for page in PAGES
    for number, (language, body) in enumerate(FENCE.findall(page.read_text()))
    if language == "toml" and "[listeners." in body
]


@pytest.mark.parametrize("text", SHOWN)
def test_every_whole_configuration_shown_is_valid(text, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "examples")  # has the plug-ins of the pages
    write_certificate(tmp_path, "any", "any.example.org")
    for users in re.findall(r'"(\w+\.htpasswd)"', text):
        (tmp_path / users).write_text("alice:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n")
    for secret in ("office.password", "show.key", "viewers.key"):
        (tmp_path / secret).write_text("secret\n")
    (tmp_path / "site").mkdir()
    text = re.sub(r'"[^"]+\.pem"', '"any.pem"', re.sub(r'(?m)^key = "[^"{]+"', 'key = "any.key"', text))
    text = re.sub(r'\b(files|root|directory) = "[^"]+"', r'\1 = "site"', text)
    assert refused_places(tomli.loads(text)) == set()
    assert parse(text, str(tmp_path / "shown.toml")).listeners


@pytest.mark.parametrize("name", ["galera", "kubernetes", "mqtt", "patroni", "redis-sentinel"])
def test_the_configuration_shown_in_a_how_to_is_that_of_its_example(name):
    shown = [
        body
        for language, body in FENCE.findall((ROOT / "docs" / "how-to" / f"{name}.md").read_text())
        if language == "toml"
    ]
    example = (ROOT / "examples" / f"{name}.toml").read_text()
    assert any(example.endswith(f"\n\n{each}") for each in shown)


def test_the_code_shown_in_the_how_tos_is_that_of_the_examples():
    shown = {
        body
        for page in (ROOT / "docs" / "how-to").glob("*.md")
        for language, body in FENCE.findall(page.read_text())
        if language == "python"
    }
    examples = [path.read_text() for path in (ROOT / "examples").glob("*.py")]
    assert shown
    assert not [body for body in shown if not any(body in example for example in examples)]
