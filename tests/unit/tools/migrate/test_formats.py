"""Of which program a file is: by its name, else by its content; refused if that is not clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from lb.tools.migrate.formats import FORMATS, UnreadableError, format_of
from lb.tools.migrate.migration import Migration

SAMPLES = {
    "nginx": "worker_processes auto;\nevents {}\nhttp { server { listen 80; } }\n",
    "haproxy": "defaults\n  mode http\nfrontend www\n  bind :80\n  default_backend web\n",
    "traefik": "http:\n  routers:\n    a:\n      rule: Host(`a.example`)\n      service: b\n",
    "squid": "http_port 3128\nhttp_access deny all\n",
}
NAMES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "traefik": "traefik.yml", "squid": "squid.conf"}


@pytest.mark.parametrize("program", FORMATS)
def test_the_name_of_the_file_tells(program):
    assert format_of(Path("/etc") / NAMES[program], "") is FORMATS[program]


@pytest.mark.parametrize("program", FORMATS)
def test_the_content_tells_whatever_the_name(program):
    assert format_of(Path("balancer.conf"), SAMPLES[program]) is FORMATS[program]


def test_one_site_of_nginx_is_known():
    assert format_of(Path("example.org"), "# my site\n  server {\n listen 80;\n}\n").name == "nginx"


@pytest.mark.parametrize("text", ["", "hello\n", "[listeners.web]\nbind = ':80'\n"])
def test_what_is_of_no_known_program_is_refused(text):
    with pytest.raises(UnreadableError, match="is of no known program; say which with --from: nginx"):
        format_of(Path("some.conf"), text)


@pytest.mark.parametrize("program", FORMATS)
def test_a_format_has_words_and_translates(program, tmp_path):
    path = tmp_path / NAMES[program]
    path.write_text(SAMPLES[program])
    assert FORMATS[program].words()
    assert isinstance(FORMATS[program].translate(path), Migration)
