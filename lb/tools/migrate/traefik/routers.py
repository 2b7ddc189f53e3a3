"""Traefik's routers: rule, priority, middlewares and the pool of the service."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from lb.tools.migrate.migration import Directive
from lb.tools.migrate.traefik.middlewares import Middleware, Middlewares
from lb.tools.migrate.traefik.router_rules import NoSuchRuleError, RouterRule, read_rule
from lb.tools.migrate.traefik.sections import Section
from lb.tools.migrate.traefik.services import ServicePools

__all__ = ["RouterDraft", "read_router"]

_INTERNAL = {
    "api@internal": "`[admin]` has a dashboard, metrics and JSON",
    "dashboard@internal": "`[admin]` has a dashboard",
    "ping@internal": "/livez of `[admin]`",
    "prometheus@internal": "/metrics of `[admin]`",
    "rest@internal": "`lb ctl`, and a reload",
}


@attrs.frozen
class RouterDraft:
    """One router."""

    section: Section
    rule: RouterRule
    priority: int
    entry_points: tuple[str, ...]
    """Empty: all."""
    middlewares: tuple[Middleware, ...]
    pool: str | None
    """None: the service has no servers."""
    is_tls: bool
    passes_tls: bool
    """TLS is not ended here."""
    hides_host: bool
    """Servers see their own address as Host."""

    def line_of(self, name: str) -> Directive:
        """Return the line of a key, or the router's own."""
        return self.section.line(name) or self.section.directive


def read_router(
    section: Section, pools: ServicePools, middlewares: Middlewares | None, defaults: Sequence[str]
) -> RouterDraft | None:
    """Return a router; None, with a gap, if it has no counterpart. ``defaults``: middlewares of its entry points."""
    service = section.text("service", "listeners.NAME.routes.pool")
    if service in _INTERNAL:
        section.gap(_INTERNAL[service])
        return None
    text = section.text("rule", "listeners.NAME.routes")
    try:
        rule = read_rule(text)
    except NoSuchRuleError as error:
        line = section.line("rule")
        section.migration.gap(line or section.directive, str(error))
        pools.use(service)
        return None
    for note in rule.notes:
        section.migration.translated(section.line("rule") or section.directive, note=note)
    found = _middlewares_of(section, middlewares, defaults)
    pool = pools.use(service)
    if pool is None and service and not service.startswith("noop@"):
        section.migration.gap(section.line("service") or section.directive, f"the file has no servers of {service}")
    _retry(pools, pool, found)
    tls = section.child("tls")
    return RouterDraft(
        section=section,
        rule=rule,
        priority=int(section.text("priority") or "0") or len(text),
        entry_points=section.texts("entryPoints", "listeners.NAME"),
        middlewares=tuple(found),
        pool=pool,
        is_tls=section.flag("tls"),
        passes_tls=tls is not None and tls.text("passthrough") == "true",
        hides_host=pool is not None and pools.hides_host(pool),
    )


def _middlewares_of(section: Section, middlewares: Middlewares | None, defaults: Sequence[str]) -> list[Middleware]:
    found = []
    for name in (*defaults, *section.texts("middlewares")):
        middleware = middlewares.named(name) if middlewares is not None else None
        if middleware is None:
            line = section.line("middlewares") or section.directive
            section.migration.gap(line, f"the file has no middleware {name}")
        else:
            found.append(middleware)
    return found


def _retry(pools: ServicePools, pool: str | None, middlewares: Sequence[Middleware]) -> None:
    attempts = max((each.attempts for each in middlewares), default=0)
    if pool is not None and attempts:
        table = pools.draft.pool(pool)
        table["retries"] = attempts - 1
        table.table("http")["retry_on"] = ["reset"]
