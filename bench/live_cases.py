"""The measurements of live streams, beside nginx with its RTMP module."""

from __future__ import annotations

import live_costs
from live_costs import PUBLISHERS
from model import Bar, Case, Metric
from targets import LB_MEDIA, NGINX_RTMP

__all__ = ["LIVE_CASES"]

LIVE_CASES = (
    Case(
        "live-publish",
        (
            Metric(
                f"CPU of a stream of 3.1 Mbit/s, {PUBLISHERS} at once", "% of a core", bar=Bar(1.5, against=NGINX_RTMP)
            ),
            Metric("memory of a stream", "MiB", bar=Bar(17, against=None)),
            Metric("memory of the process of streams without any", "MiB", bar=Bar(40, against=None)),
            Metric("from the start of a publisher to the first playlist", "s", bar=Bar(2.5, against=None)),
        ),
        (LB_MEDIA, NGINX_RTMP),
        live_costs.publish,
        fresh=True,
        quick=False,
    ),
    Case(
        "live-view",
        (
            Metric("CPU of two seconds of a viewer: 2 playlists, 2 segments", "µs", bar=Bar(1.3, against=NGINX_RTMP)),
            Metric("two seconds of a viewer", "1/s", cost=False),
        ),
        (LB_MEDIA, NGINX_RTMP),
        live_costs.view,
        quick=False,
    ),
)
