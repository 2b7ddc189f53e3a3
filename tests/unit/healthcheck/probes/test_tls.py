"""The tls probe with real handshakes."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trio

from healthcheck.probe import Passed, ProbeFailed
from healthcheck.probes.tls import TlsProbe
from lb.config.tls import pem
from lb.model import PemSpec
from lb.model.address import Address
from lb.net.errors import describe_error
from tests.support.balancer import balancer, config
from tests.support.probe_server import server
from tests.support.servers import serving
from tests.support.tls_peers import VERSIONS, TlsEnd, authority, server_context, tls_server, write_authority

NAME = "127.0.0.1"


async def polite(end):
    """Requires the client's close_notify, and sends its own."""
    assert await end.receive_all() == b""
    await end.finish()


def context_until(*, days=None, names=(NAME,)):
    """A certificate that expires this many days from now."""
    issued = authority().issue_cert(*names, not_after=datetime.now(UTC) + timedelta(days=days, hours=1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
async def test_it_passes_and_tells_how_long_the_certificate_is_good(version):
    context = context_until(days=90)
    context.maximum_version = version
    async with server(tls_server(polite, context)) as target:
        spoken = {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
        assert await TlsProbe().check(target) == f"{spoken}, certificate expires in 90 days"


@pytest.mark.parametrize(
    ("days", "warning"),
    [
        (15, None),
        (14, None),
        (13, "certificate expires in 13 days"),
        (0, "certificate expires in 0 days"),
        (-1, "certificate expired on DATE"),
    ],
)
async def test_it_warns_of_a_certificate_that_is_about_to_expire(days, warning):
    async with server(tls_server(polite, context_until(days=days))) as target:
        found = await TlsProbe(warn_days=14).check(target)
    told = re.sub(r"\d{4}-\d\d-\d\d", "DATE", found.warning) if isinstance(found, Passed) else None
    assert told == warning


async def test_with_verify_the_certificate_must_be_good(tmp_path):
    ca = pem(tmp_path)(write_authority(tmp_path))
    async with server(tls_server(polite, server_context(NAME))) as target:
        assert await TlsProbe(verify=True, ca=ca).check(target)
        assert await TlsProbe(verify=True, ca=ca, server_name=NAME).check(target)
        for options, reason in [
            ({}, "certificate verify failed: unable to get local issuer certificate"),
            (
                {"ca": ca, "server_name": "other"},
                "certificate verify failed: Hostname mismatch, certificate is not valid",
            ),
        ]:
            with pytest.raises(ssl.SSLError) as caught:
                await TlsProbe(verify=True, **options).check(target)
            assert describe_error(caught.value).startswith(reason)


async def test_what_speaks_no_tls_fails():
    async def plain(stream):
        await stream.send_all(b"220 hello\r\n")
        await stream.receive_some()

    async with server(plain) as target:
        with pytest.raises(ssl.SSLError) as caught:
            await TlsProbe().check(target)
    assert describe_error(caught.value) == "TLS: wrong version number"


async def test_a_server_that_goes_away_meanwhile_fails():
    async with server(lambda stream: stream.receive_some(1)) as target:
        with pytest.raises((OSError, trio.BrokenResourceError)):
            await TlsProbe().check(target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verify": 1}, "verify: must be true or false, not 1"),
        ({"warn_days": -1}, "warn_days: must be 0 or more, not -1"),
        ({"warn_days": True}, "warn_days: must be 0 or more, not True"),
        ({"server_name": 1}, "server_name: must be a string, not 1"),
        ({"ca": PemSpec("x", b"")}, "ca: has no effect without verify = true"),
        ({"ca": PemSpec("x", b"a host"), "verify": True}, "ca: 'x' holds no certificate that can be read"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ValueError, match="^" + message):
        TlsProbe(**options)


async def test_a_unix_socket_has_no_name_to_be_verified(tmp_path):
    async with server(tls_server(polite, server_context(NAME))) as target:
        unix = type(target)(target.pool, target.server, Address.parse("unix:/x"), target.sockaddrs)
        with pytest.raises(ProbeFailed, match="without server_name"):
            await TlsProbe(verify=True).check(unix)


async def test_the_log_warns_once_and_the_server_stays_up(tmp_path, worker_count):
    async with serving(tls_server(polite, context_until(days=3))) as served:
        checks = 'probe = "tls"\ninterval = "50ms"\nfast_interval = "50ms"'
        async with balancer(tmp_path, config(served, health=checks)) as lb:
            warning = await lb.event("check.warning")
            assert (warning["level"], warning["pool"], warning["server"]) == ("warning", "web", "s")
            assert warning["warning"] == "certificate expires in 3 days"
            before = served.connections
            await served.until(lambda served: served.connections > before + 5)
            assert len(lb.of("check.warning")) == 1
            assert not lb.of("backend.ejected")


async def test_checks_of_a_pool_that_speaks_tls_do_so_too(tmp_path):
    """An http probe over verified TLS."""
    requests = []

    async def answer(end: TlsEnd):
        requests.append(await end.receive_some())
        await end.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        await polite(end)

    checks = 'probe = "http"\ninterval = "50ms"\nfast_interval = "50ms"\ninitial = "down"'
    async with serving(tls_server(answer, server_context(NAME))) as served:
        pool = f'[pools.web.tls]\nca = "{write_authority(tmp_path)}"'
        async with balancer(tmp_path, config(served, pool=pool, health=checks)) as lb:
            await lb.event("backend.restored")
    assert requests[0].startswith(b"GET / HTTP/1.1\r\n")
