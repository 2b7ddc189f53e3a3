"""Texts with variables, and what a request's bytes can do in them: nothing but stand there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http.templates import VARIABLES, RequestValues, Template
from lb.http1.grammar import VALUE_BYTES, MalformedError
from lb.http1.request_head import RequestHeads


def values(line=b"GET /a%20b/c?x=1&y=2 HTTP/1.1", host=b"Example.COM:8080", **more):
    head = RequestHeads().read(b"%s\r\nHost: %s\r\n\r\n" % (line, host))
    return RequestValues(head, **{"client_ip": b"192.0.2.1", "scheme": b"https", "request_id": b"abc-1"} | more)


EXPECTED = {
    "client_ip": b"192.0.2.1",
    "host": b"example.com",
    "path": b"/a%20b/c",
    "uri": b"/a%20b/c?x=1&y=2",
    "query": b"x=1&y=2",
    "method": b"GET",
    "scheme": b"https",
    "request_id": b"abc-1",
    "server": b"web/a",
    "cache_status": b"HIT",
}


def test_there_is_a_test_for_each_variable():
    assert EXPECTED.keys() == set(VARIABLES)


@pytest.mark.parametrize(("name", "value"), EXPECTED.items())
def test_a_variable_has_the_value_of_the_request(name, value):
    given_values = values(server=b"web/a", cache_status=b"HIT")
    assert Template(f"<{{{name}}}>").render(given_values) == b"<" + value + b">"


def test_several_variables_stand_in_one_text():
    template = Template("{scheme}://{host}:8443{uri}#{host}")
    assert template.render(values()) == b"https://example.com:8443/a%20b/c?x=1&y=2#example.com"
    assert template.constant is None
    assert template.names == ("scheme", "host", "uri", "host")


@pytest.mark.parametrize(
    "text", ["", "plain", '{"ok": true}', "{}", "{ host }", "{Host}", "{host", "{hosts}", "}{", "a\nb", "ä"]
)
def test_a_text_without_variables_is_constant(text):
    assert Template(text).constant == text.encode()
    assert Template(text).render(values()) == text.encode()


@pytest.mark.parametrize(
    ("host", "name"),
    [(b"a.example", b"a.example"), (b"a.example:1", b"a.example"), (b"[::1]", b"[::1]"), (b"[::1]:80", b"[::1]")],
)
def test_the_host_has_no_port(host, name):
    assert values(host=host).host == name


def test_an_asterisk_counts_as_the_root():
    assert values(b"OPTIONS * HTTP/1.1").uri == b"/"


def test_a_url_as_target_has_a_path_and_a_query():
    given_values = values(b"GET http://example.com:8080/?q HTTP/1.1")
    assert (given_values.uri, given_values.path, given_values.query) == (b"/?q", b"/", b"q")


@given(st.binary(), st.binary())
def test_a_value_never_ends_a_line(request_id, server):
    given_values = values(request_id=request_id, server=server)
    text = Template("a{request_id}b{server}c").render(given_values)
    assert not text.translate(None, VALUE_BYTES)


@given(st.binary(min_size=1, max_size=60))
def test_what_a_target_renders_to_is_its_own_bytes(target):
    try:
        given_values = values(b"GET /" + target + b" HTTP/1.1")
    except MalformedError:
        return
    assert Template("{uri}").render(given_values) == b"/" + target
    assert Template("{path}?{query}").render(given_values).rstrip(b"?") == (b"/" + target).rstrip(b"?")
