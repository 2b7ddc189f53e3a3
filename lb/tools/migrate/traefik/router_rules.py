"""Rules of Traefik's routers as conditions. Pure."""

from __future__ import annotations

import re
from itertools import product

import attrs

from lb.tools.migrate.first_match import ALWAYS, ConditionTerm, RequestCondition, RequestMatch, negation
from lb.tools.migrate.paths_and_hosts import hosts_of_regex, paths_of_pattern

__all__ = ["NoSuchRuleError", "RouterRule", "read_rule"]

_TOKEN = re.compile(r"\s*(?:(?P<mark>&&|\|\||[!(),])|(?P<name>[A-Za-z]+)|(?P<text>`[^`]*`|\"[^\"]*\"|'[^']*'))")
_LABEL_PATTERN = re.compile(r"\{[a-z0-9_]*(?::[^{}]*)?\}\.")
"""``{subdomain:[a-z]+}.`` of version 2."""


class NoSuchRuleError(Exception):
    """A rule has no counterpart. The text says what comes nearest."""


@attrs.frozen
class RouterRule:
    """What a rule says."""

    condition: RequestCondition = ALWAYS
    notes: tuple[str, ...] = ()


def read_rule(text: str) -> RouterRule:
    """Return the condition of a rule. Raises NoSuchRuleError."""
    parser = _Parser([*_tokens(text)])
    condition = parser.either()
    if parser.tokens:
        raise NoSuchRuleError(f"{parser.tokens[0]} is not expected there")
    return RouterRule(condition, tuple(dict.fromkeys(parser.notes)))


def _tokens(text: str) -> list[str]:
    found, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise NoSuchRuleError(f"{text[position:].strip()[:20]} is not expected there")
        found.append(match[0].strip())
        position = match.end()
    return found


@attrs.define
class _Parser:
    tokens: list[str]
    notes: list[str] = attrs.field(factory=list)

    def either(self) -> RequestCondition:
        found = self.both()
        while self._take("||"):
            found = (*found, *self.both())
        return found

    def both(self) -> RequestCondition:
        found = self.one()
        while self._take("&&"):
            found = tuple((*left, *right) for left, right in product(found, self.one()))
        return found

    def one(self) -> RequestCondition:
        if self._take("!"):
            return negation(self.one())
        if self._take("("):
            found = self.either()
            self._expect(")")
            return found
        name = self.tokens.pop(0) if self.tokens else ""
        self._expect("(")
        values = []
        while not self._take(")"):
            if not self.tokens:
                raise NoSuchRuleError(") is missing")
            word = self.tokens.pop(0)
            values.extend([word[1:-1]] if word[0] in "`\"'" else [])
        return ((ConditionTerm(self._matches(name, values)),),)

    def _take(self, mark: str) -> bool:
        if self.tokens[:1] == [mark]:
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise NoSuchRuleError(f"{mark} is missing")

    def _matches(self, name: str, values: list[str]) -> tuple[RequestMatch, ...]:
        match name:
            case "Host" | "HostHeader" | "HostSNI":
                return tuple(RequestMatch(host="" if each == "*" else each.lower()) for each in values)
            case "HostRegexp" | "HostSNIRegexp":
                return tuple(RequestMatch(host=host) for each in values for host in self._hosts(each))
            case "PathPrefix":
                return tuple(RequestMatch(path=self._prefix(each)) for each in values)
            case "Path":
                return tuple(RequestMatch(path=f"={_plain_path(each)}") for each in values)
            case "PathRegexp":
                return tuple(RequestMatch(path=path) for each in values for path in _paths(each))
            case "Method":
                return tuple(RequestMatch(method=each.upper()) for each in values)
        if name == "ClientIP":
            raise NoSuchRuleError("`allow` and `deny` of a listener know networks: give these clients their own")
        raise NoSuchRuleError(f"routes choose by host, path and method, not by {name or 'nothing'}")

    def _hosts(self, text: str) -> tuple[str, ...]:
        found = hosts_of_regex(text)
        if found is None and _LABEL_PATTERN.match(text):
            found = (f"*.{_LABEL_PATTERN.sub('', text, count=1)}",)
        if found is None or "{" in "".join(found):
            raise NoSuchRuleError('hosts of routes are names and wildcards, such as "*.example.com"')
        return found

    def _prefix(self, text: str) -> str:
        path = _plain_path(text)
        if path == "/":
            return ""
        if not path.endswith("/"):
            self.notes.append(f"{path} takes {path}/… here, and not {path} with more behind it")
        return path


def _plain_path(text: str) -> str:
    if "{" in text:
        raise NoSuchRuleError("paths of routes are prefixes by whole segments, or single paths")
    return text


def _paths(text: str) -> tuple[str, ...]:
    found = paths_of_pattern(text)
    if found is None:
        raise NoSuchRuleError("paths of routes are prefixes by whole segments, or single paths")
    return found
