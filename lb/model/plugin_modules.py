"""Where the module of a plug-in ``module:Name`` is looked for: beside the configuration, then as any other module.

A file beside the configuration is never hidden by a module of that name that is installed, or that belongs to trio-lb.
Nor does it hide that module from others: then it is imported as part of a package of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["import_plugin", "plugin_directories", "search_beside"]

_PACKAGE = "beside_configuration"
"""The package whose modules are files beside the configuration that another module would hide."""


def search_beside(directory: Path) -> None:
    """Look for plug-ins in this directory first. It is also appended to ``sys.path``, where it hides no other module.

    Python imports a module once, so an edited one needs a restart.
    """
    path = str(directory.absolute())
    if path not in sys.path:
        sys.path.append(path)
    before = plugin_directories()
    if before[:1] != [path]:
        package = ModuleType(_PACKAGE, "Plug-ins beside the configuration.")
        package.__path__ = [path, *(other for other in before if other != path)]
        for name in [name for name in sys.modules if name.startswith(f"{_PACKAGE}.")]:
            del sys.modules[name]
        sys.modules[_PACKAGE] = package


def plugin_directories() -> list[str]:
    """Return the directories of the configurations that this process has loaded, the last one first."""
    package = sys.modules.get(_PACKAGE)
    return list(package.__path__) if package else []


def import_plugin(name: str) -> ModuleType:
    """Import the module of a plug-in. Raises what the module raises."""
    hidden = any(_is_hidden(name, Path(directory)) for directory in plugin_directories())
    return importlib.import_module(f"{_PACKAGE}.{name}" if hidden else name)


def _is_hidden(name: str, directory: Path) -> bool:
    """Return whether the directory has the module, but Python would import another one."""
    file = directory.joinpath(*name.split("."))
    if not (file.with_suffix(".py").is_file() or (file / "__init__.py").is_file()):
        return False
    try:
        found = importlib.util.find_spec(name.partition(".")[0])
    except ValueError:  # a module that was not imported, such as __main__
        return True
    places = [found.origin or "", *(found.submodule_search_locations or ())] if found else []
    return directory not in {Path(place).parent for place in places}
