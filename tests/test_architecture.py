"""The shape of the source, read from its files: arrows point downward, there is no circle, decisions are pure."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import defaultdict
from fnmatch import fnmatch

import pytest

from tests.support.imports import (
    ALLOWED,
    allowed,
    circle,
    floors,
    imports,
    module_graph,
    package_graph,
    package_of,
    sources,
)

MODULES = [module for module, path in sources().items() if path.name != "__init__.py"]

PURE = (
    "lb.admin.pool_history",
    "lb.cache.cache_control",
    "lb.cache.cache_key",
    "lb.cache.cache_status",
    "lb.cache.freshness",
    "lb.cache.header_fields",
    "lb.cache.invalidation",
    "lb.cache.policy",
    "lb.cache.stored_fields",
    "lb.cache.vary",
    "lb.cluster.json_object",
    "lb.cluster.node_state",
    "lb.cluster.said_override",
    "lb.cluster.shared_overrides",
    "lb.config.*",
    "lb.console.screen",
    "lb.console.text",
    "lb.console.top_picture",
    "lb.console.top_caches",
    "lb.console.top_requests",
    "lb.console.top_rows",
    "lb.console.top_streams",
    "lb.console.top_view",
    "lb.control.overrides",
    "lb.control.plan",
    "lb.dataplane.forwarded",
    "lb.dataplane.requests",
    "lb.dataplane.stats",
    "lb.dataplane.viewers",
    "lb.discovery.dns_records",
    "lb.discovery.etcd_entries",
    "lb.discovery.known",
    "lb.discovery.merge",
    "lb.etcd.errors",
    "lb.etcd.messages",
    "lb.kubernetes.endpoints",
    "lb.kubernetes.watch_lines",
    "lb.events",
    "lb.events.*",
    "lb.explain.*",
    "lb.forward.*settings",
    "lb.forward.rules",
    "lb.forward.socks",
    "lb.forward.target",
    "lb.http.*_settings",
    "lb.http.compression",
    "lb.http.error_page",
    "lb.http.explanation",
    "lb.http.forwarded",
    "lb.http.header_edits",
    "lb.http.locations",
    "lb.http.rewriting",
    "lb.http.route_*",
    "lb.http.routes",
    "lb.http.settings",
    "lb.http.sticky_values",
    "lb.http.templates",
    "lb.http.viewer_links",
    "lb.http1.*",
    "lb.http2.*",
    "lb.media.rtmp.*",
    "lb.media.flv",
    "lb.media.frames",
    "lb.media.audio_samples",
    "lb.media.cutter",
    "lb.media.dash",
    "lb.media.hls",
    "lb.media.iso_times",
    "lb.media.ladder",
    "lb.media.live_playlists",
    "lb.media.live_manifest",
    "lb.media.live_resources",
    "lb.media.live_run",
    "lb.media.live_stream",
    "lb.media.live_tracks",
    "lb.media.publish_keys",
    "lb.media.open_segment",
    "lb.media.audio_cuts",
    "lb.media.timeline",
    "lb.media.movie",
    "lb.media.movie_fragments",
    "lb.media.mp4_boxes",
    "lb.media.recorded_movie",
    "lb.media.responses",
    "lb.media.sample_table",
    "lb.media.vod_cuts",
    "lb.model",
    "lb.model.*",
    "lb.tools.migrate.amounts",
    "lb.tools.migrate.first_match",
    "lb.tools.migrate.haproxy.values",
    "lb.tools.migrate.paths_and_hosts",
    "lb.tools.migrate.route_edits",
    "lb.tools.migrate.squid.units",
    "lb.tools.migrate.traefik.durations",
    "lb.tools.migrate.traefik.router_rules",
    "lb.tools.migrate.word_patterns",
    "lb.pools.backend",
    "lb.pools.outlier_detection",
    "lb.pools.pool",
    "lb.pools.priority_group",
    "lb.pools.shared_pool",
    "lb.pools.slow_start",
    "lb.pools.turns_begin",
    "lb.pools.wait_queue",
    "lb.proxy_protocol.*",
    "lb.service.handover",
    "lb.tcp.settings",
    "lb.tools.migrate.draft",
    "lb.tools.migrate.migration",
    "lb.tools.migrate.nginx.conditions",
    "lb.tools.migrate.nginx.locations",
    "lb.tools.migrate.nginx.scope",
    "lb.tools.migrate.nginx.units",
    "lb.tools.migrate.nginx.variables",
    "lb.tools.migrate.nginx.words",
    "lb.tools.migrate.toml_text",
    "lb.tools.rehearse.charts",
    "lb.tools.rehearse.expectation",
    "lb.tools.rehearse.outcome",
    "lb.tools.rehearse.placement",
    "lb.tools.rehearse.reactions",
    "lb.tools.rehearse.recorder",
    "lb.tools.rehearse.report",
    "lb.tools.rehearse.scenario",
    "lb.tools.rehearse.words",
    "lb.tools.strategy_kit.checks",
    "lb.tools.strategy_kit.explaining",
    "lb.tools.strategy_kit.options",
    "lb.tools.strategy_kit.trial",
    "healthcheck.assignment",
    "healthcheck.mirror",
    "healthcheck.result",
    "healthcheck.schedule",
    "healthcheck.shared_checks",
    "healthcheck.state",
    "strategies.*",
)
IMPURE = {
    "asyncio", "datetime", "http", "multiprocessing", "os", "select", "selectors", "signal", "socket", "ssl",
    "subprocess", "threading", "time", "trio", "urllib",
}  # fmt: skip
PURE_MAY_NAME = {"healthcheck.registry", "lb.net.files", "lb.net.own_name", "lb.tls.contexts"}
"""They give out probes and contexts, which do I/O once used; the configuration tries out whether they can be made.
``files`` has the reads that the configuration does, ``own_name`` a default that differs between hosts."""
PURE_PART_OF = {
    "lb.cache.invalidation": {"urllib"},
    "lb.config.warnings": {"datetime"},
    "lb.console.text": {"datetime"},
    "lb.http.error_page": {"http"},
    "lb.http.rewriting": {"urllib"},
    "lb.media.iso_times": {"datetime"},
    "lb.model.http_dates": {"datetime"},
    "lb.http1.wire": {"http"},
    "lb.http1.target": {"urllib"},
    "lb.model.hook_url": {"urllib"},
    "lb.model.rtmp_address": {"urllib"},
    "lb.media.rtmp.stream_name": {"urllib"},
    "lb.model.address": {"socket"},
}
"""What they use of these reads no clock and opens nothing: dates, phrases, escapes, the type of an address."""

MAX_FUNCTION_LINES = 40
LONG_FUNCTIONS = {
    "lb.tcp.connection._finish": "the record has a line for each field, and another call would cost each connection",
}
"""``module.function`` -> why it is longer."""

SAME_MEANING = {
    "T": "a type variable is local to its module",
    "Ts": "likewise",
    "WORDS": "what `lb migrate` knows of the words of each program",
    "build": "the tables of consistent hashing: each table's module builds its own",
    "create": "the registries of strategies and probes: make a plug-in",
    "encode": "codecs: the two versions of the PROXY header, and messages of workers",
    "end_of_header": "the two versions of the PROXY header",
    "load": "registries load a class by name, the configuration a file: read as modes.load, config.load.load",
    "main": "programs of their own",
    "nearest": "what `lb migrate` knows of the words of each program",
    "names": "the registries, and the names that workers count under",
    "parse": "codecs: text or bytes to values",
    "read_settings": "the keys of a listener, read by its mode",
    "secret": "readers of the configuration, and of the options of probes",
    "text": "readers of the configuration, and of the options of probes",
    "translate": "the programs that `lb migrate` reads: called by format",
    "why_not_needed": "what `lb migrate` knows of the words of each program",
}
"""Names that stand in several modules for the same thing, and why."""


def is_pure(module):
    return any(fnmatch(module, pattern) for pattern in PURE)


def test_every_package_is_in_the_list():
    assert {package_of(module) for module in MODULES} <= {*ALLOWED, "tools", "cli", "__main__"}


@pytest.mark.parametrize("package", sorted({package_of(module) for module in MODULES}))
def test_a_package_imports_only_what_it_may(package):
    found = package_graph()[package]
    assert [line for other in found.keys() - allowed(package) for line in found[other]] == []


def test_no_packages_import_each_other_in_a_circle():
    assert circle({package: set(found) for package, found in package_graph().items()}) is None


def test_no_modules_import_each_other_in_a_circle():
    assert circle(module_graph()) is None


def test_a_circle_would_be_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]


def test_floors_stand_on_what_they_import():
    assert floors({"top": {"low", "mid"}, "mid": {"low"}, "low": set(), "aside": set()}) == [
        ["top"],
        ["mid"],
        ["aside", "low"],
    ]


@pytest.mark.parametrize("module", [module for module in MODULES if is_pure(module)])
def test_decisions_do_no_io_and_have_no_clock(module):
    outside = {name.partition(".")[0] for name in imports(module)}
    assert not outside & IMPURE - PURE_PART_OF.get(module, set())
    assert not {name for name in module_graph()[module] - PURE_MAY_NAME if not is_pure(name)}


def test_every_pure_module_exists():
    assert [pattern for pattern in PURE if not any(fnmatch(module, pattern) for module in sources())] == []


def test_addresses_use_socket_for_a_type_only():
    tree = ast.parse(sources()["lb.model.address"].read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "socket"
    }
    assert used == {"AddressFamily"}


def public_names(tree):
    """Names defined at the top of a module, without those that begin with an underscore."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def test_a_public_name_means_one_thing():
    homes = defaultdict(set)
    for module in MODULES:
        for name in public_names(ast.parse(sources()[module].read_text())):
            homes[name].add(module)
    assert {name: sorted(found) for name, found in homes.items() if len(found) > 1 and name not in SAME_MEANING} == {}
    assert [name for name in SAME_MEANING if len(homes[name]) < 2] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_function_fits_a_screen(module):
    long = {
        f"{module}.{node.name}": node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(sources()[module].read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert {name: lines for name, lines in long.items() if name not in LONG_FUNCTIONS} == {}


@pytest.mark.parametrize(
    ("library", "users"),
    [
        ("av", ("lb.media.fragment", "lb.media.index", "lb.tools.testcard.*")),
        ("structlog", ("lb.log.console_lines",)),
        ("rich", ("lb.tools.demo*", "lb.console.tables", "lb.console.top*", "lb.console.screen")),
    ],
)
def test_the_traffic_knows_neither_log_nor_screen_nor_admin(library, users):
    importing = {name for name in MODULES if library in {each.partition(".")[0] for each in imports(name)}}
    assert not {name for name in importing if not any(fnmatch(name, user) for user in users)}


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(("lb.console.", "lb.tools."))])
def test_what_blocks_runs_in_the_threads_of_its_purpose(module):
    """trio's own threads, 40 for everybody, are for exec probes alone."""
    calls = [ast.unparse(node) for node in ast.walk(ast.parse(sources()[module].read_text())) if named(node)]
    shared = {"trio.to_thread.run_sync", "trio.socket.getaddrinfo", "trio.run_process", "trio.Path"}
    shared |= {"trio.open_file", "trio.lowlevel.open_process"}
    users = {"lb.net.threads": {"trio.to_thread.run_sync"}, "healthcheck.probes.exec": {"trio.lowlevel.open_process"}}
    assert shared & set(calls) == users.get(module, set())


def named(node):
    return isinstance(node, ast.Attribute)


FACES = {"lb", "lb.events", "lb.model", "lb.tools.demo"}
"""Packages that hand names on: the version, for authors of plug-ins, and for ``lb demo``."""


@pytest.mark.parametrize("package", [name for name in sources() if name not in {*MODULES, *FACES}])
def test_a_package_itself_says_at_most_what_it_holds(package):
    """So that whoever imports one of its modules imports that alone."""
    assert all(isinstance(node, ast.Expr) for node in ast.parse(sources()[package].read_text()).body)


def test_a_start_loads_no_library_that_it_may_not_need():
    names = "import json, sys, lb.service.run; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", names], check=True, capture_output=True).stdout)
    assert not set(loaded) & {
        "argon2",
        "av",
        "bcrypt",
        "brotli",
        "crossplane",
        "cryptography",
        "dns",
        "h11",
        "h2",
        "hpack",
        "httpx",
        "hypothesis",
        "inotify_simple",
        "lb.admin.endpoint",
        "lb.cli",
        "lb.discovery.dns_client",
        "lb.http2",
        "lb.media",
        "lb.tools",
        "passlib",
        "pytest",
        "rich",
        "structlog",
        "trio.testing",
        "xxhash",
        "zstandard",
    }
