"""Plug-ins beside the configuration: a module of the same name that is ours, installed or of Python hides none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import strategies
from lb.config.load import load, parse
from lb.model.plugin_modules import import_plugin, plugin_directories, search_beside
from strategies import registry

OWN = """
from strategies.base import Strategy

class Own(Strategy):
    home = __file__
    def pick(self, client, tried):
        return next(self.candidates(tried), None)
"""


@pytest.fixture(autouse=True)
def _unchanged(monkeypatch):
    """Leave the search path and the modules as they were."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = dict(sys.modules)
    sys.modules.pop("beside_configuration", None)
    yield
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


def write(directory, module, text=OWN):
    file = directory.joinpath(*module.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def config_with(directory, strategy):
    path = directory / "lb.toml"
    path.write_text(f'[listeners.web]\nbind = ":80"\n[pools.web]\nstrategy = "{strategy}"\nservers = ["10.0.0.1:80"]\n')
    return path


@pytest.mark.parametrize(
    "module", ["strategies", "healthcheck", "lb", "trio", "random", "mine", "strategies.mine", "my.own"]
)
def test_a_users_own_file_is_found_whatever_its_name(tmp_path, module):
    file = write(tmp_path, module)
    spec = load(config_with(tmp_path, f"{module}:Own")).pools["web"].strategy
    assert type(registry.create(spec)).home == str(file)


def test_our_package_stays_what_it_is(tmp_path):
    write(tmp_path, "strategies")
    write(tmp_path, "strategies.weighted", "raise RuntimeError")
    load(config_with(tmp_path, "weighted"))
    assert sys.modules["strategies"] is strategies
    assert registry.load("weighted").__module__ == "strategies.weighted"


def test_a_module_without_a_rival_is_imported_under_its_own_name(tmp_path):
    """So that the user's other files share it."""
    write(tmp_path, "no_rival")
    load(config_with(tmp_path, "no_rival:Own"))
    assert registry.load("no_rival:Own") is sys.modules["no_rival"].Own


def test_a_module_that_is_not_beside_the_file_is_found_as_before(tmp_path):
    assert load(config_with(tmp_path, "strategies.weighted:Weighted"))


def test_the_file_of_the_configuration_read_last_wins(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    files = [write(each, "random", f"home = {str(each)!r}") for each in (one, two)]
    for directory in (one, two, one):
        search_beside(directory)
        assert import_plugin("random").home == str(directory)
    assert plugin_directories() == [str(one), str(two)]
    files[0].unlink()
    search_beside(two)
    assert import_plugin("random").home == str(two)


def test_a_text_is_beside_its_file_too(tmp_path):
    write(tmp_path, "strategies")
    text = config_with(tmp_path, "strategies:Own").read_text()
    assert parse(text, str(tmp_path / "other.toml")).pools["web"].strategy.name == "strategies:Own"


@pytest.mark.parametrize("name", ["__main__", "", "..", "a..b", "../up", "a\0b"])
def test_a_strange_name_is_an_import_error(tmp_path, name):
    search_beside(tmp_path)
    write(tmp_path, "up")
    search_beside(Path(tmp_path, "below"))
    with pytest.raises(ValueError, match=r"does not import|must be 'module:Name'|has no 'Own'"):
        registry.load(f"{name}:Own")
