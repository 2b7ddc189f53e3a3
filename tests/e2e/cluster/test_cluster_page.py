"""The nodes of a cluster on the dashboard, in a real browser."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.admin.test_dashboard import browse, row, wait_for_state
from tests.support.balancer import PATIENCE
from tests.support.browser import NEEDS_CHROMIUM
from tests.support.clustered import NODES, cluster_config, cluster_node
from tests.support.etcd import etcd
from tests.support.servers import Named

pytestmark = [pytest.mark.slow, NEEDS_CHROMIUM]


async def test_the_page_lists_the_nodes_says_what_differs_and_what_was_not_told(tmp_path):
    other = {"ready": False, "version": "9.9.9", "config": "77aa04c19be2", "started": "2026-01-01T00:00:00.000Z"}
    async with etcd() as store, cluster_node(tmp_path, "lb1", cluster_config(store, Named("a", "127.0.0.1:1"))) as node:
        await node.until_etcd("ok")
        await store.put("<b>lb2", other, prefix=NODES)

        def visit(page):
            page.wait_for_selector("#cluster tr >> text=lb2")
            assert page.locator("#cluster-title").inner_text() == "Cluster edge"
            assert page.locator("#cluster .differ").inner_text() == "The nodes differ: version, config, ready"
            second, first = (each.inner_text().split("\t") for each in page.locator("#cluster tbody tr").all())
            assert second[:4] == ["<b>lb2", "not ready", "9.9.9", "77aa04c19be2"]
            assert first[:2] == ["lb1 (this one)", "ready"]
            trio.from_thread.run(store.kill)
            trio.from_thread.run(node.lb.event, "cluster.lost")
            page.wait_for_selector("#cluster .differ >> text=As last known")
            row(page, "a").get_by_role("button", name="Drain a").click()
            page.wait_for_selector("#notice >> text=connection refused", timeout=PATIENCE * 1000)
            assert page.locator("#notice").inner_text().startswith("This node only; the cluster was not told: http://")
            wait_for_state(page, "a", "draining")

        await browse(node.lb, visit)
