"""HAProxy's times, addresses and texts with variables, as lb.toml has them. Pure."""

from __future__ import annotations

import re

__all__ = ["address_of_server", "bound_addresses", "template_text", "time_of"]

_TIME = re.compile(r"([0-9]+)(us|ms|s|m|h|d)?")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}

_FETCHES = {
    "src": "{client_ip}",
    "path": "{path}",
    "capture.req.uri": "{uri}",
    "url": "{uri}",
    "pathq": "{uri}",
    "query": "{query}",
    "method": "{method}",
    "capture.req.method": "{method}",
    "unique-id": "{request_id}",
    "hdr(host)": "{host}",
    "req.hdr(host)": "{host}",
    "hdr(host),lower": "{host}",
    "req.hdr(host),lower": "{host}",
    "req.fhdr(host)": "{host}",
    "hdr(host),field(1,:)": "{host}",
    "req.hdr(host),field(1,:)": "{host}",
    "ssl_fc_sni": "{host}",
    "ssl_fc,iif(https,http)": "{scheme}",
    "srv_name": "{server}",
}
_LETTERS = {"ci": "{client_ip}", "HU": "{uri}", "HP": "{path}", "HM": "{method}", "ID": "{request_id}", "s": "{server}"}
_VARIABLE = re.compile(r"%(?:%|\[((?:[^\[\]]|\[[^\]]*\])*)\]|\{[^}]*\}([A-Za-z]+)|([A-Za-z]+))")


def time_of(text: str) -> float:
    """Return a time in seconds; a bare number is milliseconds. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time")
    return int(match[1]) * _SECONDS[match[2] or "ms"]


def address_of_server(text: str) -> str | None:
    """Return the address of a server; None if there is none like it. One without a port has that of the client."""
    text = re.sub(r"^(ipv[46]|tcp[46]?)@", "", text)
    if text.startswith(("unix@", "/", "abns@")):
        return f"unix:{text.removeprefix('unix@').replace('abns@', '@')}"
    if "@" in text or ":+" in text or ":-" in text:
        return None
    host, port = _host_and_port(text)
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port and port != "0" else host


def bound_addresses(text: str, *, both_families: bool) -> list[str] | None:
    """Return the addresses of ``bind``; None if one has no counterpart."""
    found = []
    for each in text.split(","):
        plain = re.sub(r"^(ipv4|tcp4?)@", "", each)
        if plain.startswith(("unix@", "/", "abns@")):
            found.append(f"unix:{plain.removeprefix('unix@').replace('abns@', '@')}")
            continue
        host, port = _host_and_port(plain.removeprefix("ipv6@"))
        if "@" in plain.removeprefix("ipv6@") or not port:
            return None
        if host == "::" and both_families:
            found.append(f":{port}")
        elif host in ("", "*"):
            found.append(f"[::]:{port}" if plain.startswith("ipv6@") else f"0.0.0.0:{port}")
        else:
            found.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return found


def _host_and_port(text: str) -> tuple[str, str]:
    if match := re.fullmatch(r"\[(.*)\](?::(.*))?", text):
        return match[1], match[2] or ""
    host, colon, port = text.rpartition(":")
    return (host, port) if colon else (text, "")


def template_text(text: str, port: str = "") -> str | None:
    """Return a text of log-format as one with ``{…}``; None if a variable has no counterpart.

    ``port`` is the listener's, if it has one only.
    """
    missing = []

    def value(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        if match[1] is not None:
            fetch = match[1].replace(" ", "")
            if fetch.startswith("str(") and fetch.endswith(")"):
                return match[1].strip()[4:-1]
            found = _FETCHES.get(fetch) or (port if fetch == "dst_port" else "")
        else:
            letters = match[2] or match[3]
            found = _LETTERS.get(letters) or (port if letters == "fp" else "")
        missing.extend([] if found else [match[0]])
        return found

    done = _VARIABLE.sub(value, text)
    return None if missing else done
