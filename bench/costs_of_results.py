"""The costs of the balancer, read from the tables of a benchmark's results."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

__all__ = ["Costs", "read_costs"]

CHECKS = 500.0
"""Checks a second in the cases ``checks-tcp`` and ``checks-http``: 1,000 servers each 2 s."""
MB_200 = 5.0
"""Answers of 200 MB in a GB."""


@attrs.frozen
class Costs:
    """Seconds of CPU, and bytes of memory."""

    machine: str
    """What it was measured on."""
    connection: float
    """A connection with one request."""
    handshake: float
    """The same with a full TLS handshake with the client."""
    request: float
    """A further request over a kept connection."""
    request_http: float | None
    """A request of mode ``http``. None: the results have none."""
    gigabyte: float
    """A GB from the server, relayed."""
    gigabyte_tls: float
    """A GB encrypted for the client."""
    idle: float
    """A held connection, without what the kernel has for its two sockets."""
    idle_tls: float
    check: float
    """A tcp check."""
    check_http: float


def read_costs(path: Path) -> Costs:
    """Read the medians of this balancer. Raises KeyError for a case that was not measured."""
    text = path.read_text(encoding="utf-8")
    figures = _figures(text)
    micro, milli, kib = 1e-6, 1e-3, 1024
    request_http = figures.get(("http-keepalive", "CPU of a proxied request, 32 kept connections"))
    return Costs(
        machine=text.partition("\n- ")[2].partition("\n")[0],
        connection=figures["connections", "CPU of a connection with one request, 32 at a time"] * micro,
        handshake=figures["tls-connections", "CPU of a connection with one request, full TLS handshake with the client"]
        * micro,
        request=figures["keepalive", "CPU of a request, 32 kept connections"] * micro,
        request_http=None if request_http is None else request_http * micro,
        gigabyte=figures["download", "CPU of a 200 MB answer, sent by copying"] * milli * MB_200,
        gigabyte_tls=figures["tls-download", "CPU of a 200 MB answer, TLS with the client"] * milli * MB_200,
        idle=figures["idle", "memory of an idle connection, 3,500 held"] * kib,
        idle_tls=figures["tls-idle", "memory of an idle TLS connection, 1,000 held"] * kib,
        check=figures["checks-tcp", "CPU of active checks of 1,000 servers each 2 s, tcp"] / 100 / CHECKS,
        check_http=figures["checks-http", "CPU of active checks of 1,000 servers each 2 s, http"] / 100 / CHECKS,
    )


def _figures(text: str) -> dict[tuple[str, str], float]:
    """Return the median of the first balancer of each row, by case and title."""
    found: dict[tuple[str, str], float] = {}
    case = ""
    for line in text.partition("\n## All figures\n")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 2 and cells[1] == "unit":
            case = cells[0]
        elif len(cells) > 2 and (number := re.match(r"[\d,.]+", cells[2])):
            found[case, cells[0]] = float(number[0].replace(",", ""))
    return found
