"""The login at the servers of a pool that are proxies."""

from __future__ import annotations

import pytest

from lb.config.load import ConfigError, parse
from lb.model import ProxyLogin, Secret
from tests.support.complaints import path_and_message


def login(lines: str, directory) -> ProxyLogin | None:
    text = f"[listeners.web]\nbind = ':80'\n[pools.web]\nservers = ['10.0.0.1:80']\n{lines}\n"
    return parse(text, str(directory / "lb.toml")).pools["web"].proxy


def test_the_password_is_in_a_file_and_is_never_printed(tmp_path):
    (tmp_path / "secret").write_text("from a file\n")
    found = login("proxy = { user = 'ann', password_file = 'secret' }", tmp_path)
    assert found == ProxyLogin("ann", Secret("from a file"))
    assert "from a file" not in repr(found)


@pytest.mark.parametrize("lines", ["", "proxy = {}", "proxy = { user = '', password_file = '' }"])
def test_without_a_user_and_a_file_there_is_no_login(lines, tmp_path):
    assert login(lines, tmp_path) is None


USER = "proxy.user: must have at most 255 printable characters without ':', not "


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ("user = 'a:b', password_file = 'secret'", f"{USER}'a:b'"),
        ("user = \"a\\tb\", password_file = 'secret'", f"{USER}'a\\tb'"),
        ("user = 'ann'", "proxy.password_file: missing, 'user' has no effect without it"),
        ("password_file = 'secret'", "proxy.user: missing, 'password_file' has no effect without it"),
        ("user = 'ann', password_file = 'no'", "proxy.password_file: 'no' cannot be read: no such file or directory"),
        ("user = 'ann', password = 'x'", "proxy.password: unknown key, did you mean 'password_file'?"),
    ],
)
def test_what_is_wrong_is_told_at_its_key(table, error, tmp_path):
    (tmp_path / "secret").write_text("from a file\n")
    with pytest.raises(ConfigError) as caught:
        login(f"proxy = {{ {table} }}", tmp_path)
    assert f"pools.web.{error}" in path_and_message(caught.value.errors, tmp_path / "lb.toml")
