"""Keep a server registered in etcd while this program runs: register_in_etcd.py NAME ADDRESS [ETCD [PREFIX]]."""

import base64
import json
import signal
import sys
import threading
import urllib.request

NAME, ADDRESS, *more = sys.argv[1:]
ETCD, PREFIX = [*more, *("http://127.0.0.1:2379", "/trio-lb/pools/web/")[len(more) :]]
TTL = 5  # seconds after which it leaves if this program is killed
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())


def call(method: str, **request: object) -> dict:
    body = json.dumps(request).encode()
    with urllib.request.urlopen(f"{ETCD}/v3/{method}", body, timeout=TTL / 2) as answer:
        return json.load(answer)


key, value = (base64.b64encode(text.encode()).decode() for text in (PREFIX + NAME, json.dumps({"address": ADDRESS})))
while not stop.is_set():
    try:
        lease = call("lease/grant", TTL=TTL)["ID"]
        call("kv/put", key=key, value=value, lease=lease)
        while call("lease/keepalive", ID=lease)["result"].get("TTL"):  # else it has ended: register again
            if stop.wait(TTL / 3):
                call("lease/revoke", ID=lease)
                break
    except OSError as error:
        print(error, file=sys.stderr)
        stop.wait(1)
