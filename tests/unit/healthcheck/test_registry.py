import socket
import subprocess
import sys
from functools import partial

import pytest
import trio

from healthcheck import registry
from healthcheck.probe import Probe, ProbeFailed, Target
from healthcheck.probes.http import HttpProbe
from lb.model import PluginSpec
from lb.model.address import Address
from tests.support.paths import EXAMPLES

BUILT_IN = ["tcp", "http", "grpc", "tls", "exchange", "exec", "redis", "postgres", "mysql", "smtp", "agent"]

MODULE = """
from healthcheck.probe import Probe

class Unfinished(Probe):
    pass

class Picky(Probe):
    def __init__(self, level, **others):
        self.options = {"level": level + 0, **others}

    async def check(self, target):
        return "fine"

class Shelf:
    Picky = Picky

number = 5
"""
INSTALLED = """
[lb.probes]
picky = users_probes:Shelf.Picky
lost = no_such_module:Probe
tcp = users_probes:Picky
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A user's module, unloaded afterwards."""
    (tmp_path / "users_probes.py").write_text(MODULE)
    (tmp_path / "users_broken_probes.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("users_probes", None)


@pytest.fixture
def installed(module, tmp_path):
    """The same module as an installed distribution with entry points."""
    metadata = tmp_path / "users_probes-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: users-probes\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(INSTALLED)


def failure(name, **options):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the tests compare the text
        registry.create(PluginSpec(name, tuple(options.items())))
    return str(caught.value)


def test_the_built_ins_have_the_names_of_the_contract():
    assert registry.names()[: len(BUILT_IN)] == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_loads(name):
    assert issubclass(registry.load(name), Probe)


def test_options_reach_the_constructor():
    with pytest.raises(ValueError, match="path: must begin"):
        registry.create(PluginSpec("http", (("path", "x"),)))
    assert isinstance(registry.create(PluginSpec("http", (("path", "/x"),))), HttpProbe)


def test_an_unknown_name_gets_a_suggestion_and_the_list(installed):
    assert failure("htpp") == (f"unknown probe 'htpp', did you mean 'http'?; known: {', '.join(BUILT_IN)}, lost, picky")


def test_an_unknown_option_gets_a_suggestion_and_the_list():
    assert failure("http", expect_stat="200") == (
        "http has no option 'expect_stat', did you mean 'expect_status'?; "
        "it has method, path, host, headers, expect_status, expect_body, reuse"
    )
    assert failure("tcp", send="x") == "tcp has no option 'send'; it has none"


def test_a_missing_option_is_named():
    assert "command" in failure("exec")


def test_an_entry_point_is_found_by_its_name(installed):
    probe = registry.create(PluginSpec("picky", (("level", 1), ("extra", 2))))
    assert probe.options == {"level": 1, "extra": 2}


def test_a_built_in_cannot_be_replaced_by_an_entry_point(installed):
    assert registry.load("tcp").__module__ == "healthcheck.probes.tcp"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lost", "probe 'lost': module 'no_such_module' does not import: ModuleNotFoundError: "),
        ("users_broken_probes:X", "probe 'users_broken_probes:X': module 'users_broken_probes' does not import: Zero"),
        ("users_probes:Piky", "probe 'users_probes:Piky': module 'users_probes' has no 'Piky', did you mean 'Picky'?"),
        ("users_probes:number", "probe 'users_probes:number': users_probes:number is not a subclass of healthcheck"),
        ("users_probes:Unfinished", "probe 'users_probes:Unfinished': users_probes:Unfinished does not define check"),
        ("users_probes:", "probe 'users_probes:': must be 'module:Name', not 'users_probes:'"),
        (":Picky", "probe ':Picky': must be 'module:Name', not ':Picky'"),
    ],
)
def test_what_is_wrong_with_a_plug_in_is_said(installed, name, message):
    assert failure(name).startswith(message)


def test_an_option_of_a_wrong_type_is_the_configuration_s_error(module):
    assert failure("users_probes:Picky", level="x").startswith("users_probes:Picky: ")


def test_only_a_probe_that_is_used_is_imported():
    code = "import sys, healthcheck.registry as r; r.load('tcp'); print('h11' in sys.modules); r.load('http')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.fixture
def banner(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return registry.create(PluginSpec("probe_banner:Banner", (("text", "220 "),)))


@pytest.mark.parametrize(("greeting", "passes"), [(b"220 mail.example\r\n", True), (b"554 no\r\n", False)])
async def test_the_example_works(banner, greeting, passes):
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, lambda stream: stream.send_all(greeting), 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        sockaddr = listener.socket.getsockname()
        target = Target("mail", "a", Address.parse(f"127.0.0.1:{sockaddr[1]}"), ((socket.AF_INET, sockaddr),))
        if passes:
            assert await banner.check(target) == "220 mail.example\r\n"
        else:
            with pytest.raises(ProbeFailed, match="554 no"):
                await banner.check(target)
        nursery.cancel_scope.cancel()
