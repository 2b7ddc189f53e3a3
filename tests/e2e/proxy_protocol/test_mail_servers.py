"""Postfix and Dovecot behind the PROXY protocol: checks leave them up, and clients get their greeting.

Postfix refuses a header without addresses with 421, so it was down for good.
"""

from __future__ import annotations

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, config, connect
from tests.support.mail_servers import dovecot, postfix
from tests.support.servers import Named

pytestmark = pytest.mark.slow

QUICK = 'interval = "100ms"\nfast_interval = "50ms"\ntimeout = "10s"\ninitial = "down"\nrise = 3'


def checks(probe):
    """Return the checks of a test: a probe that only connects, and one that talks."""
    return f'{QUICK}\nchecks = [{{ probe = "tcp" }}, {probe}]'


async def greeting(lb):
    """Return the first line that a client gets, and the client's address in logs."""
    line = b""
    async with await connect(lb.port) as stream:
        with trio.fail_after(PATIENCE):
            while not line.endswith(b"\n"):
                chunk = await stream.receive_some()
                assert chunk, line
                line += chunk
        return line, f"[{stream.socket.getsockname()[0]}]"


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_postfix_and_postscreen_stay_up_and_greet(tmp_path, version):
    async with postfix() as (smtpd, postscreen, log):
        servers = Named("smtpd", smtpd), Named("postscreen", postscreen)
        text = config(*servers, pool=f'send_proxy = "{version}"', health=checks('{ probe = "smtp" }'))
        async with balancer(tmp_path, text) as lb:
            for server in servers:
                await lb.event("backend.restored", server=server.name)
            for _ in servers:
                line, client = await greeting(lb)
                assert line.startswith(b"220 mail.example.org"), line
            assert not lb.of("backend.ejected")
        written = log.read_text()
    assert f"connect from localhost{client}" in written
    assert "missing protocol type" not in written


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_dovecot_stays_up_and_greets(tmp_path, version):
    async with dovecot() as (address, log):
        health = checks('{ probe = "exchange", expect = "^[*] OK" }')
        text = config(Named("a", address), pool=f'send_proxy = "{version}"', health=health)
        async with balancer(tmp_path, text) as lb:
            await lb.event("backend.restored")
            line, _ = await greeting(lb)
            assert line.startswith(b"* OK"), line
            assert not lb.of("backend.ejected")
        assert "haproxy(v" not in log.read_text(), "Dovecot's complaints about a header name its version"
