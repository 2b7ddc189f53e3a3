"""What a pool has for HTTP: sticky sessions, statuses of passive health checks."""

from __future__ import annotations

import pytest

from lb.config.load import ConfigError, parse
from lb.model import PoolSpec, PoolTlsSpec, Secret, StickySpec
from lb.model.http import StatusRange
from tests.support.complaints import path_and_message


def pool(lines: str, directory) -> PoolSpec:
    text = f"[listeners.web]\nbind = ':80'\n[pools.web]\nservers = ['10.0.0.1:80']\n{lines}\n"
    return parse(text, str(directory / "lb.toml")).pools["web"]


def test_the_secret_of_sticky_cookies_may_be_in_a_file(tmp_path):
    (tmp_path / "secret").write_text("from a file\n")
    assert pool("", tmp_path).sticky is None
    assert pool("sticky = false", tmp_path).sticky is None
    assert pool("sticky = { cookie = 'lb' }", tmp_path).sticky == StickySpec("lb")
    assert pool("sticky = { cookie = 'lb', secret_file = '' }", tmp_path).sticky == StickySpec("lb")
    found = pool("sticky = { cookie = 'lb', secret_file = 'secret' }", tmp_path).sticky
    assert found == StickySpec("lb", Secret("from a file"))
    assert "from a file" not in repr(found)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("[]", ()),
        ("['503']", (StatusRange(503, 503),)),
        ("['500-599', '429']", (StatusRange(500, 599), StatusRange(429, 429))),
    ],
)
def test_statuses_are_ranges(text, ranges, tmp_path):
    assert pool(f"[pools.web.passive]\nstatuses = {text}", tmp_path).passive.statuses == ranges


def test_http2_over_tls_is_agreed_upon_by_alpn(tmp_path):
    http = "http = { protocol = 'h2', max_streams = 10, retry_on = ['grpc_unavailable'] }\n"
    found = pool(http, tmp_path)
    assert (found.http.protocol, found.http.max_streams, found.tls) == ("h2", 10, None)
    assert pool(f"{http}tls = true", tmp_path).tls == PoolTlsSpec(alpn=("h2",))
    both = pool(f"{http}tls = {{ alpn = ['http/1.1', 'h2'] }}", tmp_path).tls
    assert both == PoolTlsSpec(alpn=("http/1.1", "h2"))


NAME = "must be a name of letters, digits and -_.!#$%&'*+^`|~, not "
UNREADABLE = "cannot be read: no such file or directory"
RISING = "a range goes from a status to a higher one, not "
STATUSES = "must hold statuses like '429' and ranges like '500-599', not "
RETRIES = "knows 'reset', 'timeout', '502', '503', '504', 'grpc_unavailable', not "
SIZE = "must be a number of bytes like '256KiB' or '1MiB', not "


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ("sticky = true", "sticky: must be a table, not true"),
        ("sticky = {}", 'sticky.cookie: missing, as in cookie = "lb"'),
        ("sticky = { cookie = 'a=b' }", f"sticky.cookie: {NAME}'a=b'"),
        ("sticky = { cookie = 'a', secret_file = 'no' }", f"sticky.secret_file: 'no' {UNREADABLE}"),
        ("sticky = { cookie = 'a', secret = 'x' }", "sticky.secret: unknown key, did you mean 'secret_file'?"),
        ("passive = { statuses = ['200'], failures = 0 }", "passive.statuses: has no effect with failures = 0"),
        ("passive = { statuses = ['599-500'] }", f"passive.statuses: {RISING}'599-500'"),
        ("passive = { statuses = ['5xx'] }", f"passive.statuses: {STATUSES}'5xx'"),
        ("passive = { statuses = ['600'] }", f"passive.statuses: {STATUSES}'600'"),
        ("http = { keep_alive = 10001 }", "http.keep_alive: must be 10000 or less, not 10001"),
        ("http = { retry_on = ['rest'] }", f"http.retry_on: {RETRIES}'rest', did you mean 'reset'?"),
        ("http = { retry_buffer = '1x' }", f"http.retry_buffer: {SIZE}'1x'"),
        ("http = { protocol = 'h3' }", "http.protocol: must be 'http/1.1' or 'h2', not 'h3'"),
        ("http = { protocol = 'h2', max_streams = 0 }", "http.max_streams: must be 1 or more, not 0"),
        ("http = { max_streams = 10 }", "http.max_streams: has no effect without protocol = 'h2'"),
        ("http = { retry_on = ['grpc_unavailable'] }", "http.retry_on: 'grpc_unavailable' needs protocol = 'h2'"),
        (
            "http = { protocol = 'h2' }\ntls = { alpn = ['http/1.1'] }",
            "tls.alpn: must have 'h2', as the pool's http.protocol",
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_key(lines, error, tmp_path):
    with pytest.raises(ConfigError) as caught:
        pool(lines, tmp_path)
    assert path_and_message(caught.value.errors, tmp_path / "lb.toml") == [f"pools.web.{error}"]
