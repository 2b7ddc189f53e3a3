"""Traefik's entry points as listeners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from lb.tools.migrate.draft import Draft, DraftTable, DraftValue
from lb.tools.migrate.first_match import (
    ALWAYS,
    ConditionTerm,
    RequestCondition,
    RequestMatch,
    combinations,
    holds,
    routes_for,
    write_routes,
)
from lb.tools.migrate.route_edits import RouteEdits, answer_with
from lb.tools.migrate.traefik.durations import go_duration
from lb.tools.migrate.traefik.routers import RouterDraft
from lb.tools.migrate.traefik.sections import Section

__all__ = ["EntryPoint", "entry_points_of"]

_USUAL = {"web": ":80", "websecure": ":443"}
_EVERYBODY = ["0.0.0.0/0", "::/0"]
_TIMES = {"readTimeout": "60s", "idleTimeout": "180s"}
_NO_ROUTE: Mapping[str, DraftValue] = {"respond": "", "status": 404}


@attrs.define
class EntryPoint:
    """An entry point and the routers that it has."""

    name: str
    section: Section | None
    address: str
    routers: list[RouterDraft] = attrs.field(factory=list)
    of_tcp: list[RouterDraft] = attrs.field(factory=list)
    redirect: str = ""
    """Where all requests are sent."""
    status: int = 308
    _closed: list[RouterDraft] = attrs.field(factory=list)
    """Those that let some clients in, which a route cannot tell."""

    @property
    def is_tls(self) -> bool:
        return any(each.is_tls for each in self.routers)

    def write(self, draft: Draft, certificates: Mapping[str, DraftValue]) -> None:
        """Write the listener."""
        if not (self.routers or self.of_tcp or self.redirect):
            return
        listener = draft.listener(self.name)
        listener["bind"] = self.address
        if self.routers or self.redirect:
            self._http(listener)
            for each in self.of_tcp:
                each.section.gap("a listener has one mode: another address for one of the two")
        else:
            self._tcp(listener)
        if self.is_tls or (not self.routers and any(each.is_tls and not each.passes_tls for each in self.of_tcp)):
            listener.table("tls").update(certificates or self._made_by_certbot(listener))

    def _made_by_certbot(self, listener: DraftTable) -> dict[str, DraftValue]:
        """Return the certificate that certbot would make, as the file names none."""
        matches = [
            match
            for each in self.routers
            for terms in each.rule.condition
            for term in terms
            for match in _requests(term)
        ]
        host = next((each.host for each in matches if each.host and "*" not in each.host), "example.com")
        listener.note("the file names no certificates: certbot makes them, see docs/how-to/certbot.md")
        directory = f"/etc/letsencrypt/live/{host}"
        return {"certificate": f"{directory}/fullchain.pem", "key": f"{directory}/privkey.pem"}

    # mode http

    def _http(self, listener: DraftTable) -> None:
        listener["mode"] = "http"
        self._settings(listener)
        kept = [each for each in self.routers if each.is_tls is self.is_tls]
        for each in self.routers:
            if each.is_tls is not self.is_tls:
                each.section.gap("a listener has TLS or not: another address for the routers without `tls`")
        self._access(listener, kept)
        ordered = sorted(kept, key=lambda each: -each.priority)
        conditions: list[RequestCondition] = [ALWAYS]
        for each in ordered:
            conditions += [each.rule.condition, *(found for part in each.middlewares for found in part.conditions())]
        try:
            matches = combinations(conditions)
        except ValueError as error:
            ordered[0].section.gap(str(error))
            return
        routes = routes_for(matches, lambda match: self._decide(match, ordered))
        write_routes(listener, [each for each in routes if each != (RequestMatch(), _NO_ROUTE)])

    def _decide(self, match: RequestMatch, routers: Sequence[RouterDraft]) -> RouteEdits:
        keys: RouteEdits = {}
        if self.redirect:
            answer_with(keys, redirect=self.redirect, status=self.status)
            return keys
        router = next((each for each in routers if holds(each.rule.condition, match, ())), None)
        if router is None:
            return dict(_NO_ROUTE)
        if router in self._closed:
            answer_with(keys, respond="", status=403)
            return keys
        for middleware in router.middlewares:
            if any(act(keys, match, self.is_tls) for act in middleware.acts):
                return keys
        if router.pool is None:
            answer_with(keys, respond="", status=503)
        else:
            keys["pool"] = router.pool
            if router.hides_host:
                keys.setdefault("host_header", "server")
        return keys

    def _access(self, listener: DraftTable, routers: Sequence[RouterDraft]) -> None:
        """Write the clients that all routers let in; it is a gap of those that are alone with theirs."""
        lists = [next((part.allowed for part in each.middlewares if part.allowed), ()) for each in routers]
        if lists and lists[0] and all(each == lists[0] for each in lists):
            listener["allow"] = [*lists[0]]
            return
        for router, allowed in zip(routers, lists, strict=True):
            if allowed:
                nearest = (
                    "`allow` is of a whole listener: give these requests their own address. Until then, all get 403"
                )
                self._closed.append(router)
                router.section.migration.gap(router.line_of("middlewares"), nearest)

    def _settings(self, listener: DraftTable) -> None:
        times = self.section.child("transport", "respondingTimeouts") if self.section is not None else None
        values = {key: (times.text(key) if times is not None else "") or value for key, value in _TIMES.items()}
        head, idle = go_duration(values["readTimeout"]), go_duration(values["idleTimeout"])
        write = go_duration((times.text("writeTimeout") if times is not None else "") or "0")
        listener["idle_timeout"] = write
        listener["keep_alive"] = idle
        if head != "0":
            listener["header_timeout"] = head
        forwarded = self.section.child("forwardedHeaders") if self.section is not None else None
        if forwarded is not None:
            trusted = _trusted(forwarded)
            if trusted:
                listener["trusted_proxies"] = trusted
        self._proxy_header(listener)

    def _proxy_header(self, listener: DraftTable) -> None:
        found = self.section.child("proxyProtocol") if self.section is not None else None
        if found is not None:
            listener["accept_proxy"] = {"from": _trusted(found), "others": "plain"}

    # mode tcp

    def _tcp(self, listener: DraftTable) -> None:
        self._proxy_header(listener)
        listener["idle_timeout"] = "0"
        names: dict[str, str] = {}
        for router in sorted(self.of_tcp, key=lambda each: -each.priority):
            hosts = [match.host for terms in router.rule.condition for term in terms for match in _requests(term)]
            for host in hosts if router.pool is not None else []:
                names.setdefault(host, str(router.pool))
        if names.keys() == {""}:
            listener["pool"] = names[""]
        elif any(not each.passes_tls and each.is_tls for each in self.of_tcp):
            for router in self.of_tcp[1:]:
                router.section.gap('a listener with `tls` has one pool in mode "tcp"')
            listener["pool"] = next(iter(names.values()), "")
        elif names:
            other = names.pop("", None)
            listener.table("sni").update({**names, **({"default": other} if other else {})})


def _trusted(section: Section) -> list[DraftValue]:
    return [*_EVERYBODY] if section.text("insecure") == "true" else [*section.texts("trustedIPs")]


def _requests(term: ConditionTerm) -> list[RequestMatch]:
    return [each for each in term.any_of if isinstance(each, RequestMatch)] if not term.is_negated else []


def entry_points_of(root: Section, used: Sequence[str]) -> dict[str, EntryPoint]:
    """Return the entry points of the file; if it has none, those that routers use, at their usual addresses."""
    found: dict[str, EntryPoint] = {}
    for each in root.children("entryPoints"):
        address = each.text("address", "listeners.NAME.bind")
        if address.endswith("/udp"):
            each.gap("UDP is not relayed")
            continue
        found[each.name] = EntryPoint(each.name, each, address.removesuffix("/tcp"))
    if not found:
        for name in used or ["web"]:
            found[name] = EntryPoint(name, None, _USUAL.get(name, ":8080"))
    for point in found.values():
        _redirections(point, found)
    return found


def _redirections(point: EntryPoint, points: Mapping[str, EntryPoint]) -> None:
    found = point.section.child("http", "redirections", "entryPoint") if point.section is not None else None
    if found is None:
        return
    to, scheme, permanent = found.text("to"), found.text("scheme") or "https", found.text("permanent") != "false"
    found.text("priority")
    address = points[to].address if to in points else to
    port = address.rpartition(":")[2]
    suffix = "" if port in ("443", "") else f":{port}"
    point.redirect = f"{scheme}://{{host}}{suffix}{{uri}}"
    point.status = 308 if permanent else 307
