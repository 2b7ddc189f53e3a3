"""``use_backend`` and ``default_backend``: which backend gets a request; maps of hosts and paths among them."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from lb.tools.migrate.first_match import ALWAYS, RequestCondition, RequestMatch, holds
from lb.tools.migrate.haproxy.acl_tests import NoCounterpartError, read_test, values_of_file
from lb.tools.migrate.haproxy.actions import condition_at
from lb.tools.migrate.haproxy.binds import BindGroup
from lb.tools.migrate.haproxy.conditions import ProxyCondition, ProxyTerm
from lb.tools.migrate.haproxy.proxies import Proxy
from lb.tools.migrate.haproxy.rules import ProxyRules
from lb.tools.migrate.migration import Directive

__all__ = ["BackendChoice"]

_MAP = re.compile(r"%\[(?P<sample>.+?),map(?:_(?P<match>str|beg|dom|end))?\((?P<file>[^,)]+)(?:,(?P<other>[^)]*))?\)\]")
_NEAREST = "a route, or a line of `sni`, for each backend"


@attrs.define
class BackendChoice:
    """The backends of a frontend, the first that matches first."""

    proxy: Proxy
    directory: Path
    rules: list[tuple[RequestCondition, str]] = attrs.field(factory=list)

    def read(self, of_requests: ProxyRules) -> None:
        """Read the lines; what has no counterpart is noted as a gap."""
        for each in self.proxy.all("use_backend"):
            of_requests.attempt(each, lambda line: self._use(line, of_requests))
        default = self.proxy.last("default_backend")
        if self.proxy.section.name == "listen" and default is None:
            self.rules.append((ALWAYS, self.proxy.name))
        elif default is not None and default.args:
            self.proxy.migration.translated(default)
            self.rules.append((ALWAYS, default.args[0]))

    def backend_of(self, match: RequestMatch, group: BindGroup) -> str | None:
        """Return the name of the backend for some requests; None if no line takes them."""
        return next((name for condition, name in self.rules if holds(condition, match, group.facts)), None)

    def _use(self, line: Directive, of_requests: ProxyRules) -> None:
        condition = of_requests.condition(line)
        self.proxy.migration.translated(line)
        words = line.args[: condition_at(line.args)]
        if "%" not in words[0]:
            self.rules.append((condition.of_routes(), words[0]))
            return
        found = _MAP.fullmatch("".join(words))
        if found is None:
            raise NoCounterpartError(_NEAREST)
        sample = found["sample"].replace(",lower", "").replace(",field(1,:)", "")
        suffix = {"dom": "dom", "beg": "beg", "end": "end"}.get(found["match"] or "", "str")
        for entry in values_of_file(self.directory / found["file"]):
            key, _, name = entry.partition(" ")
            test = read_test([sample, "-m", suffix, key], self.directory)
            terms = [(*each, ProxyTerm((test,))) for each in condition.alternatives]
            self.rules.append((ProxyCondition(tuple(terms)).of_routes(), name.strip()))
        if found["other"]:
            self.rules.append((condition.of_routes(), found["other"].strip()))
