"""What axe finds on a page: elements that a screen reader, a keyboard or weak eyes cannot use."""

from __future__ import annotations

from tests.support.node_packages import AXE, node_package

__all__ = ["axe_findings"]


def axe_findings(page):
    """Run all rules of axe, best practices included. Return a line for each element that breaks one."""
    page.evaluate((node_package(AXE) / "axe.min.js").read_text())
    broken = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{rule['id']} ({rule['impact']}): {' '.join(map(str, node['target']))}: {node['html'][:200]}: "
        f"{node['failureSummary']}"
        for rule in broken
        for node in rule["nodes"]
    ]
