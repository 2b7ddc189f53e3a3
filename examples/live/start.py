"""Run the example: the balancer of lb.toml, and a publisher of a test card. Ctrl-C ends both."""

import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "players"))
from fetch import fetch  # noqa: E402 - it is beside this directory

PUBLISH = "rtmp://127.0.0.1:1935/live/show?key=change-me"


def main() -> int:
    """Return the balancer's exit code."""
    fetch()
    print("http://127.0.0.1:8080/?src=/live/show plays it, http://127.0.0.1:9900/ is the dashboard", flush=True)
    balancer = subprocess.Popen([sys.executable, "-m", "lb", "--config", str(HERE / "lb.toml")])
    publisher = subprocess.Popen([sys.executable, "-m", "lb.tools.testcard", PUBLISH], stdin=subprocess.PIPE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the balancer, too
    signal.signal(signal.SIGTERM, lambda *_: balancer.terminate())
    try:
        return balancer.wait()
    finally:
        publisher.kill()
        publisher.wait()


if __name__ == "__main__":
    sys.exit(main())
