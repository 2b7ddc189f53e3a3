"""Equal parts of a new configuration are the objects of the old one, whatever else differs."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from lb.config.load import parse
from lb.model.reuse import reused

names = st.sampled_from("abcd")


def config(*servers, extra=""):
    rows = ", ".join(
        f'{{ name = "{name}", address = "10.0.0.1:{port}", weight = {weight} }}' for name, port, weight in servers
    )
    listener = '[listeners.web]\nbind = "127.0.0.1:80"\n'
    return parse(f"{listener}[pools.web]\nservers = [{rows}]\n[pools.web.health]\nfall = 9\n{extra}", "lb.toml")


servers = st.lists(
    st.tuples(names, st.integers(1, 2), st.integers(1, 2)), min_size=1, max_size=4, unique_by=lambda each: each[0]
)


@given(old=servers, new=servers, extra=st.sampled_from(["", "rise = 5\n"]))
def test_the_result_is_equal_and_has_the_old_objects_where_they_are_equal(old, new, extra):
    before, after = config(*old), config(*new, extra=extra)
    result = reused(after, before)
    assert result == after
    known = {spec.name: spec for spec in before.pools["web"].servers}
    for spec in result.pools["web"].servers:
        assert (spec is known.get(spec.name)) == (spec == known.get(spec.name))
    assert (result.pools["web"].health is before.pools["web"].health) == (not extra)
    assert (result.pools["web"] is before.pools["web"]) == (after.pools["web"] == before.pools["web"])


def test_a_pool_that_is_new_stays_as_it_is():
    after = config(("a", 1, 1))
    assert reused(after, attrs.evolve(after, pools={})).pools["web"] is after.pools["web"]


def test_users_and_the_routes_that_ask_them_are_compared_once(tmp_path):
    """Or a reload with a hundred routes and ten thousand users would compare a million passwords, one by one."""

    def read(rate):
        text = f"""
            users.staff.file = "staff"
            pools.web.servers = ["10.0.0.1:80"]
            listeners.tcp = {{ bind = ":80", pool = "web" }}
            [listeners.www]
            mode = "http"
            bind = ":81"
            routes = [
                {{ pool = "web", auth = "staff" }},
                {{ path = "/a", pool = "web", auth = "staff", rate = "{rate}" }},
            ]
        """
        return parse(text, str(tmp_path / "lb.toml"))

    hashed = "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/"
    (tmp_path / "staff").write_text(f"alice:{hashed}\n")
    before, same, other = read("1/s"), read("1/s"), read("2/s")
    assert reused(same, before).listeners["www"] is before.listeners["www"]
    result = reused(other, before)
    assert result == other
    assert result.users["staff"] is before.users["staff"]
    assert {id(route.auth) for route in result.listeners["www"].settings.routes} == {id(before.users["staff"])}
    assert result.listeners["tcp"] is before.listeners["tcp"]
    (tmp_path / "staff").write_text(f"alice:{hashed}\nbob:{hashed}\n")
    assert reused(read("1/s"), before).listeners["www"] != before.listeners["www"], "another user is a change"


def test_a_proxy_and_its_users_are_compared_once(tmp_path):
    def read(ports):
        text = f"""
            users.staff.file = "staff"
            listeners.proxy = {{ mode = "forward", bind = ":3128", auth = "staff", connect_ports = {ports} }}
        """
        return parse(text, str(tmp_path / "lb.toml"))

    (tmp_path / "staff").write_text("alice:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n")
    before, same, other = read("[443]"), read("[443]"), read("[22]")
    assert reused(same, before).listeners["proxy"] is before.listeners["proxy"]
    result = reused(other, before)
    assert result == other
    assert result.listeners["proxy"].settings.auth is before.users["staff"]
