"""Run the example: make films of a test card, if there are none, and run the balancer of lb.toml. Ctrl-C ends it."""

import signal
import subprocess
import sys
from pathlib import Path

from lb.tools.testcard.publisher import write_film

HERE = Path(__file__).parent
FILMS = HERE / "films"
sys.path.insert(0, str(HERE.parent / "players"))
from fetch import fetch  # noqa: E402 - it is beside this directory

SECONDS = 60
RENDITIONS = {180: 300_000, 360: 900_000}
"""Height in pixels -> bits a second."""


def main() -> int:
    """Return the balancer's exit code."""
    fetch()
    make_films()
    for title in ("card.mp4", "ladder"):
        print(f"http://127.0.0.1:8080/?src=/films/{title} plays {title}", flush=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the balancer, too
    balancer = subprocess.Popen([sys.executable, "-m", "lb", "--config", str(HERE / "lb.toml")])
    signal.signal(signal.SIGTERM, lambda *_: balancer.terminate())
    return balancer.wait()


def make_films() -> None:
    """Make a film, and a ladder of renditions of another."""
    (FILMS / "ladder").mkdir(parents=True, exist_ok=True)
    films = {FILMS / "card.mp4": 180, **{FILMS / "ladder" / f"{height}.mp4": height for height in RENDITIONS}}
    for path, height in films.items():
        if not path.exists():
            write_film(path, SECONDS, height, RENDITIONS[height])


if __name__ == "__main__":
    sys.exit(main())
