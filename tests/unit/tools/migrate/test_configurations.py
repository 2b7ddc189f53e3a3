"""Configurations of HAProxy, Traefik and Squid as lb.toml: each in tests/data/migrate becomes the .toml beside it.

``MIGRATE_WRITE=1`` writes these files anew, to be read before they are committed.
"""

from __future__ import annotations

import os

import pytest

from lb.config.load import ConfigError, parse
from lb.tools.migrate.formats import FORMATS, format_of
from lb.tools.migrate.main import OF_THIS_MACHINE
from lb.tools.migrate.toml_text import toml_text
from tests.support.migrating import DATA
from tests.support.paths import ROOT

SOURCES = {"haproxy": ("*.cfg",), "traefik": ("*.yml", "*.file.toml"), "squid": ("*.conf",)}
FILES = [
    (program, path)
    for program, patterns in SOURCES.items()
    for pattern in patterns
    for path in sorted((DATA / program).glob(pattern))
]
NAMES = [f"{program}/{path.name}" for program, path in FILES]
GAPS = {
    "haproxy/gaps": [
        *("lua-load", "peers", "errorfile", "log-format", "acl", "acl", "acl", "http-request", "http-request"),
        *("http-request", "use_backend", "use_backend", "use_backend", "use_backend", "use_backend"),
        *("stick store-response", "cookie", "http-response", "server", "server"),
    ],
    "traefik/gaps": [
        *("dns", "certificatesResolvers", "docker", "dashboard", "rule", "rule", "middlewares", "circuitBreaker"),
        *("inFlightReq", "accessControlAllowOriginList", "accessControlAllowMethods", "mirrors"),
    ],
    "squid/gaps": [
        *("acl", "acl", "http_access", "http_access", "http_access", "http_access", "http_port", "http_port"),
        *("ssl_bump", "url_rewrite_program", "icap_enable", "cache_peer", "cache_peer", "refresh_pattern"),
        "request_header_access",
    ],
}
"""The directives without a counterpart, by file; the others are complete."""


@pytest.mark.parametrize(("program", "path"), FILES, ids=NAMES)
def test_a_configuration_becomes_what_a_person_would_write(program, path):
    name = path.name.partition(".")[0]
    expected = path.with_name(f"{name}.toml")
    migration = FORMATS[program].translate(path)
    text = toml_text(migration.draft)
    if os.environ.get("MIGRATE_WRITE"):
        expected.write_text(text)
    assert text == expected.read_text()
    gaps = [each.directive.name for each in migration.findings() if each.outcome == "gap"]
    assert gaps == GAPS.get(f"{program}/{name}", [])


@pytest.mark.parametrize(("program", "path"), FILES, ids=NAMES)
def test_what_comes_out_is_a_valid_configuration(program, path):
    try:
        parse(toml_text(FORMATS[program].translate(path).draft), "lb.toml")
    except ConfigError as error:
        others = [each for each in error.errors if not any(text in each for text in OF_THIS_MACHINE)]
        assert others == []


@pytest.mark.parametrize(("program", "path"), FILES, ids=NAMES)
def test_the_content_tells_the_program(program, path):
    assert format_of(path.with_name("some.text"), path.read_text()).name == program


@pytest.mark.parametrize(("program", "path"), FILES, ids=NAMES)
def test_every_line_is_accounted_for(program, path):
    migration = FORMATS[program].translate(path)
    said = {each.directive.line for each in migration.findings()}
    lines = path.read_text().splitlines()
    silent = [
        number
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith(("#", "- ", "[[", "[")) and number not in said
    ]
    assert silent == []


@pytest.mark.parametrize("program", SOURCES)
def test_the_how_to_has_all_words(program):
    page = (ROOT / "docs" / "how-to" / f"from-{program}.md").read_text()
    assert [word for word in FORMATS[program].words() if f"`{word}`" not in page] == []


@pytest.mark.parametrize(("program", "path"), FILES, ids=NAMES)
def test_no_secret_is_shown(program, path):
    migration = FORMATS[program].translate(path)
    shown = toml_text(migration.draft) + "".join(str(each.directive) for each in migration.findings())
    for secret in ("$6$k6y3o", "salt$hash", "branch:secret"):
        assert secret not in shown
