"""The rules of a proxy about requests and clients, in their order: what each does to a route, or to the listener."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from lb.tools.migrate.draft import DraftValue
from lb.tools.migrate.first_match import ALWAYS, ConditionTerm, RequestCondition, RequestMatch, holds
from lb.tools.migrate.haproxy.acl_tests import NoCounterpartError
from lb.tools.migrate.haproxy.actions import (
    RouteAction,
    condition_at,
    header_action,
    path_action,
    redirect_action,
    respond_action,
)
from lb.tools.migrate.haproxy.binds import BindGroup
from lb.tools.migrate.haproxy.conditions import Acls, ProxyCondition, ProxyTerm
from lb.tools.migrate.haproxy.limits import ClientLimits
from lb.tools.migrate.haproxy.proxies import Proxy
from lb.tools.migrate.haproxy.words import nearest, why_not_needed
from lb.tools.migrate.migration import Directive
from lb.tools.migrate.route_edits import RouteEdits

__all__ = ["ProxyRule", "ProxyRules", "apply_rules"]

_ROUTE = "listeners.NAME.routes"
_OWN_FIELDS = {"x-forwarded-proto": "{scheme}", "x-forwarded-host": "{host}", "x-forwarded-for": "{client_ip}"}
"""Fields that servers get without a rule, and their values."""
_REFUSALS = ("deny", "tarpit", "silent-drop", "reject")


@attrs.frozen
class ProxyRule:
    """What a line does to the routes of the requests for which its condition is true."""

    condition: RequestCondition
    act: RouteAction


def apply_rules(rules: Sequence[ProxyRule], keys: RouteEdits, match: RequestMatch, group: BindGroup) -> bool:
    """Change a route as the rules say. Return True if one of them answers."""
    return any(holds(rule.condition, match, group.facts) and rule.act(keys, group.port) for rule in rules)


@attrs.define
class ProxyRules:
    """Reads the rules of one proxy."""

    proxy: Proxy
    acls: Acls
    limits: ClientLimits
    """Those of the listener; a backend's apply to all of its listeners, so there they are gaps."""
    before: list[ProxyRule] = attrs.field(factory=list)
    """Of requests."""
    after: list[ProxyRule] = attrs.field(factory=list)
    """Of responses of servers."""
    on_answers: list[ProxyRule] = attrs.field(factory=list)
    """Of responses that the proxy makes itself: ``http-after-response``."""

    @classmethod
    def read(cls, proxy: Proxy, directory: Path, limits: ClientLimits) -> ProxyRules:
        """Return the rules of a proxy; what cannot be read is noted as a gap."""
        found = cls(proxy, Acls(proxy, directory), limits)
        for each in proxy.all("tcp-request connection", "tcp-request content", "tcp-request session"):
            found.attempt(each, found._connection)
        limits.finish(proxy.migration)
        for each in proxy.own("monitor-uri"):
            alive = ((ConditionTerm((RequestMatch(path=f"={each.args[0]}"),)),),)
            found.before.append(ProxyRule(alive, respond_action(("return",))))
            proxy.migration.translated(each)
        for each in proxy.all("http-request"):
            found.attempt(each, found._request)
        for each in proxy.all("redirect"):
            found.attempt(each, found._redirect)
        for each in proxy.all("http-response", "http-after-response"):
            found.attempt(each, found._response)
        return found

    def attempt(self, directive: Directive, read: Callable[[Directive], None]) -> None:
        """Read a line; note it as a gap if there is no counterpart."""
        try:
            read(directive)
        except NoCounterpartError as error:
            self.proxy.migration.gap(directive, str(error))
        except IndexError:
            self.proxy.migration.gap(directive, "it has too few arguments")

    def condition(self, directive: Directive) -> ProxyCondition:
        """Return the condition of a line. Raises NoCounterpartError."""
        return self.acls.condition_of(directive, directive.args[condition_at(directive.args) :])

    # Connections

    def _connection(self, directive: Directive) -> None:
        """Read a ``tcp-request connection`` or ``content``: access, limits, and waiting for a ClientHello."""
        action = directive.args[0]
        if action in ("accept", "reject", "silent-drop"):
            condition = self.condition(directive)
            for terms in condition.alternatives:
                try:
                    self._of_clients(directive, terms, accepts=action == "accept")
                except NoCounterpartError as error:
                    self._close(directive, terms, str(error))
        elif action.startswith("track-sc"):
            self._track(directive)
        else:
            self._other(directive)

    def _of_clients(self, directive: Directive, terms: Sequence[ProxyTerm], *, accepts: bool) -> bool:
        """Read an alternative that is about nothing but the client. Return whether it is one."""
        special = [term for term in terms if not term.is_about_requests]
        routable = [term for term in terms if term.is_about_requests and not _is_always(term)]
        if routable or (not special and not accepts and terms):
            return False
        sources = [term.sources for term in special]
        migration = self.proxy.migration
        if not special:
            if accepts:
                migration.not_needed(directive, "what is not refused is accepted")
            else:
                self.limits.refuse_all(directive)
        elif all(each is not None for each in sources):
            self.limits.of_sources(directive, special, accepts=accepts)
        elif len(special) == 1 and not accepts and not special[0].is_negated and special[0].tests[0].counter:
            self.limits.of_connections(directive, special[0].tests[0].counter)
        else:
            raise NoCounterpartError("`allow` and `deny` of the listener know networks, `rate_per_source` rates")
        return True

    def _track(self, directive: Directive) -> None:
        if directive.args[1:2] not in (("src",), ("req.hdr(x-forwarded-for)",)):
            raise NoCounterpartError("clients are counted by their address")
        self.proxy.migration.translated(directive, f"{_ROUTE}.rate")

    # Requests

    def _request(self, directive: Directive) -> None:
        action = directive.args[0]
        words = directive.args[: condition_at(directive.args)]
        if action in _REFUSALS:
            self._refuse(directive, respond_action(("deny",) if action in ("silent-drop", "reject") else words))
        elif action == "return":
            self._add(directive, respond_action(words), f"{_ROUTE}.respond")
        elif action == "redirect":
            self._add(directive, redirect_action(words[1:]), f"{_ROUTE}.redirect")
        elif action in ("set-header", "add-header", "del-header"):
            self._header(directive, words)
        elif action in ("set-path", "replace-path", "set-uri", "replace-uri", "set-pathq", "replace-pathq"):
            act, paths = path_action(words)
            condition = _with(self.condition(directive).of_routes(), paths)
            self.before.append(ProxyRule(condition, act))
            self.proxy.migration.translated(directive, f"{_ROUTE}.strip_prefix")
        elif action.startswith("track-sc"):
            self._track(directive)
        elif action == "auth":
            self._auth(directive)
        elif action == "cache-use":
            self._add(directive, _setting("cache", {"zone": words[1]}), f"{_ROUTE}.cache")
        else:
            self._other(directive)

    def _redirect(self, directive: Directive) -> None:
        self._add(directive, redirect_action(directive.args[: condition_at(directive.args)]), f"{_ROUTE}.redirect")

    def _add(self, directive: Directive, act: RouteAction, key: str) -> None:
        self.before.append(ProxyRule(self.condition(directive).of_routes(), act))
        self.proxy.migration.translated(directive, key)

    def _refuse(self, directive: Directive, act: RouteAction) -> None:
        """Read a refusal: of requests, of clients by their network, or of those that come too often."""
        for terms in self.condition(directive).alternatives:
            if all(term.is_about_requests for term in terms):
                condition = (tuple(term.of_routes() for term in terms),)
                self.before.append(ProxyRule(condition, act))
                self.proxy.migration.translated(directive, f"{_ROUTE}.respond")
            elif not self._of_rates(directive, terms):
                try:
                    self._of_refused_clients(directive, terms)
                except NoCounterpartError as error:
                    self._close(directive, terms, str(error))

    def _of_refused_clients(self, directive: Directive, terms: Sequence[ProxyTerm]) -> None:
        for test in (test for term in terms for test in term.tests if test.unknown):
            raise NoCounterpartError(test.unknown)
        if not self._of_clients(directive, terms, accepts=False):
            raise NoCounterpartError("`allow` and `deny` are of a whole listener: give these requests their own")
        self.proxy.migration.translated(directive, note="clients are closed at once, without a response")

    def _close(self, directive: Directive, terms: Sequence[ProxyTerm], nearest: str) -> None:
        """Note a refusal as a gap. Where only some may pass, and cannot be told, nobody does: nothing is opened."""
        if not any(term.is_negated and not term.is_about_requests for term in terms):
            self.proxy.migration.gap(directive, nearest)
            return
        self.proxy.migration.gap(directive, f"{nearest}. Until you decide, all are refused")
        if self.proxy.is_http:
            condition = (tuple(term.of_routes() for term in terms if term.is_about_requests),)
            self.before.append(ProxyRule(condition, respond_action(("deny",))))
        else:
            self.limits.close()

    def _of_rates(self, directive: Directive, terms: Sequence[ProxyTerm]) -> bool:
        """Read an alternative about the rate of a client's requests. Return whether it is one."""
        special = [term for term in terms if not term.is_about_requests]
        if len(special) != 1 or special[0].is_negated or not special[0].tests[0].counter:
            return False
        counter, limit = special[0].tests[0].counter
        if counter not in ("http_req_rate", "http_req_cnt"):
            return False
        rate, burst = self.limits.rate_of_requests(directive, limit)
        condition = (tuple(term.of_routes() for term in terms if term.is_about_requests),)
        self.before.append(ProxyRule(condition, _limiting(rate, burst)))
        status = dict(zip(directive.args[1::2], directive.args[2::2], strict=False)).get("deny_status")
        note = "" if status == "429" else "what is too much gets 429"
        self.proxy.migration.translated(directive, f"{_ROUTE}.rate", note)
        return True

    def _auth(self, directive: Directive) -> None:
        """Read ``auth``, whose condition is that the client is none of a list of users."""
        for terms in self.condition(directive).alternatives:
            users = [term.tests[0].users for term in terms if term.tests[0].users and term.is_negated]
            if len(users) != 1 or sum(not term.is_about_requests for term in terms) > 1:
                self._close(directive, terms, "`auth` of a route names its users")
                return
            condition = (tuple(term.of_routes() for term in terms if term.is_about_requests),)
            self.before.append(ProxyRule(condition, _setting("auth", users[0])))
        self.proxy.migration.translated(directive, f"{_ROUTE}.auth")

    def _header(self, directive: Directive, words: Sequence[str]) -> None:
        name = words[1].lower()
        condition = self.condition(directive).of_routes()
        known = _OWN_FIELDS.get(name)
        if known is not None and words[0] != "del-header" and _says_the_same(name, words[2], condition):
            self.proxy.migration.not_needed(directive, "servers get this field without a rule")
            return
        self.before.append(ProxyRule(condition, header_action(words, of_response=False)))
        self.proxy.migration.translated(directive, f"{_ROUTE}.request_headers")

    # Responses

    def _response(self, directive: Directive) -> None:
        action = directive.args[0]
        words = directive.args[: condition_at(directive.args)]
        if action in ("set-header", "add-header", "del-header"):
            condition = self.condition(directive).of_routes()
            rule = ProxyRule(condition, header_action(words, of_response=True))
            self.after.append(rule)
            self.on_answers.extend([rule] if directive.name == "http-after-response" else [])
            self.proxy.migration.translated(directive, f"{_ROUTE}.response_headers")
        elif action == "cache-store":
            self.proxy.migration.translated(directive, f"{_ROUTE}.cache")
        else:
            self._other(directive)

    def _other(self, directive: Directive) -> None:
        if "prometheus-exporter" in directive.args:
            self.proxy.migration.translated(directive, "admin.bind")
            return
        if directive.args[0] == "allow" and len(directive.args) > 1:
            raise NoCounterpartError("`deny` with the opposite condition: rules after this one are for all here")
        name = f"{directive.name} {directive.args[0].partition('(')[0]}"
        why = why_not_needed(name)
        if why is None:
            raise NoCounterpartError(nearest(name))
        self.proxy.migration.not_needed(directive, why)


def _is_always(term: ProxyTerm) -> bool:
    return not term.is_negated and any(RequestMatch() in each.matches for each in term.tests)


def _says_the_same(name: str, value: str, condition: RequestCondition) -> bool:
    """Whether a rule sets a field to what servers get anyway: the scheme under ``ssl_fc``, the host, the client."""
    tests = {match for terms in condition for term in terms for match in term.any_of}
    if name == "x-forwarded-proto":
        return "ssl_fc" in value or tests == {"tls"}
    return condition == ALWAYS and value.replace(" ", "") in ("%[src]", "%ci", "%[req.hdr(host)]", "%[hdr(host)]")


def _with(condition: RequestCondition, match: RequestMatch) -> RequestCondition:
    """Return a condition that is about these requests only."""
    return tuple((*terms, ConditionTerm((match,))) for terms in condition)


def _setting(key: str, value: DraftValue) -> RouteAction:
    def set_key(keys: RouteEdits, _: str) -> bool:
        keys[key] = value
        return False

    return set_key


def _limiting(rate: str, burst: int) -> RouteAction:
    """Set a limit, unless there is a lower one."""

    def set_rate(keys: RouteEdits, _: str) -> bool:
        known = keys.get("burst")
        if not isinstance(known, int) or burst < known:
            keys.update({"rate": rate, "burst": burst})
        return False

    return set_rate
