"""A hook of live streams on port 9091: lets publishers in whose key is in a file, with a line ``name key`` for each."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Hook(BaseHTTPRequestHandler):
    """Answers 204 for yes, 403 for no."""

    def do_POST(self) -> None:
        """Look for what the balancer asks: app, name, client, key."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = [line.split() for line in Path(sys.argv[1]).read_text().splitlines()]
        done = self.path == "/done"
        self.send_response(204 if done or [asked["name"], asked["key"]] in known else 403)
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 9091), Hook).serve_forever()
