"""Write an image's archive without what differs from build to build: ``archive.py SOURCE TARGET``.

buildah puts the id of the container that it built in, and a random host name, into an image of Docker's format. The
other format has no health check. docker and podman load what is left.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile


def main(source: str, target: str) -> None:
    """Copy the layers, and the description of the image without the container's."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        [manifest] = json.load(_file(old, "manifest.json"))
        config = json.load(_file(old, manifest["Config"]))
        del config["container"], config["container_config"], config["config"]["Hostname"]
        text = json.dumps(config).encode()
        manifest["Config"] = f"{hashlib.sha256(text).hexdigest()}.json"
        for layer in manifest["Layers"]:
            new.addfile(old.getmember(layer), _file(old, layer))
        _add(new, manifest["Config"], text)
        _add(new, "manifest.json", json.dumps([manifest]).encode())


def _file(archive: tarfile.TarFile, name: str) -> io.BufferedIOBase:
    found = archive.extractfile(name)
    if not isinstance(found, io.BufferedIOBase):
        raise SystemExit(f"{name} is no file")
    return found


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    main(*sys.argv[1:])
