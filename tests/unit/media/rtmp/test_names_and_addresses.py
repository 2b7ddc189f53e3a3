"""What clients ask for by name, and where streams are pushed to and pulled from."""

from __future__ import annotations

import pytest

from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.stream_name import StreamName, read_stream_name
from lb.model.rtmp_address import RtmpAddress, read_rtmp_address, rtmp_template


@pytest.mark.parametrize(
    ("app", "name", "expected"),
    [
        ("live", "show", StreamName("live", "show", "")),
        ("live", "show?key=a%20b&other=1", StreamName("live", "show", "a b")),
        ("/live/", "/show?key=a", StreamName("live", "show", "a")),
        ("live?key=a", "show", StreamName("live", "show", "a")),
        ("live?key=a", "show?key=b", StreamName("live", "show", "b")),
        ("a/b", "x.y-z_1@2", StreamName("a/b", "x.y-z_1@2", "")),
        ("", "x" * 128, StreamName("", "x" * 128, "")),
    ],
)
def test_a_stream_is_named_with_its_key(app, name, expected):
    assert read_stream_name(app, name) == expected
    assert "key=" not in repr(expected)


@pytest.mark.parametrize(
    "name", ["", "?key=a", "..", ".hidden", "a/b", "../x", "a b", "a\n", "a\0", "*", "é", "a%2fb", "x" * 129, "a{b}"]
)
def test_a_name_that_could_mean_something_else_in_a_path_is_refused(name):
    with pytest.raises(ProtocolError) as caught:
        read_stream_name("live", name)
    assert caught.value.reason == "protocol"


def test_a_name_has_few_arguments():
    with pytest.raises(ProtocolError) as caught:
        read_stream_name("live", "show?" + "a=1&" * 33)
    assert caught.value.reason == "limit"


def test_the_name_of_an_application_is_short():
    with pytest.raises(ProtocolError) as caught:
        read_stream_name("a" * 129 + "?key=b", "show")
    assert caught.value.reason == "limit"


@pytest.mark.parametrize(
    ("text", "address", "app_url"),
    [
        ("rtmp://h/live/show", RtmpAddress(False, "h", 1935, "live", "show"), "rtmp://h/live"),
        ("rtmp://h:1936/a/b/show?key=x", RtmpAddress(False, "h", 1936, "a/b", "show?key=x"), "rtmp://h:1936/a/b"),
        ("rtmps://h/live/show", RtmpAddress(True, "h", 443, "live", "show"), "rtmps://h/live"),
        ("rtmp://[::1]:5/live/show", RtmpAddress(False, "::1", 5, "live", "show"), "rtmp://[::1]:5/live"),
    ],
)
def test_an_address_is_read_and_named_again(text, address, app_url):
    assert read_rtmp_address(text) == address
    assert read_rtmp_address(text).app_url == app_url
    assert "key" not in repr(read_rtmp_address(text))


@pytest.mark.parametrize(
    "text",
    ["", "http://h/live/show", "rtmp://h", "rtmp://h/show", "rtmp:///a/b", "rtmp://h:x/a/b", "rtmp://h:99999/a/b",
     "rtmp://u:p@h/a/b", "rtmp://h/live/"],
)  # fmt: skip
def test_what_names_no_stream_is_refused(text):
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        read_rtmp_address(text)


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("rtmp://h/live/{name}?key=k", "rtmp://h/live", "show?key=k"),
        ("rtmp://h/{app}/{name}-{name}", "rtmp://h/studio", "show-show"),
        ("rtmp://h/{app}-copy/abcd", "rtmp://h/studio-copy", "abcd"),
    ],
)
def test_an_address_has_the_names_of_a_stream_in_it(text, url, name):
    found = rtmp_template(text).of_stream("studio", "show")
    assert (found.app_url, found.name) == (url, name)


@pytest.mark.parametrize(
    "text",
    ["rtmp://h/a/{nam}", "rtmp://h/a/{}", "rtmp://h/a/{name", "rtmp://h/a/}", "rtmp://{app}/a/b", "rtmp://h/a/{Name}"],
)
def test_braces_are_those_of_variables(text):
    with pytest.raises(ValueError, match=r"brace|host"):
        rtmp_template(text)


@pytest.mark.parametrize(
    "text",
    ["rtmp://h/a/b#secret", "rtmp://h/a/b secret", "rtmp://secret:secret@h/a/b", "rtmp://h:secret/a/b", "x://secret"],
)
def test_what_is_said_of_an_address_that_is_refused_has_no_key_in_it(text):
    with pytest.raises(ValueError, match="URL") as caught:
        read_rtmp_address(text)
    assert "secret" not in str(caught.value)
