"""``lb migrate`` as users run it: what it prints where, and its exit codes."""

from __future__ import annotations

import pytest

from tests.support.balancer import run_lb
from tests.support.migrating import DATA
from tests.support.paths import EXAMPLES

COMPLETE = "events {}\nhttp {\n  server {\n    listen 80;\n    return 204;\n  }\n}\n"
WITH_A_GAP = COMPLETE.replace("return 204;", "return 204;\n    error_page 404 /x.html;")


def written(tmp_path, text, name="nginx.conf"):
    path = tmp_path / name
    path.write_text(text)
    return path


async def test_a_complete_configuration_exits_with_0_and_is_valid(tmp_path):
    code, text, said = await run_lb("migrate", EXAMPLES / "video-cache" / "nginx.conf")
    assert code == 0
    assert said == f"{EXAMPLES}/video-cache/nginx.conf: 13 directives: 12 translated, 1 not needed, complete\n"
    (tmp_path / "lb.toml").write_text(text)
    code, summary, errors = await run_lb("check", tmp_path / "lb.toml", "--strict")
    assert (code, errors) == (0, "")
    assert "cache video_cache: /var/cache/trio-lb up to 1GiB" in summary


async def test_a_gap_is_a_comment_a_line_and_exit_code_3(tmp_path):
    path = written(tmp_path, WITH_A_GAP)
    code, text, said = await run_lb("migrate", path)
    assert code == 3
    assert "# no counterpart: error_page 404 /x.html (nginx.conf:6): " in text
    assert said.startswith(f"{path}: 6 directives: 4 translated, 1 not needed, 1 without a counterpart\n")
    assert "nginx.conf:6: error_page 404 /x.html: no counterpart: " in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http {\n", 'unexpected end of file, expecting "}" in PATH:1'),
        (
            "http { server { listen 80; proxy_pass; } }",
            'invalid number of arguments in "proxy_pass" directive in PATH:1',
        ),
    ],
)
async def test_what_cannot_be_read_exits_with_2(tmp_path, text, said):
    path = written(tmp_path, text)
    assert await run_lb("migrate", path) == (2, "", f"lb: {said.replace('PATH', str(path))}\n")


async def test_a_file_that_is_not_there_exits_with_2(tmp_path):
    path = tmp_path / "nginx.conf"
    assert await run_lb("migrate", path) == (2, "", f"lb: {path}: cannot be read: no such file or directory\n")


async def test_of_which_program_a_file_is_must_be_clear(tmp_path):
    path = written(tmp_path, "worker_processes 2;\n", "some.conf")
    code, text, said = await run_lb("migrate", path)
    assert (code, text) == (2, "")
    assert said.startswith(f"lb: {path}: is of no known program; say which with --from: nginx")
    assert (await run_lb("migrate", path, "--from", "nginx"))[1] == "[process]\nworkers = 2\n"


async def test_files_that_are_on_another_machine_are_told_and_do_not_count(tmp_path):
    code, _, said = await run_lb("migrate", DATA / "nginx" / "certbot.conf")
    assert code == 0
    assert "lb check: lb.toml: listeners.https.tls.certificate: '/etc/tls/a.pem' cannot be read" in said


async def test_explain_prints_what_became_of_each_directive(tmp_path):
    code, text, _ = await run_lb("migrate", "--explain", written(tmp_path, WITH_A_GAP))
    assert code == 3
    assert [line.split()[:2] for line in text.splitlines()] == [
        [f"nginx.conf:{line}", name]
        for line, name in ((1, "events"), (2, "http"), (3, "server"), (4, "listen"), (5, "return"), (6, "error_page"))
    ]


async def test_explain_without_a_file_prints_the_words_of_a_program():
    code, text, said = await run_lb("migrate", "--explain", "--from", "nginx")
    assert (code, said) == (0, "")
    assert text.startswith("nginx\n")
    words = dict(line.split(maxsplit=1) for line in text.splitlines()[1:] if " " in line)
    assert words["proxy_read_timeout"] == "pools.NAME.http.response_timeout"


async def test_a_file_or_explain_is_needed():
    assert await run_lb("migrate") == (2, "", "lb: lb migrate needs the file to translate, or --explain\n")
