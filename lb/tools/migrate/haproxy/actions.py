"""What one ``http-request``, ``http-response`` or ``redirect`` does to a route. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lb.tools.migrate.first_match import RequestMatch
from lb.tools.migrate.haproxy.acl_tests import NoCounterpartError
from lb.tools.migrate.haproxy.values import template_text
from lb.tools.migrate.paths_and_hosts import prefix_change
from lb.tools.migrate.route_edits import (
    HeaderSide,
    RouteEdits,
    answer_with,
    change_prefixes,
    edit_header,
    remove_header,
)

__all__ = ["RouteAction", "condition_at", "header_action", "path_action", "redirect_action", "respond_action"]

RouteAction: TypeAlias = Callable[[RouteEdits, str], bool]
"""Changes what a route says; gets the listener's port, too. True: the answer is made, and no rule comes after it."""

_REDIRECTS = ("301", "302", "303", "307", "308")
_TEXT_LIKE = ("", "text/plain")


def condition_at(words: Sequence[str]) -> int:
    """Return where the condition begins."""
    return next((number for number, each in enumerate(words) if each in ("if", "unless")), len(words))


def header_action(words: Sequence[str], *, of_response: bool) -> RouteAction:
    """Read ``set-header``, ``add-header`` or ``del-header``, with its arguments. Raises NoCounterpartError."""
    kind, name = words[0].partition("-")[0], words[1]
    side: HeaderSide = "response_headers" if of_response else "request_headers"
    if kind == "del" and len(words) > 2:
        raise NoCounterpartError("`remove` of headers has whole names")
    if kind != "del" and template_text(words[2], "1") is None:
        raise NoCounterpartError("values of headers may hold {client_ip}, {host}, {path}, {uri}, {method} and so on")

    def remove(keys: RouteEdits, _: str) -> bool:
        remove_header(keys, side, name)
        return False

    def edit(keys: RouteEdits, port: str) -> bool:
        edit_header(keys, side, "add" if kind == "add" else "set", name, template_text(words[2], port) or "")
        return False

    return remove if kind == "del" else edit


def path_action(words: Sequence[str]) -> tuple[RouteAction, RequestMatch]:
    """Read ``set-path``, ``replace-path`` and so on; return it with the paths that it is about.

    Raises NoCounterpartError.
    """
    text = words[1] if len(words) > 1 else ""
    if words[0] in ("set-path", "set-uri"):
        if text.endswith(("%[path]", "%[pathq]")) and text.startswith("/"):
            added = text.partition("%[")[0].rstrip("/")
            return _prefixes("", added), RequestMatch()
        inner = text.removeprefix("%[path,regsub(").removesuffix(")]")
        pattern, _, replacement = inner.replace('"', "").replace("'", "").partition(",")
        found = prefix_change(pattern, replacement.partition(",")[0] or "/") if inner != text else None
    else:
        found = prefix_change(text, words[2]) if len(words) > 2 else None
    if found is None:
        raise NoCounterpartError("`strip_prefix` takes segments off the path, `add_prefix` puts some before it")
    return _prefixes(*found), RequestMatch(path=found[0])


def _prefixes(stripped: str, added: str) -> RouteAction:
    def change(keys: RouteEdits, _: str) -> bool:
        change_prefixes(keys, stripped, added)
        return False

    return change


def redirect_action(words: Sequence[str]) -> RouteAction:
    """Read the arguments of a redirect. Raises NoCounterpartError."""
    kind, text, *options = (*words, "", "")
    status = options[options.index("code") + 1] if "code" in options[:-1] else "302"
    if status not in _REDIRECTS or {"set-cookie", "clear-cookie", "append-slash", "ignore-empty"} & {*options}:
        raise NoCounterpartError("a redirect has a `status`, and sets no cookies")
    url = template_text(text)
    if url is None or kind not in ("scheme", "prefix", "location"):
        raise NoCounterpartError("`redirect` may hold {host}, {path}, {uri}, {query} and {scheme}")
    if kind == "scheme":
        url = f"{url}://{{host}}{{uri}}"
    elif kind == "prefix":
        url = url.rstrip("/") + ("{path}" if "drop-query" in options else "{uri}")

    def redirect(keys: RouteEdits, _: str) -> bool:
        answer_with(keys, redirect=url, status=int(status))
        return True

    return redirect


def respond_action(words: Sequence[str]) -> RouteAction:
    """Read ``deny``, ``tarpit`` or ``return``, with its arguments. Raises NoCounterpartError."""
    options = dict(zip(words[1::2], words[2::2], strict=False))
    status = (
        options.get("status") or options.get("deny_status") or {"deny": "403", "tarpit": "500"}.get(words[0], "200")
    )
    text = template_text(options.get("lf-string", "")) if "lf-string" in options else options.get("string", "")
    kind = options.get("content-type", "").partition(";")[0]
    if {"file", "lf-file", "errorfile", "errorfiles"} & options.keys():
        raise NoCounterpartError("`files` serves a directory, `respond` a text")
    if text is None or (text and kind not in _TEXT_LIKE):
        raise NoCounterpartError("`respond` is a text, sent as text/plain; `files` serves other types")

    def respond(keys: RouteEdits, _: str) -> bool:
        answer_with(keys, respond=text, status=int(status))
        return True

    return respond
