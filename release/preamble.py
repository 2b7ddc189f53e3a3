"""Runs before ``lb`` in the one file, where shiv has set ``site_packages``: libraries are for one version of Python."""

import sys

[backend] = site_packages.glob("_cffi_backend.*.so")  # type: ignore[name-defined] # noqa: F821 - see above
if f"{sys.implementation.cache_tag}-" not in backend.name:
    sys.exit(f"lb: this file is for {backend.name.split('.')[1]}, and this Python is {sys.implementation.cache_tag}")
