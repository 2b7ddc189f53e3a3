"""What a purge asks for, and how much was purged."""

from __future__ import annotations

import pytest

from lb.model.purge import Purge, Purged, PurgedUrl, purged_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (b"http://a.example/b?c", PurgedUrl(b"http", b"a.example", b"/b?c")),
        (b"HTTPS://A.Example:443", PurgedUrl(b"https", b"a.example", b"/")),
        (b"http://a.example:443/", PurgedUrl(b"http", b"a.example:443", b"/")),
        (b"http://[::1]:8080?c", PurgedUrl(b"http", b"[::1]:8080", b"/?c")),
        (b"http://a/%C3%A9*", PurgedUrl(b"http", b"a", b"/%C3%A9*")),
    ],
)
def test_a_url_is_read_as_keys_hold_it(text, url):
    assert purged_url(text) == url


@pytest.mark.parametrize("text", ["/a", "ftp://a/", "http://", "http://user@a/", "http://a/#b", "http://a/ b", ""])
def test_what_is_no_url_is_refused(text):
    with pytest.raises(ValueError, match="must be"):
        Purge.parse("url", text)
    assert not Purge("prefix", (text.encode(),)).is_valid


def test_a_tag_may_be_any_printable_text():
    assert Purge.parse("tag", "a b/\u00e9").texts == ("a b/\u00e9".encode(),)
    for text in ("", "a\nb", "a" * 8193):
        with pytest.raises(ValueError, match="printable"):
            Purge.parse("tag", text)


def test_what_several_processes_have_in_memory_counts_once():
    first = Purged(frozenset((b"a", b"b")))
    assert first.plus(Purged(frozenset((b"b", b"c")))).count == 3
    assert first.plus(Purged(frozenset((b"a",)), on_disk=4)).plus(Purged(on_disk=3)).count == 7
