"""The shape of the inside, read from the imports: arrows point downward, there is no circle, decisions are pure."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("lb", "strategies", "healthcheck")
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.name != "__init__.py"
}

LAYERS = (
    ("lb.cli",),
    ("lb.operate.explain_command",),
    ("lb.operate.ctl", "lb.strategy_kit.command", "lb.operate.top"),
    ("lb.operate.ctl_endpoint", "lb.operate.top_picture"),
    (
        "lb.operate.ctl_client",
        "lb.operate.ctl_tables",
        "lb.operate.top_view",
        "lb.operate.ctl_arguments",
        "lb.operate.completion",
    ),
    ("lb.operate.ctl_words",),
    ("lb.strategy_kit.bench", "lb.strategy_kit.choices"),
    ("lb.strategy_kit.checks", "lb.strategy_kit.options"),
    ("lb.strategy_kit.explaining",),
    ("lb.strategy_kit.trial",),
    ("lb.demo*",),  # the only layer whose modules may import each other
    ("lb.rehearse.main",),
    ("lb.rehearse.report",),
    ("lb.rehearse.words", "lb.rehearse.stage", "lb.rehearse.charts"),
    ("lb.rehearse.happenings", "lb.rehearse.outcome"),
    ("lb.rehearse.host", "lb.rehearse.tally", "lb.rehearse.clients", "lb.rehearse.expectation"),
    ("lb.rehearse.probe", "lb.rehearse.splicer", "lb.rehearse.scenario_file", "lb.rehearse.repeatable"),
    ("lb.rehearse.sockets",),
    ("lb.rehearse.servers", "lb.rehearse.imagined"),
    ("lb.rehearse.agenda", "lb.rehearse.scenario"),
    ("lb.run",),
    ("lb.steering",),
    ("lb.service.upgrade",),
    ("lb.admin.admin",),
    ("lb.admin.endpoint",),
    ("lb.admin.api",),
    ("lb.admin.status", "lb.admin.process", "lb.admin.explanation"),
    ("lb.server",),
    ("lb.workers.worker", "lb.workers.workers", "lb.service.successor", "lb.listening"),
    ("lb.workers.crew", "lb.workers.inquiry"),
    (
        "lb.workers.process",
        "lb.workers.line_sender",
        "lb.workers.kept_sockets",
        "lb.service.heritage",
        "lb.service.predecessor",
    ),
    ("lb.admin.sockets",),
    (
        "lb.traffic",
        "lb.backend_tasks",
        "lb.workers.messages",
        "lb.workers.channel",
        "lb.workers.nudges",
        "lb.discovery.discovery",
        "lb.rejection",
        "lb.outliers",
    ),
    ("lb.host",),
    (
        "lb.listener",
        "lb.workers.board",
        "lb.carrier",
        "lb.sockets",
        "lb.log",
        "lb.discovery.servers_file",
        "lb.discovery.dns_client",
        "lb.service.notify",
    ),
    ("lb.greeting_factory",),
    ("lb.tls.steps", "lb.proxy_protocol.steps", "lb.access", "lb.explain.sampling"),
    ("lb.connection", "lb.greeting"),
    ("lb.seeking",),
    ("lb.admin.exposition", "lb.admin.feed", "lb.admin.gate"),
    ("lb.route",),
    ("lb.introduction",),
    ("lb.connection_context", "lb.pools", "lb.workers.shared_pool", "lb.holding", "lb.explain.explanation"),
    ("lb.splicing.factory",),
    ("lb.splicing.epoll_splicer", "lb.splicing.trio_splicer"),
    (
        "lb.splicing.epoll_relay",
        "lb.splicing.epoll_acceptor",
        "lb.splicing.epoll_connecting",
        "lb.splicing.epoll_handler",
        "lb.splicing.trio_relay",
    ),
    ("lb.splicing.epoll_side", "lb.record_line", "lb.sources", "lb.explain.explain"),
    ("lb.splicing.splicer", "lb.pool", "lb.config", "lb.plan", "lb.service.handover"),
    ("lb.tier", "lb.line", "lb.slow_start", "lb.outlier"),
    ("lb.pacing",),
    (
        "lb.backend",
        "lb.binds",
        "lb.workers.slots",
        "lb.splicing.pipes",
        "lb.splicing.deadlines",
        "lb.tls.store",
        "lb.splicing.departures",
        "lb.resolver",
        "lb.describe",
        "lb.key_moves",
        "lb.config_file.listeners",
        "lb.config_file.servers_file",
        "lb.discovery.found",
        "lb.service.given_sockets",
        "lb.service.talk",
        "lb.service.privileges",
    ),
    ("lb.config_file.pools", "lb.config_file.process"),
    ("lb.config_file.tls", "lb.config_file.sni"),
    ("lb.config_file.plugins", "lb.config_file.dns"),
    ("lb.config_file.table",),
    ("lb.config_file.values", "lb.splicing.descriptors"),
    ("strategies.registry", "lb.strategy_drive", "healthcheck.registry", "healthcheck.checker", "lb.tls.contexts"),
    (
        "strategies.*",
        "healthcheck.tcp",
        "healthcheck.http",
        "healthcheck.exchange",
        "healthcheck.exec",
        "healthcheck.tls",
        "healthcheck.redis",
        "healthcheck.postgres",
        "healthcheck.mysql",
        "healthcheck.smtp",
        "healthcheck.agent",
        "healthcheck.mirror",
    ),
    ("healthcheck.conversation",),
    (
        "strategies.base",
        "strategies.ketama",
        "strategies.maglev",
        "healthcheck.probe",
        "healthcheck.options",
        "healthcheck.result",
        "healthcheck.schedule",
        "healthcheck.state",
        "lb.plugins",
    ),
    ("lb.figures", "lb.event_fields", "lb.observers", "lb.overrides"),
    ("lb.tls.handshake", "lb.tls.client_hello"),
    ("lb.service_events",),
    (
        "lb.events",
        "lb.errors",
        "lb.splicing.self_connect",
        "lb.tls.layer",
        "lb.discovery.dns_records",
        "healthcheck.advice",
    ),
    ("lb.connection_record",),
    ("lb.event", "lb.proxy_protocol.header", "lb.explain.decision"),
    ("lb.proxy_protocol.v1", "lb.proxy_protocol.v2"),
    ("lb.proxy_protocol.endpoints",),
    ("lb.model",),
    ("lb.tls.specs",),
    ("lb.operate.screen", "lb.operate.terminal"),
    (
        "lb.address",
        "lb.counts",
        "lb.stalls",
        "lb.timing",
        "lb.networks",
        "lb.proxy_protocol.crc32c",
        "lb.turns",
        "lb.server_names",
    ),
)
"""From top to bottom: a module imports from lower layers only."""

PURE = (
    "lb.address",
    "lb.binds",
    "lb.counts",
    "lb.networks",
    "lb.proxy_protocol.crc32c",
    "lb.proxy_protocol.endpoints",
    "lb.proxy_protocol.header",
    "lb.proxy_protocol.v*",
    "lb.model",
    "lb.events",
    "lb.event",
    "lb.connection_record",
    "lb.tls.specs",
    "lb.figures",
    "lb.observers",
    "lb.overrides",
    "lb.outlier",
    "lb.timing",
    "lb.service.handover",
    "lb.service_events",
    "lb.config*",
    "lb.operate.ctl_words",
    "lb.operate.screen",
    "lb.operate.top_view",
    "lb.operate.top_picture",
    "lb.describe",
    "lb.discovery.dns_records",
    "lb.discovery.found",
    "lb.plan",
    "lb.key_moves",
    "lb.explain.decision",
    "lb.explain.explain",
    "lb.explain.explanation",
    "lb.server_names",
    "lb.rehearse.charts",
    "lb.rehearse.expectation",
    "lb.rehearse.outcome",
    "lb.rehearse.report",
    "lb.rehearse.scenario",
    "lb.rehearse.tally",
    "lb.rehearse.words",
    "lb.backend",
    "lb.pool",
    "lb.workers.shared_pool",
    "lb.workers.slots",
    "lb.line",
    "lb.pacing",
    "lb.slow_start",
    "lb.tier",
    "lb.plugins",
    "lb.strategy_drive",
    "lb.strategy_kit.explaining",
    "lb.strategy_kit.checks",
    "lb.strategy_kit.options",
    "lb.strategy_kit.trial",
    "strategies.*",
    "healthcheck.advice",
    "healthcheck.state",
    "healthcheck.mirror",
    "healthcheck.schedule",
    "healthcheck.result",
)
IMPURE = {
    "asyncio", "datetime", "http", "multiprocessing", "os", "select", "selectors", "signal", "socket", "ssl",
    "subprocess", "threading", "time", "trio", "urllib",
}  # fmt: skip
PURE_MAY_NAME = {"healthcheck.registry", "lb.tls.contexts"}
"""They give out probes and contexts, which do I/O once used; the configuration tries out whether they start."""

PURE_PART_OF = {"lb.address": {"socket"}, "lb.operate.ctl_words": {"datetime"}}
"""What they use of these reads no clock and opens nothing: the type of an address, and times as text."""

LONGEST_FILE = 300


def imports(path):
    """All modules that a file imports at run time, in functions too; not what is for the type checker only."""
    found = set()
    nodes = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= modules & SOURCES.keys() or {node.module}
        else:
            nodes += ast.iter_child_nodes(node)
    return found


IMPORTS = {module: imports(path) for module, path in SOURCES.items()}
GRAPH = {module: found & SOURCES.keys() for module, found in IMPORTS.items()}


def layer(module):
    """Its number, 0 on top; None for a module that the table does not know. A name counts before a pattern."""
    named = [number for number, patterns in enumerate(LAYERS) if module in patterns]
    fitting = [number for number, patterns in enumerate(LAYERS) if any(fnmatch(module, each) for each in patterns)]
    return next(iter(named + fitting), None)


def is_pure(module):
    return any(fnmatch(module, pattern) for pattern in PURE)


def circle(graph):
    """The modules of one import circle, first and last the same; None if there is none."""
    done = set()

    def visit(module, trail):
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return None
        found = next(filter(None, (visit(each, [*trail, module]) for each in sorted(graph[module]))), None)
        done.add(module)
        return found

    return next(filter(None, (visit(module, []) for module in sorted(graph))), None)


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_from_lower_layers_only(module):
    assert layer(module) is not None, f"{module} is new: give it a layer in LAYERS"
    upward = [
        imported
        for imported in GRAPH[module]
        if layer(imported) <= layer(module) and not (fnmatch(module, "lb.demo*") and fnmatch(imported, "lb.demo*"))
    ]
    assert not upward


def test_every_layer_exists():
    known = {pattern for patterns in LAYERS for pattern in patterns}
    unused = {pattern for pattern in known if not any(fnmatch(module, pattern) for module in SOURCES)}
    assert not unused


def test_no_modules_import_each_other_in_a_circle():
    assert circle(GRAPH) is None


def test_a_circle_would_be_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]


@pytest.mark.parametrize("module", [module for module in SOURCES if is_pure(module)])
def test_decisions_do_no_io_and_have_no_clock(module):
    outside = {name.partition(".")[0] for name in IMPORTS[module]}
    assert not outside & IMPURE - PURE_PART_OF.get(module, set())
    assert not {name for name in GRAPH[module] - PURE_MAY_NAME if not is_pure(name)}


def test_addresses_use_socket_for_a_type_only():
    tree = ast.parse(SOURCES["lb.address"].read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "socket"
    }
    assert used == {"AddressFamily"}


@pytest.mark.parametrize(
    ("library", "users"),
    [
        ("structlog", ("lb.log",)),
        ("rich", ("lb.demo*", "lb.operate.ctl_tables", "lb.operate.top*", "lb.operate.screen")),
        ("hypercorn", ("lb.admin.endpoint",)),
        ("starlette", ("lb.admin.*",)),
        ("prometheus_client", ("lb.admin.exposition",)),
    ],
)
def test_the_traffic_knows_neither_log_nor_screen_nor_admin(library, users):
    importing = {name for name, found in IMPORTS.items() if library in {each.partition(".")[0] for each in found}}
    assert not {name for name in importing if not any(fnmatch(name, user) for user in users)}


PACKAGE_FILES = [
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("__init__.py")
    if path.parent != ROOT / "lb" / "demo"
]


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_a_package_itself_says_at_most_what_it_holds(path):
    """So that whoever imports one of its modules imports that alone."""
    assert all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


def test_a_start_loads_no_library_that_it_may_not_need():
    names = "import json, sys, lb.run; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", names], check=True, capture_output=True).stdout)
    assert not set(loaded) & {
        "h11",
        "hypothesis",
        "pytest",
        "trio.testing",
        "xxhash",
        "dns",
        "lb.discovery.dns_client",
        "hypercorn",
        "starlette",
        "prometheus_client",
        "lb.demo",
        "lb.cli",
    }


@pytest.mark.parametrize("module", SOURCES)
def test_a_file_is_short_enough_to_read(module):
    assert len(SOURCES[module].read_text().splitlines()) <= LONGEST_FILE
