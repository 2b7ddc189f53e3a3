"""squid.conf as a draft of lb.toml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lb.model.values import byte_size_text
from lb.tools.migrate.amounts import seconds_as_text
from lb.tools.migrate.draft import Draft, DraftTable, DraftValue
from lb.tools.migrate.formats import UnreadableError
from lb.tools.migrate.migration import Directive, Migration
from lb.tools.migrate.squid.access import AccessRules
from lb.tools.migrate.squid.caching import fill_proxy_cache
from lb.tools.migrate.squid.peers import fill_parents
from lb.tools.migrate.squid.reading import read_squid
from lb.tools.migrate.squid.units import squid_bytes, squid_seconds
from lb.tools.migrate.squid.words import WORDS, nearest, why_not_needed

__all__ = ["WORDS", "translate"]

_NAME = "proxy"
_TIMES: Mapping[str, tuple[str, str]] = {
    "connect_timeout": ("connect_timeout", "1 minute"),
    "read_timeout": ("response_timeout", "15 minutes"),
    "request_timeout": ("header_timeout", "5 minutes"),
    "client_idle_pconn_timeout": ("keep_alive", "2 minutes"),
}
"""Directive -> key, and Squid's default where ours is another."""
_HIDES = ("off", "delete", "transparent", "truncate")
_NUMBER = 2


def translate(path: Path) -> Migration:
    """Read a file. Return what became of each directive, with the draft. Raises UnreadableError."""
    root = read_squid(path)
    try:
        return _translated(root, path.parent.absolute())
    except (IndexError, ValueError) as error:
        raise UnreadableError(f"{path}: a value is missing or malformed: {error}") from error


def _translated(root: Directive, directory: Path) -> Migration:
    draft = Draft()
    migration = Migration(WORDS, draft)
    migration.enter(root)
    listener = draft.listener(_NAME)
    migration.place(root, listener)
    listener["mode"] = "forward"
    _ports(root, migration, listener)
    rules = AccessRules(migration, root, directory)
    rules.read()
    rules.fill(listener)
    listener["private"] = True
    listener.note("as with Squid, private addresses may be reached: `private = false` is safer")
    _users(root, migration, draft, listener, is_needed=rules.needs_user)
    _settings(root, migration, listener)
    _bandwidth(root, migration, listener)
    fill_parents(root, migration, draft, listener)
    fill_proxy_cache(root, migration, draft, listener)
    _secure_ports(root, migration, draft, listener)
    _process(root, migration, draft)
    _settle(root, migration)
    return migration


def _last(root: Directive, name: str, migration: Migration) -> Directive | None:
    """Return the last line of a name, and note all of them as translated."""
    found = root.below(name)
    for each in found:
        migration.translated(each)
    return found[-1] if found else None


def _ports(root: Directive, migration: Migration, listener: DraftTable) -> None:
    binds: list[DraftValue] = []
    for each in root.below("http_port"):
        migration.translated(each)
        if {"accel", "intercept", "tproxy", "transparent", "ssl-bump"} & {*each.args} or "vhost" in each.args:
            nearest_one = (
                'mode `"http"` for a site of your own' if "accel" in each.args else "clients must be told to use it"
            )
            migration.gap(each, nearest_one)
            continue
        binds.append(_bind(each.args[0]))
    listener["bind"] = binds[0] if len(binds) == 1 else binds or ":3128"


def _secure_ports(root: Directive, migration: Migration, draft: Draft, plain: DraftTable) -> None:
    """Write a listener for each ``https_port``: that of ``http_port``, with TLS."""
    for number, each in enumerate(root.below("https_port")):
        migration.translated(each)
        options = dict(word.partition("=")[::2] for word in each.args[1:])
        secure = draft.listener(f"{_NAME}-tls{number or ''}")
        secure.update({**plain.keys, "bind": _bind(each.args[0])})
        cache = plain.below.get("cache")
        if isinstance(cache, DraftTable):
            secure.table("cache").update(cache.keys)
        tls = secure.table("tls")
        tls["certificate"] = options.get("tls-cert") or options.get("cert") or ""
        key = options.get("tls-key") or options.get("key")
        if key:
            tls["key"] = key


def _bind(text: str) -> str:
    return text if ":" in text else f":{text}"


def _users(root: Directive, migration: Migration, draft: Draft, listener: DraftTable, *, is_needed: bool) -> None:
    lines = root.below("auth_param")
    program = next((each for each in lines if each.args[:2] == ("basic", "program")), None)
    if is_needed:
        users = draft.table("users", _NAME)
        users["file"] = "/etc/squid/passwd"
        listener["auth"] = _NAME
    for each in lines:
        if each.args[0] != "basic":
            migration.gap(each, "basic authentication with a file of users")
        elif each.args[1] == "realm" and is_needed:
            draft.table("users", _NAME)["realm"] = " ".join(each.args[2:]).strip('"')
            migration.translated(each, "users.NAME.realm")
        elif each is not program:
            migration.not_needed(each, "passwords are checked off the event loop, and kept for a minute")
    if program is not None and is_needed:
        if "ncsa" in program.args[2] and len(program.args) > _NUMBER + 1:
            draft.table("users", _NAME)["file"] = program.args[3]
            note = "hashes of crypt and MD5 without `$apr1$` are refused: `htpasswd -B` makes others"
            migration.translated(program, "users.NAME.file", note)
        else:
            migration.gap(program, "a file of users, as `htpasswd -B` makes it")


def _settings(root: Directive, migration: Migration, listener: DraftTable) -> None:
    for name, (key, default) in _TIMES.items():
        found = _last(root, name, migration)
        listener[key] = seconds_as_text(squid_seconds(" ".join(found.args) if found is not None else default))
    listener["idle_timeout"] = listener["response_timeout"]
    for name, key, default in (
        ("request_header_max_size", "max_header", "64 KB"),
        ("request_body_max_size", "max_body", ""),
    ):
        found = _last(root, name, migration)
        text = " ".join(found.args) if found is not None else default
        if text and squid_bytes(text):
            listener[key] = byte_size_text(squid_bytes(text))
    _hiding(root, migration, listener)
    for each in root.below("tcp_outgoing_address"):
        if len(each.args) == 1:
            listener["source_address"] = each.args[0]
            migration.translated(each)
    limit = _last(root, "client_ip_max_connections", migration)
    if limit is not None and int(limit.args[0]) > 0:
        listener["max_per_source"] = int(limit.args[0])
    log = _last(root, "access_log", migration)
    if log is not None and log.args[:1] == ("none",):
        listener["access_log"] = False


def _hiding(root: Directive, migration: Migration, listener: DraftTable) -> None:
    """Write what servers are told of clients."""
    forwarded = _last(root, "forwarded_for", migration)
    listener["hide_client"] = forwarded is not None and forwarded.args[:1] != () and forwarded.args[0] in _HIDES
    for each in root.below("request_header_access"):
        if each.args[:3] == ("X-Forwarded-For", "deny", "all"):
            listener["hide_client"] = True
            migration.translated(each, "listeners.NAME.hide_client")
        elif each.args[:3] == ("Via", "deny", "all"):
            migration.translated(each, "listeners.NAME.hide_client", "Via is sent, without version or host")


def _bandwidth(root: Directive, migration: Migration, listener: DraftTable) -> None:
    """Write one delay pool of class 1 or 2 that is for all clients."""
    number = root.below("delay_pools")
    classes, rates = root.below("delay_class"), root.below("delay_parameters")
    access = [each.args[1:] for each in root.below("delay_access")]
    lines = [*number, *classes, *rates, *root.below("delay_access")]
    if not number or number[0].args != ("1",) or len(classes) != 1 or not rates or ("allow", "all") not in access:
        return
    names = {"1": ("listener",), "2": ("listener", "source")}.get(classes[0].args[1])
    if names is None or len(rates[0].args) <= len(names):
        return
    found: dict[str, DraftValue] = {}
    for name, pair in zip(names, rates[0].args[1:], strict=False):
        rate = int(pair.partition("/")[0])
        if rate > 0:
            found[name] = byte_size_text(rate)
    listener["bandwidth"] = found
    for each in lines:
        migration.translated(each)
    migration.translated(rates[0], note="in both directions, and without a stock for bursts")


def _process(root: Directive, migration: Migration, draft: Draft) -> None:
    process = draft.table("process")
    for name, key in (("cache_effective_user", "user"), ("cache_effective_group", "group")):
        found = _last(root, name, migration)
        if found is not None and (key == "user" or "user" in process):
            process[key] = found.args[0]
    workers = _last(root, "workers", migration)
    if workers is not None and int(workers.args[0]) > 1:
        process["workers"] = int(workers.args[0])
    stop = _last(root, "shutdown_lifetime", migration)
    if stop is not None:
        process["stop_timeout"] = seconds_as_text(squid_seconds(" ".join(stop.args)))


def _settle(root: Directive, migration: Migration) -> None:
    """Say of each line of which nothing is said yet what becomes of it."""
    for each in root.block or ():
        if migration.knows(each):
            continue
        why = why_not_needed(each.name)
        if each.name == "acl":
            why = "no rule that is translated uses it"
        if why is None:
            migration.gap(each, nearest(each.name))
        else:
            migration.not_needed(each, why)
