"""The names of /etc/hosts."""

from __future__ import annotations

import pytest

from lb.forward.hosts_file import read_hosts

HOSTS = """\
# comment
127.0.0.1\tlocalhost  Web.Example.
::1 localhost ip6-localhost # 10.0.0.9 commented

10.0.0.1 web.example
10.0.0.1 web.example
10.0.0.2
"""


def test_names_are_in_lower_case_and_lines_of_a_name_add_up(tmp_path):
    file = tmp_path / "hosts"
    file.write_text(HOSTS)
    assert read_hosts(file) == {
        "localhost": ("127.0.0.1", "::1"),
        "web.example": ("127.0.0.1", "10.0.0.1"),
        "ip6-localhost": ("::1",),
    }


@pytest.mark.parametrize("content", [b"", b"\n\n#\n", b"\xff\xfe\0", b"10.0.0.1"])
def test_a_file_without_names_has_none(tmp_path, content):
    file = tmp_path / "hosts"
    file.write_bytes(content)
    assert read_hosts(file) == {}


def test_a_file_that_is_not_there_has_none(tmp_path):
    assert read_hosts(tmp_path / "none") == {}
