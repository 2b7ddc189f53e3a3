"""The imports of the source, read from the files: ``python -m tests.support.imports --graph`` prints the packages.

Imports for the type checker count: what a module has to know in order to be understood, it depends on.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TOP_PACKAGES = ("lb", "strategies", "healthcheck")

EVERYWHERE = {"events", "model", "net"}
"""Packages that all above them may import."""
ALLOWED = {
    "model": set(),
    "events": {"model"},
    "net": {"model"},
    "strategies": {"model"},
    "healthcheck": {"model", "net"},
    "tls": {"model", "net"},
    "proxy_protocol": {"model", "net"},
    "log": EVERYWHERE,
    "cache": EVERYWHERE,
    "http1": {"model", "net"},
    "http2": {"http1", "model"},
    "relay": EVERYWHERE | {"tls"},
    "config": EVERYWHERE | {"healthcheck", "strategies", "tls"},
    "pools": EVERYWHERE | {"healthcheck", "strategies"},
    "explain": EVERYWHERE | {"config", "pools", "strategies"},
    "etcd": EVERYWHERE | {"tls"},
    "kubernetes": EVERYWHERE | {"tls"},
    "discovery": EVERYWHERE | {"config", "etcd", "kubernetes"},
    "proxy": EVERYWHERE | {"pools", "proxy_protocol", "relay", "tls"},
    "tcp": EVERYWHERE | {"proxy", "relay", "pools", "explain", "tls"},
    "http": EVERYWHERE | {"http1", "http2", "cache", "proxy", "pools", "relay", "tls", "explain"},
    "forward": EVERYWHERE | {"http", "http1", "tcp", "cache", "proxy", "pools", "relay", "tls", "explain"},
    "media": EVERYWHERE | {"http1", "proxy_protocol", "tls"},
    "dataplane": EVERYWHERE | {"proxy", "relay", "pools", "healthcheck", "tls"},
    "workers": EVERYWHERE | {"dataplane", "proxy", "pools", "log", "healthcheck"},
    "kernel": EVERYWHERE | {"dataplane", "pools"},
    "control": EVERYWHERE
    | {"dataplane", "workers", "kernel", "discovery", "explain", "config", "healthcheck", "pools"}
    | {"media", "proxy_protocol", "tls"},
    "announce": EVERYWHERE | {"control"},
    "cluster": EVERYWHERE | {"control", "etcd", "healthcheck"},
    "admin": EVERYWHERE | {"announce", "cluster", "control", "dataplane", "explain", "config", "pools"},
    "console": EVERYWHERE | {"discovery", "config", "explain", "pools", "strategies"},
    "service": EVERYWHERE
    | {"admin", "announce", "cluster", "control", "workers", "dataplane", "discovery", "log", "config", "healthcheck"},
}
"""Package -> the packages that its modules may import. ``tools`` and ``cli`` stand on top, see :func:`allowed`."""


def allowed(package: str) -> set[str]:
    """The packages that a package may import."""
    if package == "__main__":
        return {"cli", "net"}
    if package == "cli":
        return {*ALLOWED, "tools"}
    if package == "tools":
        return set(ALLOWED) - {"service"}
    return ALLOWED[package]


@cache
def sources() -> dict[str, Path]:
    """All modules, packages too, by their dotted names."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in TOP_PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def package_of(module: str) -> str:
    """``proxy`` of ``lb.proxy.connector``; ``cli`` of ``lb.cli``; ``strategies`` of ``strategies.base``."""
    top, _, rest = module.partition(".")
    return rest.partition(".")[0] if top == "lb" and rest else top


@cache
def imports(module: str) -> frozenset[str]:
    """All modules that a module imports, in functions and for the type checker too; names of others as they stand."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(sources()[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & sources().keys() or {node.module}
    return frozenset(found - {module})


@cache
def module_graph() -> dict[str, set[str]]:
    """Each module with those of ours that it imports."""
    return {module: set(imports(module)) & sources().keys() for module in sources()}


def package_graph() -> dict[str, dict[str, list[str]]]:
    """Each package with the packages that it imports, and for each the imports as ``module -> module``."""
    graph: dict[str, dict[str, list[str]]] = {package_of(module): {} for module in sources() if module != "lb"}
    for module, found in module_graph().items():
        for other in sorted(found):
            ours, theirs = package_of(module), package_of(other)
            if ours != theirs and "lb" not in (module, other):  # which holds the version
                graph[ours].setdefault(theirs, []).append(f"{module} -> {other}")
    return graph


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    """The nodes of one circle, first and last the same; None if there is none."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str] | None:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done:
            return None
        found = next(filter(None, (visit(each, [*trail, node]) for each in sorted(graph[node]))), None)
        done.add(node)
        return found

    return next(filter(None, (visit(node, []) for node in sorted(graph))), None)


def floors(graph: dict[str, set[str]]) -> list[list[str]]:
    """The nodes by height, top first: each stands right above the highest that it imports. There is no circle."""

    @cache
    def height(node: str) -> int:
        return 1 + max((height(each) for each in graph[node]), default=-1)

    by_height: defaultdict[int, list[str]] = defaultdict(list)
    for node in sorted(graph):
        by_height[height(node)].append(node)
    return [by_height[number] for number in sorted(by_height, reverse=True)]


def main() -> int:
    """Print the graph; exit code 1 if it has a circle or an arrow that is not allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", action="store_true", help="print each package with those that it imports")
    parser.parse_args()
    graph = package_graph()
    arrows = {package: set(found) for package, found in graph.items()}
    found = circle(arrows) or circle(module_graph())
    if found:
        print("circle: " + " -> ".join(found))
        return 1
    for number, floor in enumerate(floors(arrows)):
        for package in floor:
            print(f"{len(floors(arrows)) - number:3}  {package:15} {', '.join(sorted(arrows[package])) or '-'}")
    forbidden = [
        line for package, found in graph.items() for to in found.keys() - allowed(package) for line in found[to]
    ]
    print("\n".join(f"not allowed: {line}" for line in forbidden) or "no circle, no arrow upward")
    return 1 if forbidden else 0


if __name__ == "__main__":
    sys.exit(main())
