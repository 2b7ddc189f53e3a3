"""Mutated heads: real ones and attacks, changed in one to three places as an attacker or a faulty program would."""

from __future__ import annotations

BROWSERS = (
    (
        b"GET / HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/2010 "
        b"Firefox/115.0\r\nAccept: text/html,application/xhtml+xml;q=0.9\r\nAccept-Language: en-US,en;q=0.5\r\n"
        b"Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nCookie: sid=1; theme=dark\r\n"
        b"Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\r\n"
    ),
    (
        b"GET /app.js?v=3 HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\nsec-ch-ua: "
        b'"Chromium";v="118", "Not=A?Brand";v="99"\r\nsec-ch-ua-mobile: ?0\r\nUser-Agent: Chrome/118.0.0.0\r\n'
        b"Accept: */*\r\nReferer: https://www.example.com/\r\nAccept-Encoding: gzip, deflate, br\r\ncookie: a=b\r\n\r\n"
    ),
    (
        b"POST /api/v1/items HTTP/1.1\r\nhost: api.example.com:8443\r\nuser-agent: curl/7.88.1\r\naccept: */*\r\n"
        b"content-type: application/json\r\ncontent-length: 12\r\nauthorization: Bearer abc.def\r\n\r\n"
    ),
)

_PIECES = (
    *(bytes([byte]) for byte in (0, 9, 10, 11, 12, 13, 27, 32, 34, 35, 44, 58, 59, 63, 64, 92, 127, 128, 160, 255)),
    *(
        b"\r\n",
        b"\n\n",
        b"\r\r\n",
        b"\r\n ",
        b"\r\n\t",
        b" :",
        b": ",
        b"%2e",
        b"..",
        b"//",
        b"0",
        b"5",
        b"f",
        b"g",
        b"+",
    ),
    *(b"Host: b.example\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(b"chunked", b"identity", b"HTTP/1.0", b"HTTP/1.1", b"GET ", b"Cookie: c=d\r\n", b"X_Forwarded_For: 1\r\n"),
)


def mutated(choice, data):
    """Return the message with one to three changes; ``choice`` is a random.Random."""
    for _ in range(choice.choice((1, 1, 1, 2, 3))):
        data = _CHANGES[choice.randrange(len(_CHANGES))](choice, data)
    return data


def _insert(choice, data):
    at = choice.randint(0, len(data))
    return data[:at] + choice.choice(_PIECES) + data[at:]


def _insert_line(choice, data):
    """Insert where a line begins, which is where it tells most."""
    lines = data.split(b"\r\n")
    at = _line(choice, lines)
    return b"\r\n".join([*lines[:at], choice.choice(_PIECES).removesuffix(b"\r\n"), *lines[at:]])


def _replace(choice, data):
    at = choice.randint(0, len(data))
    piece = choice.choice(_PIECES)
    return data[:at] + piece + data[at + len(piece) :]


def _delete(choice, data):
    at = choice.randint(0, len(data))
    return data[:at] + data[at + choice.randint(1, 3) :]


def _double_line(choice, data):
    lines = data.split(b"\r\n")
    at = _line(choice, lines)
    return b"\r\n".join([*lines[: at + 1], *lines[at:]])


def _swap_lines(choice, data):
    lines = data.split(b"\r\n")
    one, other = _line(choice, lines), _line(choice, lines)
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _line(choice, lines):
    """Choose a line, mostly a field."""
    return choice.randrange(choice.choice((0, 1, 1, 1)), max(2, len(lines) - 2)) % len(lines)


def _change_case(choice, data):
    at = choice.randint(0, len(data))
    return data[:at] + data[at : at + 8].swapcase() + data[at + 8 :]


_CHANGES = (_insert, _insert, _insert_line, _replace, _delete, _double_line, _swap_lines, _change_case)
