"""examples/mqtt.toml with Debian's mosquitto."""

from __future__ import annotations

import pytest

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import balancer, connect
from tests.support.examples import adapted, quick
from tests.support.real_databases import home, running
from tests.support.servers import free_port, serving

pytestmark = pytest.mark.slow

CONNECT = b"\x10\x10\0\4MQTT\4\2\0\x3c\0\4test"
ACCEPTED = b"\x20\2\0\0"


def mosquitto(host, port):
    directory = home()
    (directory / "mosquitto.conf").write_text(f"listener {port} {host}\nallow_anonymous true\nlog_type all\n")
    (directory / "mosquitto.conf").chmod(0o644)
    command = [program("mosquitto"), "-c", str(directory / "mosquitto.conf")]
    return running(command, port=port, directory=directory, host=host)


async def refuses(stream):
    """A broker that accepts connections, and no clients: CONNACK with code 3, server unavailable."""
    if await stream.receive_some():
        await stream.send_all(b"\x20\2\0\3")


async def test_clients_get_a_broker_that_takes_clients(tmp_path):
    port = free_port()
    text = adapted("mqtt", ('":1883"', '"127.0.0.1:0"'), (":1883", f":{port}"), quick("5s"))
    async with (
        mosquitto("127.0.0.11", port) as broker,
        serving(refuses, address=("127.0.0.12", port)),
        balancer(tmp_path, text) as lb,
    ):
        ejected = await lb.event("backend.ejected")
        assert ejected["server"] == f"127.0.0.12:{port}"
        assert ejected["reason"].startswith("step 1 (connect): ")
        front = lb.ports["mqtt"]
        async with await connect(front) as client:
            await client.send_all(CONNECT)
            assert await client.receive_some() == ACCEPTED
    assert not lb.of("backend.ejected", server=f"127.0.0.11:{port}")
    log = broker.log.lower()
    assert "protocol error" not in log
    assert "malformed" not in log
