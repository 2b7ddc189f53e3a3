"""Print the address of a protected route (docs/how-to/protect-streams.md): ``viewer_link.py KEY_FILE PATH HOURS``."""

import hmac
import sys
import time
from pathlib import Path


def viewer_link(key: bytes, path: str, expires: int) -> str:
    """Return the address of a route for who has the link: ``key`` signs it, and it ends at ``expires``."""
    return f"/~{expires}.{hmac.new(key, f'{expires}{path}'.encode(), 'sha256').hexdigest()}{path}"


if __name__ == "__main__":
    file, route, hours = sys.argv[1:]
    sys.stdout.write(
        viewer_link(Path(file).read_bytes().removesuffix(b"\n"), route, int(time.time() + float(hours) * 3600)) + "\n"
    )
