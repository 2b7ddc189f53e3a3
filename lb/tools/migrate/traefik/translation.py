"""A file of Traefik as a draft of lb.toml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from lb.tools.migrate.draft import Draft, DraftValue
from lb.tools.migrate.formats import UnreadableError
from lb.tools.migrate.migration import Directive, Migration
from lb.tools.migrate.traefik.durations import go_duration
from lb.tools.migrate.traefik.entry_points import EntryPoint, entry_points_of
from lb.tools.migrate.traefik.middlewares import Middlewares
from lb.tools.migrate.traefik.reading import read_traefik
from lb.tools.migrate.traefik.routers import RouterDraft, read_router
from lb.tools.migrate.traefik.sections import Section
from lb.tools.migrate.traefik.services import ServicePools
from lb.tools.migrate.traefik.words import WORDS, nearest, why_not_needed

__all__ = ["WORDS", "translate"]

_STOP = "10s"
_ADMIN = "127.0.0.1:8080"
_CLIENT_CERTIFICATES = {
    "RequestClientCert": "optional",
    "VerifyClientCertIfGiven": "optional",
    "RequireAnyClientCert": "required",
    "RequireAndVerifyClientCert": "required",
}


def translate(path: Path) -> Migration:
    """Read a file. Return what became of each key, with the draft. Raises UnreadableError."""
    root = read_traefik(path)
    try:
        return _translated(root)
    except (IndexError, ValueError) as error:
        raise UnreadableError(f"{path}: a value is malformed: {error}") from error


def _translated(root: Directive) -> Migration:
    draft = Draft()
    migration = Migration(WORDS, draft)
    migration.enter(root)
    whole = Section(migration, root)
    _process(whole, draft)
    points = entry_points_of(whole, _used(whole))
    for point in points.values():
        if point.section is not None:
            migration.place(point.section.directive, draft.listener(point.name))
    _http(whole, draft, points)
    _tcp(whole, draft, points)
    certificates = _certificates(whole)
    for point in points.values():
        if point.section is None and (point.routers or point.of_tcp):
            draft.listener(point.name).note(
                f"the file has no entry points: {point.name} is at {point.address}, as in Traefik's documentation"
            )
        point.write(draft, certificates)
    _settle(root, migration)
    return migration


def _used(whole: Section) -> list[str]:
    """Return the entry points that routers name."""
    routers = [*whole.children("http", "routers"), *whole.children("tcp", "routers")]
    return [*dict.fromkeys(name for each in routers for name in each.texts("entryPoints"))]


def _http(whole: Section, draft: Draft, points: Mapping[str, EntryPoint]) -> None:
    section = whole.child("http")
    if section is None:
        return
    pools = ServicePools(section, draft, is_http=True)
    middlewares = Middlewares(section, draft)
    for each in section.children("routers"):
        names = each.texts("entryPoints", "listeners.NAME") or tuple(points)
        at = [points[name] for name in names if name in points]
        if at:
            each.migration.place(each.directive, draft.listener(at[0].name))
        inherited = [name for point in at for name in _defaults(point)]
        found = read_router(each, pools, middlewares, [*dict.fromkeys(inherited)])
        if found is not None:
            for point in at:
                point.routers.append(_with_tls(found, point))
    for name in ("services", "middlewares"):
        for each in section.children(name):
            if each.name not in draft.table("pools").below:
                _unused(each)


def _defaults(point: EntryPoint) -> tuple[str, ...]:
    found = point.section.child("http") if point.section is not None else None
    return found.texts("middlewares") if found is not None else ()


def _with_tls(router: RouterDraft, point: EntryPoint) -> RouterDraft:
    """Return a router with the TLS that its entry point has for all."""
    found = point.section.child("http", "tls") if point.section is not None else None
    return attrs.evolve(router, is_tls=True) if found is not None else router


def _unused(section: Section) -> None:
    """Say of what no router uses that it is not needed."""
    unknown = [each for each in section.directive.block or () if not section.migration.knows(each)]
    for each in unknown:
        Section(section.migration, each).not_needed("no router uses it")


def _tcp(whole: Section, draft: Draft, points: Mapping[str, EntryPoint]) -> None:
    section = whole.child("tcp")
    if section is None:
        return
    pools = ServicePools(section, draft, is_http=False)
    for each in section.children("routers"):
        found = read_router(each, pools, None, ())
        for name in (found.entry_points or tuple(points)) if found is not None else ():
            if found is not None and name in points:
                points[name].of_tcp.append(found)


# What stands in tables of its own


def _process(whole: Section, draft: Draft) -> None:
    life = next(
        (found for each in whole.children("entryPoints") if (found := each.child("transport", "lifeCycle"))), None
    )
    process = draft.table("process")
    process["stop_timeout"] = go_duration((life.text("graceTimeOut") if life is not None else "") or _STOP)
    delay = life.text("requestAcceptGraceTimeout") if life is not None else ""
    if delay not in ("", "0"):
        process["stop_delay"] = go_duration(delay)
    api = whole.child("api")
    if api is not None:
        draft.table("admin")["bind"] = _ADMIN
        for each in api.directive.block or ():
            api.migration.translated(each, "admin.bind")


def _certificates(whole: Section) -> Mapping[str, DraftValue]:
    """Return what listeners with TLS say of certificates."""
    section = whole.child("tls")
    if section is None:
        return {}
    default = section.child("stores", "default", "defaultCertificate")
    parts = [*([default] if default is not None else []), *section.children("certificates")]
    pairs = [{"certificate": each.text("certFile"), "key": each.text("keyFile")} for each in parts]
    for each in parts:
        each.texts("stores")
    found: dict[str, DraftValue] = {**pairs[0]} if len(pairs) == 1 else {}
    if len(pairs) > 1:
        found["certificates"] = [{**each} for each in pairs]
    options = section.child("options", "default")
    if options is not None:
        version = options.text("minVersion")
        if version == "VersionTLS13":
            found["min_version"] = "1.3"
        clients = options.child("clientAuth")
        if clients is not None:
            found["client_ca"] = next(iter(clients.texts("caFiles")), "")
            found["client_certificate"] = _CLIENT_CERTIFICATES.get(clients.text("clientAuthType"), "required")
    return found


def _settle(root: Directive, migration: Migration) -> None:
    """Say of each key of which nothing is said yet what becomes of it."""
    for each in root.all():
        if each is root or migration.knows(each):
            continue
        if each.name.lower() == "providers":
            migration.not_needed(each, "this file is the configuration")
            continue
        why = why_not_needed(each.name)
        if why is None:
            migration.gap(each, nearest(each.name))
        migration.all_not_needed(each, why or f"a part of `{each.name}`")
