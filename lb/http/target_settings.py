"""Read what answers the requests of a route: a pool, files, a redirect, a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from lb.http.field_settings import REQUEST_VARIABLES, check_variables
from lb.model import Files, Redirect, Respond, ToMedia, ToPool
from lb.model.http import RouteTarget
from lb.model.media import LIVE_POOL, VOD_POOL
from lb.model.modes import References, complain_of_no_pool
from lb.model.shape import NOWHERE, Keys, Shape, given, shape_of, shaped, when
from lb.model.suggestion import did_you_mean
from lb.model.table import Table
from lb.model.values import Reader, file_name, shown, text, whole_number

__all__ = ["TARGET_KEYS", "TARGET_RULES", "read_target"]

_REDIRECTS = (301, 302, 303, 307, 308)
_WITHOUT_BODY = (204, 205, 304)
_LOCATION = re.compile(r"[!-~]+")


def read_target(route: Table, references: References) -> RouteTarget | None:
    """Read the target of a route; None, with an error, if there is not exactly one that is valid."""
    given = [key for key in _TARGETS if route.has(key)]
    status = route.has("status")
    if len(given) != 1:
        problem = f"has {' and '.join(map(repr, given))}; use only one of them" if given else "has no target"
        route.complain(problem if given else f"{problem}: it needs 'pool', 'files', 'media', 'redirect' or 'respond'")
        return None
    key = given[0]
    if status and key in ("pool", "files", "media"):
        route.complain("has no effect without 'redirect' or 'respond'", route.at("status"))
    return _TARGETS[key](route, references)


def _to_pool(route: Table, references: References) -> ToPool | None:
    pool = route.value("pool", text)
    if pool is not None and pool not in references.pools:
        complain_of_no_pool(route, "pool", pool, references.pools)
    return None if pool is None else ToPool(pool)


def _files(route: Table, references: References) -> Files | None:
    found = route.value("files", _directory(references.directory))
    return None if found is None else Files(found)


def _directory(start: Path) -> Reader[str]:
    """Return a reader for a directory, which must exist. Links in its name are followed for each request."""

    @shaped(shape_of(file_name))
    def read(value: object) -> str:
        given = file_name(value)
        found = (start / given).absolute()
        try:
            if found.is_dir():
                return str(found)
            problem = "is not a directory" if found.exists() else "does not exist"
        except OSError as error:
            problem = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise ValueError(f"{shown(given)} {problem}")

    return read


def _redirect(route: Table, references: References) -> Redirect | None:  # noqa: ARG001 - as the other targets
    location, status = route.value("redirect", _location), route.value("status", _redirect_status)
    return None if location is None else Redirect(location, **({} if status is None else {"status": status}))


@shaped({"type": "string", "pattern": "^[!-~]+$"})
def _location(value: object) -> str:
    """Read a URL or a path, with variables."""
    location = text(value)
    if not _LOCATION.fullmatch(location):
        raise ValueError(f"must be a URL like 'https://{{host}}{{uri}}', without spaces, not {shown(location)}")
    check_variables(location, REQUEST_VARIABLES)
    return location


@shaped({"enum": list(_REDIRECTS)})
def _redirect_status(value: object) -> int:
    if value not in _REDIRECTS or isinstance(value, float):
        raise ValueError(f"must be one of {', '.join(map(str, _REDIRECTS))}, not {shown(value)}")
    assert isinstance(value, int)  # noqa: S101 - of the list
    return value


def _respond(route: Table, references: References) -> Respond | None:  # noqa: ARG001 - as the other targets
    answer, status = route.value("respond", text), route.value("status", whole_number(200, 599))
    if answer and status in _WITHOUT_BODY:
        route.complain(f"must be empty: a response {status} has no body", route.at("respond"))
    return None if answer is None else Respond(answer, **({} if status is None else {"status": status}))


def _to_media(route: Table, references: References) -> ToMedia | None:
    """Read ``media``, the name of an application. Its process sees it in place of the route's path."""
    media = route.value("media", text)
    pools = {each.name: LIVE_POOL for each in references.media.live}
    pools |= {each.name: VOD_POOL for each in references.media.vod}
    if media is None or media in pools:
        return None if media is None else ToMedia(pools[media], media)
    route.complain(f"there is no {shown(media)} in [media]{did_you_mean(media, pools)}", route.at("media"))
    return None


_TARGETS: Mapping[str, Callable[[Table, References], RouteTarget | None]] = {
    "pool": _to_pool,
    "media": _to_media,
    "files": _files,
    "redirect": _redirect,
    "respond": _respond,
}


TARGET_KEYS: Keys = {
    "pool": text,
    "media": text,
    "files": file_name,
    "redirect": _location,
    "respond": text,
    "status": whole_number(200, 599),
}
TARGET_RULES: tuple[Shape, ...] = (
    {"oneOf": [{"required": [key]} for key in _TARGETS]},
    {"dependencies": {key: {"properties": {"status": NOWHERE}} for key in ("pool", "media", "files")}},
    when(given(redirect={}), {"properties": {"status": shape_of(_redirect_status)}}),
    when(given(respond={"minLength": 1}), {"properties": {"status": {"not": {"enum": list(_WITHOUT_BODY)}}}}),
)
