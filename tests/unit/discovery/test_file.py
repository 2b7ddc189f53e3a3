"""Reading of a servers_file."""

from __future__ import annotations

import pytest

from lb.config.load import ConfigError, parse
from lb.discovery.sources import with_servers_files


def test_files_are_part_of_the_configuration_and_all_that_is_wrong_is_told(tmp_path):
    text = """
        listeners.web.bind = ":1"
        pools.web.servers_file = "one"
        pools.two = { servers_file = "two", servers = ["c:1"] }
        pools.three.servers_file = "three"
    """
    config = parse(text, str(tmp_path / "lb.toml"))
    (tmp_path / "one").write_text("a:1\nb:1")
    (tmp_path / "two").write_text("c:1 weight=x\nd:1")
    with pytest.raises(ConfigError) as caught:
        with_servers_files(config)
    assert caught.value.errors == (
        f"{tmp_path}/two:1: weight: must be a whole number, not 'x'",
        f"{tmp_path}/three: cannot be read: No such file or directory",
    )
    (tmp_path / "two").write_text("c:1 weight=2\nd:1")
    (tmp_path / "three").write_text("e:1")
    pools = with_servers_files(config).pools
    assert {name: [server.name for server in pool.servers] for name, pool in pools.items()} == {
        "web": ["a:1", "b:1"],
        "two": ["c:1", "d:1"],
        "three": ["e:1"],
    }
    assert pools["two"].servers[0].weight == 1, "what is listed in the configuration comes first"
