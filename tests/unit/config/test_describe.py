import math

import pytest

from lb.config.describe import describe, value_text
from lb.model import (
    CheckSpec,
    Config,
    HealthSpec,
    OutlierSpec,
    PassiveSpec,
    PluginSpec,
    PoolSpec,
    ServerSpec,
)
from lb.model.address import Address
from tests.support.specs import listener_spec


def test_what_would_run_is_told_in_a_few_lines() -> None:
    servers = (
        ServerSpec("a", Address.parse("10.0.0.1:80"), weight=2),
        ServerSpec("spare", Address.parse("10.0.0.2:80"), backup=True, max_connections=9),
    )
    config = Config(
        listeners={"web": listener_spec("web", (Address.parse(":80"), Address.parse("unix:/a")), "app")},
        pools={
            "app": PoolSpec("app", servers, when_all_down="hold"),
            "raw": PoolSpec("raw", servers[:1], health=None, passive=PassiveSpec(failures=0)),
        },
    )
    assert describe(config).splitlines() == [
        "listener web: :80, unix:/a -> pool app",
        "pool app: weighted, probe tcp every 2s, ejects after 3 failed connects, when all are down: hold",
        "  a      10.0.0.1:80, weight 2",
        "  spare  10.0.0.2:80, backup, at most 9 connections",
        "pool raw: weighted, no active checks",
        "  a  10.0.0.1:80, weight 2",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "off"),
        (True, "true"),
        (3, "3"),
        (90.0, "1m30s"),
        (math.inf, "never"),
        ("keep", "keep"),
        ("", "none"),
        (PluginSpec("weighted"), "weighted"),
        (PluginSpec("http", (("path", "/"),)), "http (path='/')"),
        (HealthSpec(), "probe tcp every 2s"),
        (OutlierSpec(dry_run=True), "reports servers 3 times slower than the median"),
        (
            HealthSpec(require="any", checks=(CheckSpec(), CheckSpec(PluginSpec("agent"), 9777, name="agent of a"))),
            "any of tcp, agent of a: agent on port 9777 every 2s",
        ),
        ((Address.parse(":1"), Address.parse(":2")), ":1, :2"),
    ],
)
def test_values_read_as_in_the_file(value: object, text: str) -> None:
    assert value_text(value) == text
