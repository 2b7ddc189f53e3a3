"""``if`` and ``unless`` of haproxy.cfg: the acls of a proxy, and conditions made of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import attrs

from lb.tools.migrate.first_match import ConditionTerm, RequestCondition, RequestMatch
from lb.tools.migrate.haproxy.acl_tests import AclTest, NoCounterpartError, read_test
from lb.tools.migrate.haproxy.proxies import Proxy
from lb.tools.migrate.migration import Directive

__all__ = ["Acls", "ProxyCondition", "ProxyTerm"]

_METHODS = {
    "METH_GET": ("GET", "HEAD"),
    **{f"METH_{each}": (each,) for each in ("CONNECT", "DELETE", "HEAD", "OPTIONS", "POST", "PUT", "TRACE")},
}
_PREDEFINED = {
    "TRUE": AclTest((RequestMatch(),)),
    "HTTP": AclTest((RequestMatch(),)),
    "REQ_CONTENT": AclTest((RequestMatch(),)),
    "WAIT_END": AclTest((RequestMatch(),)),
    "FALSE": AclTest(()),
    "LOCALHOST": AclTest(sources=("127.0.0.0/8", "::1")),
    "HTTP_URL_SLASH": AclTest((RequestMatch(path="=/"),)),
    **{name: AclTest(tuple(RequestMatch(method=each) for each in names)) for name, names in _METHODS.items()},
}


@attrs.frozen
class ProxyTerm:
    """Some tests, of which one must be true, or none if it is negated."""

    tests: tuple[AclTest, ...]
    is_negated: bool = False

    @property
    def is_about_requests(self) -> bool:
        return not any(each.sources or each.counter or each.users or each.unknown for each in self.tests)

    @property
    def sources(self) -> tuple[str, ...] | None:
        """The networks, if the term is about nothing else."""
        if all(each.sources for each in self.tests):
            return tuple(source for each in self.tests for source in each.sources)
        return None

    def of_routes(self) -> ConditionTerm:
        return ConditionTerm(tuple(match for each in self.tests for match in each.matches), self.is_negated)


@attrs.frozen
class ProxyCondition:
    """Alternatives; each is true if all of its terms are."""

    alternatives: tuple[tuple[ProxyTerm, ...], ...] = ((),)

    def of_routes(self) -> RequestCondition:
        """Return it as a condition about requests. Raises NoCounterpartError if it is about something else, too."""
        terms = [term for alternative in self.alternatives for term in alternative]
        for test in (test for term in terms for test in term.tests if test.unknown):
            raise NoCounterpartError(test.unknown)
        if not all(term.is_about_requests for term in terms):
            raise NoCounterpartError("routes choose by host, path and method, not by the client")
        return tuple(tuple(term.of_routes() for term in alternative) for alternative in self.alternatives)

    def negated(self) -> ProxyCondition:
        flipped = [[attrs.evolve(term, is_negated=not term.is_negated) for term in each] for each in self.alternatives]
        return ProxyCondition(tuple(product(*flipped)))


@attrs.define
class Acls:
    """The acls of a proxy, read when a condition names them."""

    proxy: Proxy
    directory: Path
    _known: dict[str, ProxyTerm] = attrs.field(factory=dict)

    def condition_of(self, directive: Directive, words: Sequence[str]) -> ProxyCondition:
        """Return the condition in the words from ``if`` or ``unless`` on; always, if there are none.

        Raises NoCounterpartError if it is malformed.
        """
        if not words:
            return ProxyCondition()
        alternatives: list[tuple[ProxyTerm, ...]] = []
        terms: list[ProxyTerm] = []
        rest, is_negated = [*words[1:]], False
        while rest:
            word = rest.pop(0)
            if word in ("or", "||"):
                alternatives.append(tuple(terms))
                terms = []
                continue
            while word.startswith("!"):
                word, is_negated = word[1:], not is_negated
            if not word:
                continue
            term = self._anonymous(directive, rest) if word == "{" else self._named(word)
            terms.append(attrs.evolve(term, is_negated=is_negated))
            is_negated = False
        condition = ProxyCondition((*alternatives, tuple(terms)))
        return condition.negated() if words[0] == "unless" else condition

    def _anonymous(self, directive: Directive, rest: list[str]) -> ProxyTerm:
        if "}" not in rest:
            raise NoCounterpartError("{ without }")
        end = rest.index("}")
        words, rest[:] = rest[:end], rest[end + 1 :]
        test = read_test(words, self.directory)
        if test.note:
            self.proxy.migration.translated(directive, note=test.note)
        return ProxyTerm((test,))

    def _named(self, name: str) -> ProxyTerm:
        if name not in self._known:
            self._known[name] = self._define(name)
        return self._known[name]

    def _define(self, name: str) -> ProxyTerm:
        lines = [each for each in self.proxy.all("acl") if each.args[:1] == (name,)]
        if not lines:
            return ProxyTerm((_PREDEFINED.get(name, AclTest(unknown=f"there is no `acl {name}`")),))
        tests = []
        for each in lines:
            test = read_test(each.args[1:], self.directory)
            if test.unknown:
                self.proxy.migration.gap(each, test.unknown)
                test = AclTest(unknown=f"`acl {name}` has no counterpart")
            else:
                self.proxy.migration.translated(each, note=test.note)
            tests.append(test)
        return ProxyTerm(tuple(tests))
