"""A balancer that has no time, or stands still, finds no fault with its servers."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import trio

from tests.support.balancer import config
from tests.support.effort import DEEP
from tests.support.operating import ADMIN, operated

pytestmark = pytest.mark.slow
SERVERS = 5000 if DEEP else 2000
ACCEPTS = """
import socket
with socket.create_server(("0.0.0.0", 0), backlog=4096) as listening:
    print(listening.getsockname()[1], flush=True)
    while True:
        listening.accept()[0].close()
"""
ANSWERS_SLOWLY = """
import socketserver, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for question in self.rfile:
            time.sleep(0.05)
            self.wfile.write(b"a\\n")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1000
    def handle_error(self, request, client_address):
        pass
with Server(("0.0.0.0", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""
PASSED, FAILED = (f'lb_checks_total{{result="{result}"}}' for result in ("pass", "fail"))


@contextmanager
def listeners(program, count):
    """Yield addresses on which another process serves: that of the test is late when the machine is busy."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip()
            yield [f"127.1.{number // 250}.{number % 250 + 1}:{port}" for number in range(count)]
        finally:
            process.kill()


def stall(process, seconds):
    """Stop a process for a time."""
    process.send_signal(signal.SIGSTOP)
    try:
        subprocess.run(["sleep", str(seconds)], check=True)
    finally:
        process.send_signal(signal.SIGCONT)


async def test_thousands_of_servers_with_the_usual_checks_stay_up_whatever_happens_to_the_process(tmp_path):
    """With 5,000, 98 % of a core and 4,852 ejected it was; with 3,000, a stall of two seconds ejected 646."""
    with listeners(ACCEPTS, SERVERS) as addresses:
        servers = "".join(f'[[pools.web.servers]]\naddress = "{address}"\n' for address in addresses)
        async with operated(tmp_path, config(top=ADMIN, health="") + servers) as (lb, operator):
            await operator.until(operator.metrics, lambda metrics: metrics[PASSED] >= SERVERS / 2)
            await trio.to_thread.run_sync(stall, lb.process, 2)
            await lb.event("checks.late", pool="web")
            metrics = await operator.until(operator.metrics, lambda metrics: metrics[PASSED] >= SERVERS * 1.5)
            assert metrics[FAILED] == 0
            assert metrics["lb_checks_late_total"] > 0
            assert [event["reason"] for event in lb.of("backend.ejected")] == []


async def test_a_stall_fails_no_check_that_takes_several_steps(tmp_path):
    """The server cannot answer what it has not been asked."""
    step = '{ send = "name\\n", expect = "^a\\n" }'
    checks = f'probe = "exchange"\nsteps = [{", ".join([step] * 5)}]\ninterval = "500ms"\ntimeout = "2s"\nfall = 1'
    with listeners(ANSWERS_SLOWLY, 10) as addresses:
        servers = "".join(f'[[pools.web.servers]]\naddress = "{address}"\n' for address in addresses)
        async with operated(tmp_path, config(top=ADMIN, health=checks) + servers) as (lb, operator):
            for _ in range(2):
                passed = (await operator.metrics())[PASSED]
                await trio.to_thread.run_sync(stall, lb.process, 2.5)
                await operator.until(operator.metrics, lambda metrics, passed=passed: metrics[PASSED] > passed + 20)
            assert [event["reason"] for event in lb.of("backend.ejected")] == []
