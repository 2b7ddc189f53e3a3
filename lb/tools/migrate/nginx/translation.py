"""nginx.conf as a draft of lb.toml."""

from __future__ import annotations

from pathlib import Path

from lb.tools.migrate.draft import Draft
from lb.tools.migrate.formats import UnreadableError
from lb.tools.migrate.migration import Migration
from lb.tools.migrate.nginx.http import translate_http
from lb.tools.migrate.nginx.reading import read_nginx
from lb.tools.migrate.nginx.rtmp import translate_rtmp
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.stream import translate_stream
from lb.tools.migrate.nginx.words import WORDS, nearest, why_not_needed

__all__ = ["WORDS", "translate"]

_WITHOUT_EFFECT = "it has no effect here"


def translate(path: Path) -> Migration:
    """Read a file. Return what became of each directive, with the draft. Raises UnreadableError."""
    root = read_nginx(path)
    draft = Draft()
    migration = Migration(WORDS, draft)
    migration.enter(root)
    scope = Scope(migration, (root,))
    try:
        _blocks(scope, draft, path.parent.absolute())
    except ValueError as error:  # a number, a size or a time that nginx would not take either
        raise UnreadableError(f"{path}: {error}") from error
    _settle(scope)
    return migration


def _blocks(scope: Scope, draft: Draft, directory: Path) -> None:
    """Translate the blocks of the file."""
    _process(scope, draft)
    media: dict[str, str] = {}
    for block in scope.own("rtmp"):
        media.update(translate_rtmp(scope.inside(block), draft))
    for block in scope.own("http"):
        translate_http(scope.inside(block), draft, directory, media)
    for block in scope.own("stream"):
        translate_stream(scope.inside(block), draft, directory)


def _process(scope: Scope, draft: Draft) -> None:
    """Translate what is said of the process."""
    user = scope.last("user")
    if user is not None:
        scope.migration.translated(user)
        if user.args[0] != "root":
            draft.table("process").update(dict(zip(("user", "group"), user.args, strict=False)))
    workers = scope.take("worker_processes")
    if workers == "auto":
        draft.table("process")["workers"] = "auto"
    elif workers not in (None, "1"):
        draft.table("process")["workers"] = int(workers)
    for each in scope.own("events"):
        scope.migration.all_not_needed(each, "of nginx's own process")


def _settle(scope: Scope) -> None:
    """Say of each directive of which nothing is said yet what becomes of it."""
    for each in scope.block.all():
        if each is scope.block or scope.migration.knows(each):
            continue
        why = why_not_needed(each.name)
        if why is None and each.name in WORDS:
            why = _WITHOUT_EFFECT
        if why is None and each.args == ("off",):
            why = "it is off"
        if why is None:
            scope.migration.gap(each, nearest(each.name))
        scope.migration.all_not_needed(each, why or f"a part of `{each.name}`")
