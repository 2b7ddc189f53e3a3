"""A client of the Language Server Protocol, as an editor is: JSON-RPC over the pipes of a server."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from contextlib import contextmanager

from tests.support.balancer import PATIENCE

__all__ = ["Editor", "editor"]


@contextmanager
def editor(command, directory):
    """Start a server in a directory, and yield an :class:`Editor`. The server is killed at the end."""
    with subprocess.Popen(command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        patience = threading.Timer(PATIENCE, process.kill)
        patience.start()
        try:
            yield Editor(process, directory)
        finally:
            patience.cancel()
            process.kill()


class Editor:
    def __init__(self, process, directory):
        self._process = process
        self._directory = directory
        self._numbers = itertools.count(1)
        self.ask("initialize", processId=None, rootUri=directory.as_uri(), capabilities={})
        self.tell("initialized")

    def open(self, name, text):
        """Open a text under the name of a file, and wait until the server, which has the schema then, has judged it."""
        document = {"uri": self._uri(name), "languageId": "toml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", textDocument=document)
        while self._receive_notice() != "textDocument/publishDiagnostics":
            pass

    def completions(self, name, line, character):
        """Return what the server offers at a place, from 0: labels with their texts in Markdown."""
        found = self.ask("textDocument/completion", **self._at(name, line, character)) or []
        items = found["items"] if isinstance(found, dict) else found
        return {item["label"]: (item.get("documentation") or {}).get("value", "") for item in items}

    def hover(self, name, line, character):
        """Return what the server says of a place."""
        return self.ask("textDocument/hover", **self._at(name, line, character))["contents"]["value"]

    def _uri(self, name):
        return (self._directory / name).as_uri()

    def _at(self, name, line, character):
        return {"textDocument": {"uri": self._uri(name)}, "position": {"line": line, "character": character}}

    def ask(self, method, **parameters):
        number = next(self._numbers)
        self._send({"id": number, "method": method, "params": parameters})
        while "method" in (message := self._receive()):
            self._answer(message)
        assert message["id"] == number
        return message["result"]

    def tell(self, method, **parameters):
        self._send({"method": method, "params": parameters})

    def _receive_notice(self):
        """Return the name of the next message that is no answer."""
        message = self._receive()
        self._answer(message)
        return message.get("method")

    def _answer(self, message):
        """Answer a question of the server: there is nothing to tell."""
        if "id" in message:
            self._send({"id": message["id"], "result": None})

    def _send(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self):
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        assert length, "the server has ended"
        return json.loads(self._process.stdout.read(length))
