"""Settings for buildah and podman in tests, and what they build on."""

from __future__ import annotations

import resource
import subprocess

from tests.support.debian_machine import LONG, base

__all__ = ["BASE", "container_settings", "import_base"]

BASE = "localhost/trio-lb-base:test"


def container_settings(environment, directory):
    """Images of its own, and containers that need no systemd and no more rights than this process has."""
    limits = [
        f'"{name}=1024:{_hard(which)}"'
        for name, which in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
    ]
    settings = directory / "containers.conf"
    settings.write_text(
        f'[containers]\ndefault_ulimits = [{", ".join(limits)}]\n[engine]\nruntime = "runc"\nevents_logger = "file"\n'
    )
    storage = directory / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/images"\nrunroot = "{directory}/run"\n'
    )
    environment.setenv("CONTAINERS_CONF", str(settings))
    environment.setenv("CONTAINERS_STORAGE_CONF", str(storage))
    environment.setenv("BUILDAH_ISOLATION", "chroot")


def import_base():
    """Let podman have BASE: a system with what Containerfile installs."""
    archive = base("binutils", "ca-certificates", "python3-venv")
    subprocess.run(["podman", "import", archive, BASE], check=True, timeout=LONG)


def _hard(which):
    hard = resource.getrlimit(which)[1]
    return 20_000 if hard == resource.RLIM_INFINITY else min(hard, 20_000)
