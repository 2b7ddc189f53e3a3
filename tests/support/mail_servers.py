"""Debian's mail servers behind a proxy: Postfix and Dovecot that demand a PROXY header. Only root can start them."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.e2e.traffic.test_real_peers import program, running
from tests.support.servers import free_port

__all__ = ["dovecot", "postfix"]

QUEUES = ("pid", "private", "public", "maildrop", "active", "incoming", "deferred", "defer", "bounce", "hold")
OF_POSTFIX = ("data", *(f"queue/{name}" for name in QUEUES if name != "pid"))
"""The directories that must belong to Postfix's user."""

MAIN = """
compatibility_level = 3.6
myhostname = mail.example.org
queue_directory = {home}/queue
data_directory = {home}/data
daemon_directory = /usr/lib/postfix/sbin
inet_interfaces = 127.0.0.1
maillog_file_prefixes = {home}
maillog_file = {home}/log
alias_maps =
alias_database =
local_recipient_maps =
mynetworks = 127.0.0.1
postscreen_cache_map =
smtpd_upstream_proxy_protocol = haproxy
postscreen_upstream_proxy_protocol = haproxy
"""
MASTER = """
{smtpd} inet n - n - - smtpd
{postscreen} inet n - n - 1 postscreen -o smtpd_service_name=screened
screened pass - - n - - smtpd -o smtpd_upstream_proxy_protocol=
rewrite unix - - n - - trivial-rewrite
cleanup unix n - n - 0 cleanup
anvil unix - - n - 1 anvil
dnsblog unix - - n - 0 dnsblog
postlog unix-dgram n - n - 1 postlogd
"""
DOVECOT = """
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
protocols = imap
ssl = no
haproxy_trusted_networks = 127.0.0.1/32
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={home}/mail
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
    haproxy = yes
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


@contextmanager
def open_home():
    """An empty directory that every user can reach: pytest's own are only for the user that runs it."""
    if os.geteuid() != 0:
        pytest.skip("only root can start mail servers")
    home = Path(tempfile.mkdtemp(prefix="lb-test-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home)


@asynccontextmanager
async def postfix():
    """Yield the addresses of an smtpd and a postscreen, and the path of their log."""
    program("postfix")
    with open_home() as home:
        smtpd, postscreen = free_port(), free_port()
        for name in ("etc", "data", *(f"queue/{name}" for name in QUEUES)):
            (home / name).mkdir(parents=True)
        for name in OF_POSTFIX:
            shutil.chown(home / name, "postfix")
        (home / "etc" / "main.cf").write_text(MAIN.format(home=home))
        (home / "etc" / "master.cf").write_text(MASTER.format(smtpd=smtpd, postscreen=postscreen))
        async with running(["/usr/lib/postfix/sbin/master", "-d", "-c", home / "etc"], smtpd):
            yield f"127.0.0.1:{smtpd}", f"127.0.0.1:{postscreen}", home / "log"


@asynccontextmanager
async def dovecot():
    """Yield the address of an IMAP server, and the path of its log."""
    command = [program("dovecot"), "-F", "-c"]
    with open_home() as home:
        port = free_port()
        (home / "dovecot.conf").write_text(DOVECOT.format(home=home, port=port))
        async with running([*command, home / "dovecot.conf"], port):
            yield f"127.0.0.1:{port}", home / "log"
