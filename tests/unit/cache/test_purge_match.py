"""Which keys a purge finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.cache.cache_key import KeyTemplate
from lb.cache.purge_match import MARK_TAG, purge_match
from lb.model.purge import Purge
from tests.support.cached_requests import request

TEMPLATES = (
    "{scheme}{host}{uri}",
    "{uri}",
    "{query}-{path}{method}",
    "x{header:Accept}+{cookie:a}{host}{path}?{query}",
    "{cookie:a}{path}{header:Accept}",
)


def matches(kind, text, template, key, tags=()):
    return purge_match(Purge(kind, (text,)), [KeyTemplate(template)])(key, tags)


words = st.text("ab.*+?()[]|", max_size=4).map(lambda text: text.replace("?", "").encode())


@pytest.mark.parametrize("template", TEMPLATES)
@given(
    path=words, query=words, other=words, method=st.sampled_from([b"GET", b"HEAD"]), accept=words, port=st.booleans()
)
def test_a_url_finds_its_key_and_no_other(template, path, query, other, method, accept, port):
    target = b"/%s?%s" % (path, query)
    lines = (f"Accept: x{accept.decode()}", "Cookie: a=1")
    host = "a.example:80" if port else "a.example"
    asked = request(*lines, uri=target.decode(), host=host, method=method.decode())
    key = KeyTemplate(template)(b"http", asked)
    assert matches("url", b"http://a.example" + target, template, key)
    assert not matches("url", b"http://a.example" + target, template, key, (MARK_TAG,))
    wanted = b"/%s?%s" % (other, query)
    assert matches("url", b"http://a.example" + wanted, template, key) == (other == path)


@pytest.mark.parametrize("template", TEMPLATES)
@given(path=words, query=words, cut=st.integers(1, 12))
def test_every_beginning_of_a_url_finds_its_key(template, path, query, cut):
    target = b"/%s?%s" % (path, query)
    key = KeyTemplate(template)(b"https", request(uri=target.decode(), host="a.example"))
    assert matches("prefix", b"https://a.example" + target[:cut], template, key)
    if "uri" in template or "query" in template:
        assert not matches("prefix", b"https://a.example" + target + b"x", template, key)


@pytest.mark.parametrize("url", [b"https://a.example/b", b"http://b.example/b", b"http://a.example:8080/b"])
def test_another_scheme_host_or_port_is_another_url(url):
    template = "{scheme}{host}{uri}"
    key = KeyTemplate(template)(b"http", request(uri="/b", host="a.example"))
    assert not matches("url", url, template, key)
    assert not matches("prefix", url[:-1], template, key)


def test_a_tag_is_matched_whole():
    match = purge_match(Purge("tag", (b"news",)), ())
    assert match(b"any", (b"sport", b"news"))
    assert not match(b"any", (b"newspaper", b"News"))


def test_keys_are_matched_whole():
    match = purge_match(Purge.of_keys([b"a", b"b"]), ())
    assert match(b"b", (b"any",))
    assert not match(b"b", (MARK_TAG,))
    assert not match(b"ab", ())


def test_the_keys_of_all_templates_are_found():
    templates = [KeyTemplate("{uri}"), KeyTemplate("{path}")]
    match = purge_match(Purge("url", (b"http://a/b?c", b"http://a/d")), templates)
    assert [match(key, ()) for key in (b"/b?c", b"/b", b"/d", b"/e")] == [True, True, True, False]
