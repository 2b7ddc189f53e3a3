import math
from collections.abc import Callable
from typing import NamedTuple

import attrs
from hypothesis import given
from hypothesis import strategies as st

from lb.control.plan import KeyChange, Plan, plan
from lb.model import (
    CacheSpec,
    Config,
    ForwardSettings,
    HeaderEdits,
    HealthSpec,
    HttpPoolSpec,
    HttpSettings,
    ListenerSpec,
    LogSpec,
    OutlierSpec,
    PassiveSpec,
    PluginSpec,
    PoolSpec,
    ProcessSpec,
    ProxyLogin,
    Redirect,
    Respond,
    RouteCache,
    RouteSpec,
    Secret,
    ServerSpec,
    StickySpec,
    TargetRule,
    ToPool,
    UsersSpec,
)
from lb.model.address import Address
from lb.model.http import Rate, StatusRange
from tests.support.specs import SETTINGS, listener_spec


def server(name: str, address: str = "", weight: int = 1) -> ServerSpec:
    return ServerSpec(name, Address.parse(address or f"{name}:80"), weight)


def config(*servers: ServerSpec, **changes: object) -> Config:
    """Return a configuration of one listener and one pool; ``changes`` are keys of the pool."""
    listener = listener_spec("front", (Address.parse(":80"),), "web")
    return Config({"front": listener}, {"web": attrs.evolve(PoolSpec("web", servers), **changes)})


def with_listener(base: Config, **changes: object) -> Config:
    front = base.listeners["front"]
    if "settings" in changes:
        return attrs.evolve(base, listeners={"front": attrs.evolve(front, **changes)})
    settings = attrs.evolve(front.settings, **{key: changes.pop(key) for key in [*changes] if key in SETTINGS})
    return attrs.evolve(base, listeners={"front": attrs.evolve(front, settings=settings, **changes)})


A, B, C = server("a"), server("b"), server("c")
BASE = config(A, B)


def test_nothing_to_do() -> None:
    same = plan(BASE, config(A, B))
    assert same.is_empty
    assert same.lines() == ("no changes",)
    assert (same.added, same.removed, same.changed) == ((), (), ())


def test_servers_come_and_go_and_get_another_weight_or_address() -> None:
    todo = plan(BASE, config(server("b", weight=3), C))
    assert (todo.added, todo.removed, todo.changed) == (("web/c",), ("web/a",), ("web/b",))
    assert todo.lines() == (
        "added       web/c  c:80",
        "removed     web/a  a:80",
        "reweighted  web/b  1 -> 3",
    )
    moved = plan(BASE, config(A, server("b", "other:80", weight=3)))
    assert moved.changed == ("web/b",)
    assert moved.lines() == (
        "changed     web/b  address b:80 -> other:80",
        "changed     web/b  weight 1 -> 3",
    )


def test_a_renamed_server_is_another_one() -> None:
    todo = plan(BASE, config(A, server("z", "b:80")))
    assert (todo.added, todo.removed, todo.changed) == (("web/z",), ("web/b",), ())


def test_another_order_is_a_change_of_the_pool_and_of_no_server() -> None:
    todo = plan(BASE, config(B, A))
    assert not todo.is_empty
    assert todo.pools_changed[0].is_reordered
    assert todo.pools_changed[0].servers_changed == ()
    assert (todo.changed, todo.lines()) == (("web",), ("changed     pool web  order of its servers",))
    assert not plan(BASE, config(C, A, B)).pools_changed[0].is_reordered


def test_a_changed_listener_tells_its_keys_and_binds() -> None:
    binds = (Address.parse("[::1]:80"), Address.parse(":80"))
    todo = plan(BASE, with_listener(BASE, bind=binds, idle_timeout=math.inf))
    (change,) = todo.listeners_changed
    assert change.binds_added == binds[:1]
    assert change.binds_removed == ()
    assert todo.changed == ("front",)
    assert todo.lines() == (
        "changed     listener front  bind :80 -> [::1]:80, :80",
        "changed     listener front  idle_timeout 10m -> never",
    )
    (back,) = plan(with_listener(BASE, bind=binds), BASE).listeners_changed
    assert (back.binds_added, back.binds_removed) == ((), binds[:1])


class PlainSettings(NamedTuple):
    """Settings of a mode that is not ours."""

    pools: tuple[str, ...] = ("web",)
    limit: int = 1


def test_settings_that_are_no_attrs_class_are_a_change_too_and_another_mode_is_one_key() -> None:
    plain = with_listener(BASE, mode="x:Y", settings=PlainSettings())
    todo = plan(plain, with_listener(BASE, mode="x:Y", settings=PlainSettings(limit=2)))
    assert [change.key for change in todo.listeners_changed[0].keys] == ["settings"]
    assert [change.key for change in plan(BASE, plain).listeners_changed[0].keys] == ["mode"]


def test_listeners_and_pools_come_and_go() -> None:
    bigger = Config(
        {**BASE.listeners, "api": listener_spec("api", (Address.parse(":81"),), "api")},
        {**BASE.pools, "api": PoolSpec("api", (C,), PluginSpec("weighted"))},
    )
    there, back = plan(BASE, bigger), plan(bigger, BASE)
    assert (there.added, there.removed, there.changed) == (("api", "api/c"), (), ())
    assert (back.added, back.removed, back.changed) == ((), ("api", "api/c"), ())
    assert there.lines() == (
        "added       listener api  :81 -> pool api",
        "added       pool api      weighted",
        "added       api/c         c:80",
    )
    assert back.lines() == tuple(line.replace("added  ", "removed") for line in there.lines())


def test_a_changed_pool_tells_its_keys_one_by_one() -> None:
    health = HealthSpec(PluginSpec("http", (("path", "/up"),)), interval=5)
    todo = plan(BASE, config(A, B, retries=0, health=health, passive=PassiveSpec(failures=0)))
    assert todo.changed == ("web",)
    assert todo.pools_changed[0].keys == (
        KeyChange("retries", 2, 0),
        KeyChange("health.probe", PluginSpec("tcp"), health.probe),
        KeyChange("health.interval", 2.0, 5),
        KeyChange("health.down_interval", 2.0, 5),
        KeyChange("passive.failures", 3, 0),
    )
    assert todo.lines()[1] == "changed     pool web  health.probe tcp -> http (path='/up')"
    off = plan(BASE, config(A, B, health=None))
    assert off.lines() == ("changed     pool web  health probe tcp every 2s -> off",)
    assert plan(config(A, B, health=None), BASE).lines() == ("changed     pool web  health off -> probe tcp every 2s",)


def test_looking_for_slow_servers_comes_and_goes_or_changes_key_by_key() -> None:
    looking, strict = config(A, B, outlier=OutlierSpec()), config(A, B, outlier=OutlierSpec(factor=2, interval=60.0))
    off, on = "off", "ejects servers 3 times slower than the median"
    assert plan(BASE, looking).lines() == (f"changed     pool web  outlier {off} -> {on}",)
    assert plan(looking, BASE).lines() == (f"changed     pool web  outlier {on} -> {off}",)
    assert plan(looking, strict).lines() == (
        "changed     pool web  outlier.interval 10s -> 1m",
        "changed     pool web  outlier.factor 3 -> 2",
    )


def test_settings_of_the_process_and_the_log_are_changes_of_no_name() -> None:
    todo = plan(BASE, attrs.evolve(BASE, process=ProcessSpec(stop_timeout=90.0), log=LogSpec("debug")))
    assert not todo.is_empty
    assert (todo.added, todo.removed, todo.changed) == ((), (), ())
    assert todo.lines() == (
        "changed     process  stop_timeout 30s -> 1m30s",
        "changed     log      level info -> debug",
    )


def test_what_a_reload_refuses_to_change_is_said_to_be_refused() -> None:
    other = attrs.evolve(BASE, process=ProcessSpec(workers=2, stop_timeout=90.0, user="lb"))
    assert plan(BASE, other).lines() == (
        "refused     process  workers 1 -> 2: a reload cannot change it; upgrade or restart",
        "changed     process  stop_timeout 30s -> 1m30s",
        "refused     process  user none -> lb: a reload cannot change it; restart",
    )


def test_a_hash_pool_tells_the_share_of_keys_that_move() -> None:
    consistent = PluginSpec("consistent-hash")
    old, new = config(A, B, strategy=consistent), config(A, B, C, strategy=consistent)
    line = plan(old, new).lines()[-1]
    assert line.startswith("moves       pool web  3")
    assert line.endswith("% of the keys")
    assert not any("moves" in line for line in plan(BASE, new).lines())
    assert not any("moves" in line for line in plan(old, config(A, B, strategy=consistent, retries=0)).lines())


NAMES = st.sampled_from(["a", "b", "c", "d"])
ADDRESSES = st.sampled_from([Address.parse(text) for text in ("a:1", "[::1]:80", "unix:/a", "10.0.0.1:80")])
SERVERS = st.builds(ServerSpec, NAMES, ADDRESSES, st.integers(0, 3), st.booleans())
HEALTH = st.builds(HealthSpec, interval=st.sampled_from([1.0, 2.0]), rise=st.integers(1, 2))
POOLS = st.builds(
    PoolSpec,
    NAMES,
    st.lists(SERVERS, max_size=4, unique_by=lambda spec: spec.name).map(tuple),
    st.sampled_from([PluginSpec("round-robin"), PluginSpec("weighted")]),
    retries=st.integers(0, 1),
    health=st.none() | HEALTH,
    passive=st.builds(PassiveSpec, failures=st.integers(0, 1)),
)
LISTENERS = st.builds(
    listener_spec,
    NAMES,
    st.lists(ADDRESSES, min_size=1, max_size=3, unique=True).map(tuple),
    NAMES,
    idle_timeout=st.sampled_from([1.0, math.inf]),
)


def by_name(specs: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(specs, max_size=3).map(lambda found: {spec.name: spec for spec in found})


CONFIGS = st.builds(
    Config,
    by_name(LISTENERS),
    by_name(POOLS),
    st.builds(ProcessSpec, stop_timeout=st.sampled_from([1.0, 2.0])),
    st.builds(LogSpec, st.sampled_from(["info", "debug"]), connections=st.booleans()),
)


def with_keys(spec: object, keys: tuple[KeyChange, ...]) -> object:
    for change in keys:
        key = f"settings.{change.key}" if isinstance(spec, ListenerSpec) and change.key in SETTINGS else change.key
        outer, _, inner = key.partition(".")
        assert change.old == (getattr(getattr(spec, outer), inner) if inner else getattr(spec, outer))
        value = attrs.evolve(getattr(spec, outer), **{inner: change.new}) if inner else change.new
        spec = attrs.evolve(spec, **{outer: value})
    return spec


def apply(todo: Plan, old: Config) -> Config:
    """Build the new configuration from the old one and the steps only."""

    def applied(specs: dict, added: tuple, removed: tuple, changed: tuple, change_one: Callable) -> dict:
        kept = {name: spec for name, spec in specs.items() if spec not in removed}
        renewed = {change.new.name: change_one(kept[change.new.name], change) for change in changed}
        return kept | renewed | {spec.name: spec for spec in added}

    def pool(spec: PoolSpec, change: object) -> PoolSpec:
        members = {member.name: member for member in spec.servers}
        after = applied(members, change.servers_added, change.servers_removed, change.servers_changed, renewed_keys)
        order = [member.name for member in change.new.servers]
        servers = tuple(sorted(after.values(), key=lambda member: order.index(member.name)))
        assert change.is_reordered == (
            [name for name in members if name in order] != [n for n in order if n in members]
        )
        return attrs.evolve(with_keys(spec, change.keys), servers=servers)

    def renewed_keys(spec: object, change: object) -> object:
        return with_keys(spec, change.keys)

    listeners = todo.listeners_added, todo.listeners_removed, todo.listeners_changed
    pools = todo.pools_added, todo.pools_removed, todo.pools_changed
    return Config(
        applied(old.listeners, *listeners, renewed_keys),
        applied(old.pools, *pools, pool),
        with_keys(old.process, todo.process),
        with_keys(old.log, todo.log),
    )


@given(CONFIGS, CONFIGS)
def test_applying_the_plan_to_the_old_gives_the_new(old: Config, new: Config) -> None:
    todo = plan(old, new)
    assert apply(todo, old) == new
    assert todo.is_empty == (old == new)
    assert (todo.lines() == ("no changes",)) == todo.is_empty


@given(CONFIGS, CONFIGS)
def test_binds_that_stay_are_neither_added_nor_removed(old: Config, new: Config) -> None:
    for change in plan(old, new).listeners_changed:
        kept = set(change.old.bind) - set(change.binds_removed)
        assert kept | set(change.binds_added) == set(change.new.bind)
        assert kept.isdisjoint(change.binds_added)


@given(CONFIGS, CONFIGS)
def test_the_way_back_swaps_added_and_removed(old: Config, new: Config) -> None:
    there, back = plan(old, new), plan(new, old)
    assert sorted(there.added) == sorted(back.removed)
    assert sorted(there.changed) == sorted(back.changed)
    assert there.process == tuple(KeyChange(change.key, change.new, change.old) for change in back.process)


A_ROUTE = RouteSpec("a", ToPool("web"), path="/a", auth=UsersSpec("staff", "staff", "f"))


def http_config(*routes: RouteSpec, users: UsersSpec | None = None, **settings: object) -> Config:
    """Return a configuration of one http listener, one pool and one table of users, which all routes ask."""
    staff = users or UsersSpec("staff", "staff", "f")
    routes = tuple(route if route.auth is None else attrs.evolve(route, auth=staff) for route in routes)
    listener = ListenerSpec("www", (Address.parse(":80"),), HttpSettings("web", routes, **settings), "http")
    return Config({"www": listener}, BASE.pools, users={"staff": staff})


def test_a_change_of_routes_is_told_route_by_route() -> None:
    text = RouteSpec("text", Respond("a\nb"), ("a.com", "*.a.com"), "/x", exact=True, methods=("GET",))
    old = http_config(A_ROUTE, RouteSpec("gone", Redirect("/a")))
    new = http_config(attrs.evolve(A_ROUTE, path="/b", rate=Rate(20), burst=5), text, max_body=10)
    todo = plan(old, new)
    assert todo.changed == ("www",)
    assert todo.lines() == (
        "changed     listener www    max_body 0 -> 10",
        "added       www route text  host a.com, *.a.com, path =/x, methods GET, respond 'a\\nb', status 200",
        "removed     www route gone  path /, redirect /a, status 308",
        "changed     www route a     path /a -> /b",
        "changed     www route a     rate 0 -> 20/s",
        "changed     www route a     burst 20 -> 5",
    )


def test_each_changed_key_of_a_route_is_told_as_in_the_file_and_credentials_are_hidden() -> None:
    edits = HeaderEdits(set=(("X-A", "1"), ("Authorization", "Basic x")), remove=("Cookie",))
    old = attrs.evolve(A_ROUTE, request_headers=edits)
    new = RouteSpec(
        "a",
        Redirect("https://{host}{uri}", 301),
        ("a.com",),
        "/a",
        exact=True,
        methods=("GET", "PUT"),
        request_headers=HeaderEdits(set=(("X-A", "2"), ("Authorization", "Basic y")), add=(("X-B", ""),)),
        compress=True,
    )
    (listener,) = plan(http_config(old), http_config(new)).listeners_changed
    (route,) = listener.routes_changed
    assert [str(change) for change in route.keys] == [
        "host any -> a.com",
        "path /a -> =/a",
        "methods any -> GET, PUT",
        "pool web -> off",
        "request_headers.set.X-A '1' -> '2'",
        "request_headers.set.Authorization (hidden) -> (hidden)",
        "request_headers.remove Cookie -> off",
        "auth staff -> off",
        "redirect off -> https://{host}{uri}",
        "status off -> 301",
        "request_headers.add.X-B off -> ''",
        "compress false -> true",
    ]


def test_routes_come_with_their_listener_and_go_with_it() -> None:
    here, gone = http_config(A_ROUTE), attrs.evolve(http_config(), listeners={})
    assert plan(gone, here).lines() == (
        "added       listener www  :80, mode http -> 1 route, others -> pool web",
        "added       www route a   path /a, pool web, auth staff",
    )
    assert plan(here, gone).lines()[1] == "removed     www route a   path /a, pool web, auth staff"
    tcp = attrs.evolve(here, listeners={"www": listener_spec("www", (Address.parse(":80"),), "web")})
    assert plan(tcp, here).lines() == (
        "changed     listener www  mode tcp -> http",
        "added       www route a   path /a, pool web, auth staff",
    )


def test_caches_are_told_by_name_and_those_of_routes_key_by_key() -> None:
    def config(zone: CacheSpec, **keys: object) -> Config:
        route = RouteSpec("a", ToPool("web"), path="/a", cache=RouteCache(zone, **keys))
        return attrs.evolve(http_config(route), caches={"videos": zone})

    zone = CacheSpec("videos", "/var/cache/lb", memory=0)
    old = config(zone, valid=((200, 3600.0),))
    assert plan(attrs.evolve(old, caches={}), old).lines() == (
        "added       cache videos  /var/cache/lb up to 1GiB, inactive after 1h",
    )
    assert plan(old, attrs.evolve(old, caches={})).lines() == (
        "removed     cache videos  /var/cache/lb up to 1GiB, inactive after 1h",
    )
    assert plan(old, config(attrs.evolve(zone, memory=1 << 20), valid=((200, 3600.0),))).lines() == (
        "changed     cache videos  memory 0 -> 1048576",
    )
    assert plan(old, config(zone, valid=((200, 60.0), (None, 1.0)), use_stale=frozenset())).lines() == (
        "changed     www route a  cache.valid.200 1h -> 1m",
        "changed     www route a  cache.valid.any off -> 1s",
        "changed     www route a  cache.use_stale error, timeout, updating -> none",
    )
    assert plan(http_config(RouteSpec("a", ToPool("web"), path="/a")), http_config(route_of(old))).lines() == (
        "changed     www route a  cache.zone off -> videos",
        "changed     www route a  cache.valid.200 off -> 1h",
    )


def route_of(config: Config) -> RouteSpec:
    (route,) = config.listeners["www"].settings.routes
    return route


def test_users_are_told_by_name_and_no_password_is_shown() -> None:
    def staff(**passwords: str) -> UsersSpec:
        return UsersSpec("staff", "staff", "f", tuple((user, Secret(text)) for user, text in passwords.items()))

    old = http_config(A_ROUTE, users=staff(alice="1", bob="2", carol="3"))
    new = http_config(A_ROUTE, users=attrs.evolve(staff(alice="1", bob="x", dave="4"), realm="Staff"))
    todo = plan(old, new)
    assert todo.changed == ("www",), "its route asks these users"
    assert todo.lines() == (
        "changed     users staff  realm staff -> Staff",
        "changed     users staff  added: dave",
        "changed     users staff  removed: carol",
        "changed     users staff  another password: bob",
    )
    many = plan(old, http_config(A_ROUTE, users=staff(**{f"user{number}": "x" for number in range(1000)})))
    assert many.lines()[0] == "changed     users staff  added: user0, user1, user2, user3, user4 and 995 more"
    assert plan(attrs.evolve(old, users={}), old).lines() == ("added       users staff  3 of f",)
    assert plan(old, attrs.evolve(old, users={})).lines() == ("removed     users staff  3 of f",)


def test_what_a_pool_has_for_http_is_told_key_by_key() -> None:
    new = config(
        A,
        B,
        http=HttpPoolSpec(keep_alive=0, retry_on=("reset", "503")),
        sticky=StickySpec("lb", Secret("x")),
        passive=PassiveSpec(statuses=(StatusRange(500, 599), StatusRange(429, 429))),
    )
    assert plan(BASE, new).lines() == (
        "changed     pool web  passive.statuses none -> 500-599, 429",
        "changed     pool web  http.keep_alive 32 -> 0",
        "changed     pool web  http.retry_on reset -> reset, 503",
        "changed     pool web  sticky off -> cookie lb",
    )
    other = attrs.evolve(new.pools["web"], sticky=StickySpec("sid", Secret("y")))
    assert plan(new, attrs.evolve(new, pools={"web": other})).lines() == (
        "changed     pool web  sticky.cookie lb -> sid",
        "changed     pool web  sticky.secret (hidden) -> (hidden)",
    )


def forward_config(**settings: object) -> Config:
    """Return a configuration of one forward listener, and one pool."""
    listener = ListenerSpec("proxy", (Address.parse("127.0.0.1:3128"),), ForwardSettings(**settings), "forward")
    return Config({"proxy": listener}, BASE.pools)


def test_a_change_of_a_proxy_is_told_key_by_key() -> None:
    staff = UsersSpec("staff", "staff", "f", (("ann", Secret("x")),))
    new = forward_config(
        connect_ports=None,
        allow_to=(TargetRule("*.example.com", "*.example.com"), TargetRule("*:25", "*", port=25)),
        auth=staff,
        parents="web",
        cache=RouteCache(CacheSpec("pages")),
        idle_timeout=60.0,
    )
    assert plan(forward_config(), new).lines() == (
        "changed     listener proxy  connect_ports 443 -> any",
        "changed     listener proxy  allow_to any -> *.example.com, *:25",
        "changed     listener proxy  parents none -> web",
        "changed     listener proxy  idle_timeout 10m -> 1m",
        "changed     listener proxy  auth off -> staff",
        "changed     listener proxy  cache.zone off -> pages",
    )
    settings = new.listeners["proxy"].settings
    assert isinstance(settings, ForwardSettings)
    users = attrs.evolve(staff, hashes=(("ann", Secret("y")),))
    cache = RouteCache(CacheSpec("pages"), min_uses=2)
    listener = attrs.evolve(new.listeners["proxy"], settings=attrs.evolve(settings, auth=users, cache=cache))
    assert plan(new, attrs.evolve(new, listeners={"proxy": listener})).lines() == (
        "changed     listener proxy  cache.min_uses 1 -> 2",
    )


def test_the_login_at_a_pool_of_proxies_is_told_without_its_password() -> None:
    old, new = config(A, B), config(A, B, proxy=ProxyLogin("ann", Secret("x")))
    other = config(A, B, proxy=ProxyLogin("bob", Secret("y")))
    assert plan(old, new).lines() == ("changed     pool web  proxy off -> user ann",)
    assert plan(new, other).lines() == (
        "changed     pool web  proxy.user ann -> bob",
        "changed     pool web  proxy.password (hidden) -> (hidden)",
    )
