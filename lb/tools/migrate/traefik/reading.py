"""Read a file of Traefik, YAML or TOML, as a tree of directives."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs

from lb.config.lines import key_lines
from lb.tools.migrate.files import configuration_text
from lb.tools.migrate.formats import UnreadableError
from lb.tools.migrate.migration import Directive

if TYPE_CHECKING:
    from yaml import MappingNode, Node

__all__ = ["ITEM", "read_traefik"]

ITEM = "-"
"""The name of an item of a list of tables."""
_MOST_NODES = 100_000
"""Aliases of aliases multiply."""
_SECRET = ("users", "password")
"""Keys whose values are not shown."""


def read_traefik(path: Path) -> Directive:
    """Return the file as a block without a name. Raises UnreadableError."""
    text = configuration_text(path)
    return _read_toml(path, text) if path.suffix == ".toml" else _read_yaml(path, text)


def _read_toml(path: Path, text: str) -> Directive:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableError(f"{path}: {error}") from error
    lines = key_lines(text)
    return Directive("", (), path.name, 0, _of_table(content, "", lines, path.name))


def _of_table(table: Mapping[str, Any], path: str, lines: Mapping[str, int], file: str) -> tuple[Directive, ...]:
    found = []
    for key, value in table.items():
        at = f"{path}.{key}" if path else key
        found.append(_of_value(key, value, at, lines, file))
    return tuple(found)


def _of_value(key: str, value: object, at: str, lines: Mapping[str, int], file: str) -> Directive:
    line = lines.get(at) or next((number for each, number in lines.items() if each.startswith(at)), 0)
    if isinstance(value, dict):
        return Directive(key, (), file, line, _of_table(value, at, lines, file))
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        items = [_of_value(ITEM, each, f"{at}[{number}]", lines, file) for number, each in enumerate(value)]
        return Directive(key, (), file, line, tuple(items))
    return Directive(key, _words(key, value if isinstance(value, list) else [value]), file, line)


def _words(key: str, values: list[Any]) -> tuple[str, ...]:
    if key.lower() in _SECRET:
        return ("(hidden)",)
    return tuple(str(each).lower() if isinstance(each, bool) else str(each) for each in values)


def _read_yaml(path: Path, text: str) -> Directive:
    try:
        import yaml  # noqa: PLC0415 - an extra, for this format alone
    except ImportError as error:
        raise UnreadableError("YAML needs its parser: pip install 'trio-lb[migrate]'") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UnreadableError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(node, yaml.MappingNode):
        raise UnreadableError(f"{path}: is no table of keys")
    try:
        return Directive("", (), path.name, 0, _YamlNodes(path).of_mapping(node))
    except RecursionError as error:
        raise UnreadableError(f"{path}: an alias leads back to itself") from error


@attrs.define
class _YamlNodes:
    """The nodes of a YAML file as directives. An alias is read wherever it stands."""

    path: Path
    _number: int = 0

    def of_mapping(self, node: MappingNode) -> tuple[Directive, ...]:
        return tuple(self._of_node(key.value, value, key.start_mark.line + 1) for key, value in node.value)

    def _of_node(self, key: str, node: Node, line: int) -> Directive:
        self._number += 1
        if self._number > _MOST_NODES:
            raise UnreadableError(f"{self.path}: more than {_MOST_NODES} keys, with those of aliases")
        file = self.path.name
        if _is_mapping(node):
            return Directive(key, (), file, line, self.of_mapping(cast("MappingNode", node)))
        values: list[Node] = node.value if type(node).__name__ == "SequenceNode" else [node]
        if any(map(_is_mapping, values)):
            items = (self._of_node(ITEM, each, each.start_mark.line + 1) for each in values)
            return Directive(key, (), file, line, tuple(items))
        return Directive(key, _words(key, [each.value for each in values]), file, line)


def _is_mapping(node: Node) -> bool:
    return type(node).__name__ == "MappingNode"
