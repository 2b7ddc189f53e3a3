"""examples/galera.toml and examples/clustercheck with a real Galera node, started for each request as systemd does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.traffic.test_real_peers import program, running
from tests.support.balancer import balancer, connect
from tests.support.examples import adapted
from tests.support.paths import EXAMPLES
from tests.support.real_databases import mariadb, sql
from tests.support.servers import free_port

pytestmark = pytest.mark.slow

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
OTHER_SCRIPT = """#!/bin/sh
# As the scripts of others do: answers before it has read the request, and leaves it unread.
status='503 Service Unavailable' text='Percona XtraDB Cluster Node is not synced.'
state=$(mariadb "$@" -BNe "SHOW STATUS LIKE 'wsrep_local_state'" | cut -f 2)
[ "$state" = 4 ] && status='200 OK' text='Percona XtraDB Cluster Node is synced.'
printf 'HTTP/1.1 %s\\r\\nContent-Type: text/plain\\r\\nConnection: close\\r\\n' "$status"
printf 'Content-Length: %d\\r\\n\\r\\n%s\\r\\n' $((${#text} + 2)) "$text"
sleep 0.1
"""


def galera_node():
    """A cluster of one node, at all addresses of this host."""
    if not PROVIDER.exists():
        program("galera")  # skips, or fails in CI
    port = free_port()
    return mariadb(
        "--wsrep-on=ON",
        f"--wsrep-provider={PROVIDER}",
        "--wsrep-cluster-address=gcomm://",
        f"--wsrep-provider-options=base_port={port};gmcast.listen_addr=tcp://127.0.0.1:{port}",
        "--wsrep-node-address=127.0.0.1",
        "--binlog-format=ROW",
        "--innodb-autoinc-lock-mode=2",
        "--bind-address=0.0.0.0",
    )


async def test_a_node_that_is_not_synced_gets_no_clients(tmp_path):
    other = tmp_path / "other"
    other.write_text(OTHER_SCRIPT)
    checks = free_port()
    async with galera_node() as node:

        def checked(host, script):
            activate = [program("systemd-socket-activate"), "--accept", "--inetd", f"--listen={host}:{checks}"]
            login = ["--no-defaults", f"--socket={node.home}/socket", "--user=root"]
            return running([*activate, "/bin/sh", script, *login], checks, host)

        text = adapted(
            "galera",
            ('":3306"', '"127.0.0.1:0"'),
            (":3306", f":{node.port}"),
            ("port = 9200", f"port = {checks}"),
            ('interval = "2s"', 'interval = "200ms"\ntimeout = "10s"\ninitial = "down"'),
        )
        async with (
            checked("127.0.0.11", EXAMPLES / "clustercheck"),
            checked("127.0.0.12", other),
            balancer(tmp_path, text) as lb,
        ):
            for name in ("node-1", "node-2"):
                await lb.event("backend.restored", server=name)
            front = lb.ports["galera"]
            async with await connect(front) as client:
                assert b"MariaDB" in await client.receive_some()
            await sql(node, "SET GLOBAL wsrep_desync = ON")
            for name in ("node-1", "node-2"):
                assert (await lb.event("backend.ejected", server=name))["reason"] == "HTTP 503"
            await sql(node, "SET GLOBAL wsrep_desync = OFF")
            for name in ("node-1", "node-2"):
                await lb.event("backend.restored", server=name, count=2)
