"""``watch``: a file that changed is loaded by itself, as by SIGHUP, whichever way editors and tools have changed it."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from lb.config.load import load
from lb.net.files import note_reads
from lb.service.config_watch import UNCHANGED_FOR
from lb.tools.reference.tables import page, rows
from tests.e2e.process.test_privileges import AS_USER, as_root, ask_tls, home, needs_root, new_key, python
from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import LB, PATIENCE, ask, balancer, config, exec_lb, followed
from tests.support.effort import DEEP
from tests.support.paths import ROOT
from tests.support.servers import serving

__all__ = ["home", "python"]  # fixtures

pytestmark = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")
WATCH = "[process]\nwatch = true"
TLS = '[listeners.web.tls]\ncertificate = "cert.pem"\nkey = "key.pem"'


# The ways of editors and tools


async def run(*command):
    with trio.fail_after(PATIENCE):
        await trio.run_process([*map(str, command)], stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True)


async def sed(path, old, new):
    await run("sed", "-i", f"s/{old}/{new}/", path)


async def ed(path, old, new):
    script = path.with_name("script")
    script.write_text(f"g/{old}/s//{new}/\nw\nq\n")
    await run("sh", "-c", f"{program('ed')} -s '{path}' < '{script}'")


async def vim(path, old, new, backupcopy):
    command = shutil.which("vim.tiny") or program("vim")
    commands = [f"set nocompatible backup writebackup backupcopy={backupcopy}", f"%s/{old}/{new}/", "wq"]
    await run(
        command, "-u", "NONE", "-i", "NONE", "-n", "-es", *(part for each in commands for part in ("-c", each)), path
    )


async def vim_that_writes_in_place(path, old, new):
    await vim(path, old, new, "yes")


async def vim_that_renames(path, old, new):
    await vim(path, old, new, "no")


async def nano(path, old, new):
    """On a terminal: replace all, save, exit."""
    keys, terminal = pty.openpty()
    process = await trio.lowlevel.open_process(
        [program("nano"), "--ignorercfiles", path],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "LC_ALL": "C"},
    )
    os.close(terminal)
    shown = b""
    with trio.fail_after(PATIENCE):
        while b"Exit" not in shown:  # before that, it would throw keys away
            await trio.lowlevel.wait_readable(keys)
            shown += os.read(keys, 65536)
        os.write(keys, f"\x1c{old}\r{new}\rA\x13\x18".encode())
        while process.poll() is None:
            with trio.move_on_after(0.01), suppress(OSError):  # EIO: nano has closed the terminal
                await trio.lowlevel.wait_readable(keys)
                os.read(keys, 65536)
    os.close(keys)


async def copy_over(path, old, new):
    path.with_name("new").write_text(path.read_text().replace(old, new))
    shutil.copyfile(path.with_name("new"), path)


async def move_over(path, old, new):
    draft = path.with_name("draft")
    draft.write_text(path.read_text().replace(old, new))
    draft.rename(path)


async def write_in_two_parts(path, old, new):
    text = path.read_text().replace(old, new)
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        await trio.sleep(2 * UNCHANGED_FOR)  # the writer is slow: longer than files have to stay unchanged
        file.write(text[len(text) // 2 :])


async def put_another_directory(path, old, new):
    """The whole directory is another one, as after an unpacked release."""
    home = path.parent
    shutil.copytree(home, home.with_name("release"))
    other = home.with_name("release") / path.name
    other.write_text(other.read_text().replace(old, new))
    home.rename(home.with_name(f"before-{new[-1]}"))
    home.with_name("release").rename(home)


WAYS = [
    sed,
    ed,
    vim_that_writes_in_place,
    vim_that_renames,
    nano,
    copy_over,
    move_over,
    write_in_two_parts,
    put_another_directory,
]


async def test_each_way_to_change_a_file_is_one_reload(tmp_path):
    home = tmp_path / "conf"
    home.mkdir()
    async with serving() as server, balancer(home, config((server, "weight = 10"), top=WATCH)) as lb:
        for number, change in enumerate(WAYS, 11):
            await change(lb.config_file, f"weight = {number - 1}", f"weight = {number}")
            await lb.event("config.applied", changed=["web/s"], count=number - 10)
            assert lb.of("config.changed")[-1]["files"] == [str(lb.config_file)], change
        assert await ask(lb.port) == b"s\n"
    assert len(lb.of("config.applied")) == len(WAYS)


def put_volume(home, files):
    """Put files into a directory as kubelet does: into a new one, which a renamed link leads to."""
    content = home / f"..{len(list(home.iterdir()))}"
    content.mkdir()
    for name, text in files.items():
        (content / name).write_bytes(text)
        if not (home / name).is_symlink():
            (home / name).symlink_to(f"..data/{name}")
    (home / "..data_tmp").symlink_to(content.name)
    (home / "..data_tmp").rename(home / "..data")


@one_process_or_two
async def test_a_volume_of_kubernetes_is_loaded_as_a_whole(tmp_path):
    async with serving() as server:
        texts = [config((server, f"weight = {weight}"), listener=TLS, top=WATCH).encode() for weight in (1, 2, 3)]
        contexts = [new_key(tmp_path)]
        home = tmp_path / "volume"
        home.mkdir()

        def swap(text):
            put_volume(
                home,
                {
                    "lb.toml": text,
                    **{f"{name}.pem": (tmp_path / f"{name}.pem").read_bytes() for name in ("cert", "key")},
                },
            )

        swap(texts[0])
        async with balancer(home, texts[0].decode()) as lb:
            for number in (1, 2):
                contexts.append(new_key(tmp_path))
                swap(texts[number])
                await lb.event("config.applied", count=number)
                assert await ask_tls(lb.port, contexts[-1]) == b"s"
        assert [sorted(event["files"]) for event in lb.of("config.changed")] == 2 * [
            [str(home / name) for name in ("cert.pem", "key.pem", "lb.toml")]
        ]
    assert not lb.of("config.rejected")


async def test_what_is_refused_is_said_once_and_changes_nothing(tmp_path):
    async with serving() as server:
        text = config(server, top=WATCH)
        async with balancer(tmp_path, text) as lb:
            path = lb.config_file
            for number, break_it in enumerate((lambda: path.write_text("no toml"), path.unlink), 1):
                break_it()
                rejected = await lb.event("config.rejected", count=2 * number - 1)
                assert str(path) in rejected["errors"][0]
                assert await ask(lb.port) == b"s\n"
                path.with_name("other").touch()
                path.write_text(text.replace('bind = "127.0.0.1:0"', 'bind = "192.0.2.1:1"'))
                assert "192.0.2.1" in (await lb.event("config.rejected", count=2 * number))["errors"][0]
                path.write_text(text)
                await lb.event("config.applied", count=number)
            assert len(lb.of("config.rejected")) == 4


async def test_a_file_that_was_missing_is_loaded_when_it_comes(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server, top=WATCH)) as lb:
        new_key(tmp_path)
        (tmp_path / "cert.pem").rename(tmp_path / "later.pem")
        lb.config_file.write_text(config(server, top=WATCH, listener=TLS))
        assert "cert.pem" in (await lb.event("config.rejected"))["errors"][0]
        (tmp_path / "later.pem").rename(tmp_path / "cert.pem")
        await lb.event("config.applied", changed=["web"])
        assert lb.of("config.changed")[-1]["files"] == [str(tmp_path / "cert.pem")]


async def test_a_reload_turns_it_off_and_on(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server, top=WATCH)) as lb:
        lb.config_file.write_text(config(server))
        await lb.event("config.applied")
        assert (await lb.reload(config((server, "weight = 2"))))["changed"] == ["web/s"]
        assert len(lb.of("config.changed")) == 1, "it was turned off"
        await lb.reload(config((server, "weight = 3"), top=WATCH))
        lb.config_file.write_text(config((server, "weight = 4"), top=WATCH))
        await lb.event("config.applied", count=4)
    assert len(lb.of("config.changed")) == 2


async def test_after_an_upgrade_the_successor_watches_alone(tmp_path):
    """With ``--watch``, which the successor has as well."""
    file = tmp_path / "lb.toml"
    async with serving() as server:
        file.write_text(config(server))
        process = await exec_lb("--watch", "--config", file, stderr=subprocess.PIPE)
        async with followed(process, file) as lb, trio.open_nursery() as nursery:
            held = await trio.open_tcp_stream("127.0.0.1", lb.port)  # the predecessor lives on
            nursery.start_soon(aclose_at_end, held)
            assert (await lb.upgrade())["event"] == "upgrade.done"
            for number in (1, 2):
                file.write_text(config((server, f"weight = {number + 1}")))
                await lb.event("config.applied", count=number)
            nursery.cancel_scope.cancel()
        assert len(lb.of("config.changed")) == len(lb.of("config.applied")) == 2


async def aclose_at_end(stream):
    async with stream:
        await trio.sleep_forever()


@needs_root
@pytest.mark.parametrize("mode", [0o755, pytest.param(0o700, marks=pytest.mark.skipif(not DEEP, reason="takes 6 s"))])
async def test_files_that_only_root_may_read_are_watched_too(home, python, mode):
    async with serving() as server:
        top = f"{AS_USER}\nwatch = true"
        keys = home / "keys"
        keys.mkdir(mode)
        new_key(keys)
        tls = '[listeners.web.tls]\ncertificate = "keys/cert.pem"\nkey = "keys/key.pem"'
        async with as_root(home, config(server, top=top, listener=tls), python) as lb:
            context = new_key(keys)
            await lb.event("config.applied")
            assert await ask_tls(lb.port, context) == b"s"


def test_standard_input_cannot_be_watched():
    text = '[listeners.web]\nbind = "127.0.0.1:0"\nservers = ["127.0.0.1:1"]'
    done = subprocess.run(
        [LB, "run", "--watch", "-"], input=text, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (
        2,
        "lb: standard input cannot be watched; run with the name of a file\n",
    )


EVERY_FILE = """
[admin]
bind = "127.0.0.1:0"
token_file = "token"
[users.staff]
file = "staff.htpasswd"
[listeners.web]
mode = "http"
bind = "127.0.0.1:0"
[listeners.web.tls]
certificate = "cert.pem"
key = "key.pem"
client_ca = "ca.pem"
client_certificate = "optional"
[[listeners.web.routes]]
pool = "web"
auth = "staff"
viewer_secret_file = "viewers"
[pools.web]
servers = ["127.0.0.1:1"]
sticky = { cookie = "lb", secret_file = "sticky" }
tls = { ca = "ca.pem", certificate = "own.pem", key = "own-key.pem" }
health = { probe = "tls", verify = true, server_name = "a", ca = "checked.pem" }
[listeners.proxy]
mode = "forward"
bind = "127.0.0.1:0"
allow = ["127.0.0.1"]
parents = "parents"
[pools.parents]
servers = ["127.0.0.1:1"]
proxy = { user = "lb", password_file = "parents" }
[listeners.found]
bind = "127.0.0.1:0"
[pools.found]
etcd = { endpoints = ["https://127.0.0.1:1"], prefix = "/a/", ca = "etcd.pem", user = "lb", password_file = "etcd" }
kubernetes = { service = "a/b", api = "https://127.0.0.1:1", ca = "kubernetes.pem", token_file = "at-each-request" }
[listeners.rtmp]
mode = "rtmp"
bind = "127.0.0.1:0"
[[media.live.live.publish]]
name = "show"
key_file = "publisher"
"""
FILES = ("viewers", "sticky", "token", "parents", "etcd", "publisher")
CERTIFICATES = ("ca.pem", "own.pem", "checked.pem", "etcd.pem", "kubernetes.pem")


def test_all_files_that_the_configuration_names_are_watched(tmp_path):
    new_key(tmp_path)
    for name in CERTIFICATES:
        shutil.copyfile(tmp_path / "cert.pem", tmp_path / name)
    shutil.copyfile(tmp_path / "key.pem", tmp_path / "own-key.pem")
    shutil.copyfile(ROOT / "tests" / "data" / "staff.htpasswd", tmp_path / "staff.htpasswd")
    for name in FILES:
        (tmp_path / name).write_text("0123456789abcdef0123456789abcdef")
    (tmp_path / "lb.toml").write_text(EVERY_FILE)
    with note_reads(tmp_path) as now:
        load(tmp_path / "lb.toml")
    assert {Path(path).name for path in now.marks} == {path.name for path in tmp_path.iterdir()}


def test_these_are_the_files_that_a_configuration_can_name():
    keys = {key for key, cells in rows(page("configuration.md")).items() if cells[0] in ("file", "file name")}
    assert {key for key in keys if not re.search(rf"\b{key} = ", EVERY_FILE)} == set()
    assert {"token_file", "key_file", "secret_file", "viewer_secret_file", "password_file", "file"} <= keys
