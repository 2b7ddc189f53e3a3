"""Warnings: each has a configuration that gets it, and one next to it that does not."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from lb.config.load import config_of
from lb.config.toml_file import TomlFile
from lb.config.warnings import EXPIRES_SOON, Written, warnings
from tests.support.tls_peers import write_certificate

WEB = '[listeners.web]\nbind = ":80"\npool = "web"\n[pools.web]\nservers = ["10.0.0.1:80", "10.0.0.2:80"]\n'


def lines(text, name="lb.toml", today=date(2026, 1, 1)):
    file = TomlFile.parse(text, name)
    return [
        line.removeprefix(f"{name}: ") for line in file.located(warnings(Written(config_of(file), file.content, today)))
    ]


def binds(*each, admin=None):
    """One listener per entry, all of one pool."""
    listeners = "".join(f"[listeners.l{number}]\nbind = {bind}\npool = 'p'\n" for number, bind in enumerate(each))
    return (
        listeners
        + "[pools.p]\nservers = ['10.0.0.1:1']\n"
        + (f"[admin]\nbind = {admin!r}\ntoken = 'x'\n" if admin else "")
    )


@pytest.mark.parametrize(
    "text",
    [
        WEB,
        WEB + "[pools.web.health]\ninterval = '1s'\ntimeout = '1s'\n",
        WEB.replace('"10.0.0.2:80"', '{ address = "10.0.0.2:80", weight = 0 }'),
        "[listeners.web]\nbind = ':80'\nservers = ['10.0.0.1:80']\n",
        binds("'127.0.0.1:80'", "'127.0.0.2:80'", "'[::]:80'", "'[::1]:81'", "'web.internal:80'"),
        binds("['127.0.0.1:0', ':0']", "'0.0.0.0:0'", "['unix:/a', 'unix:/b']"),
    ],
)
def test_nothing_is_warned_of_without_a_reason(text):
    assert lines(text) == []


def test_a_pool_that_no_listener_uses():
    assert lines(WEB + "[pools.old]\nservers = ['10.0.0.3:80']\n") == ["pools.old: no listener uses this pool (line 6)"]


def test_settings_that_the_strategy_ignores():
    heavy = WEB.replace('"10.0.0.2:80"', '{ address = "10.0.0.2:80", weight = 3 }')
    ramp = "slow_start = '1m'\n"
    assert lines(heavy + ramp) == []
    assert lines(f"{WEB}strategy = 'round-robin'\n") == []
    assert lines(f"{heavy}strategy = 'round-robin'\n{ramp}") == [
        "pools.web.strategy: 'round-robin' ignores weights, and those of the servers differ (line 6)",
        "pools.web.slow_start: the strategy 'round-robin' ignores it (line 7)",
    ]
    assert lines(f"{heavy}strategy = 'consistent-hash'\n{ramp}") == [
        "pools.web.slow_start: the strategy 'consistent-hash' ignores it (line 7)"
    ]
    assert lines(f"{heavy}strategy = {{ name = 'first', failback = false }}\n") == [
        "pools.web.strategy: 'first' ignores weights, and those of the servers differ (line 6)"
    ]


@pytest.mark.parametrize("key", ["uri", "cookie:session"])
def test_a_key_of_requests_where_there_are_none(key):
    hashed = WEB + f"strategy = {{ name = 'consistent-hash', key = '{key}' }}\n"
    text = "the strategy of pool 'web' chooses by requests, and mode 'tcp' reads none"
    assert lines(hashed) == [f"listeners.web: {text} (line 1)"]
    assert lines(hashed.replace(key, "source-ip-port")) == []
    assert lines(hashed.replace("[pools.web]", "mode = 'http'\n[pools.web]", 1)) == []


def test_weights_that_are_all_zero():
    servers = "servers = [{ address = '10.0.0.1:80', weight = 0 }, { dns = 'a.internal', port = 80, weight = 0 }]"
    message = "all servers have weight 0, so none gets a connection"
    assert lines(WEB.replace('servers = ["10.0.0.1:80", "10.0.0.2:80"]', servers)) == [f"pools.web: {message} (line 4)"]
    inline = f"[listeners.web]\nbind = ':80'\n{servers}\n"
    assert lines(inline) == [f"listeners.web: {message} (line 1)"], "a listener's own pool is where the listener is"


def test_a_check_that_may_take_longer_than_its_interval():
    found = lines(WEB + "[pools.web.health]\ninterval = '500ms'\n\ntimeout = '2s'\n")
    assert len(found) == 1
    assert found[0].startswith("pools.web.health.timeout: 2s is longer than the interval of 500ms: ")
    assert found[0].endswith(" (line 9)")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (":80", "127.0.0.1:80"),
        ("127.0.0.1:80", ":80"),
        (":80", "[::1]:80"),
        (":80", "web.internal:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("[::]:80", "[::1]:80"),
        ("[::]:80", ":80"),
    ],
)
def test_addresses_of_which_one_holds_the_other(one, other):
    assert lines(binds(repr(one), repr(other))) == [
        f"listeners.l1.bind: {other!r} overlaps with {one!r} in listeners.l0.bind (line 5)"
    ]
    assert len(lines(binds(repr([one, other])))) == 1, "of one listener"
    assert lines(binds(repr(one), admin=other)) == [
        f"admin.bind: {other!r} overlaps with {one!r} in listeners.l0.bind (line 7)"
    ]


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (-1, "has expired on {}"),
        (0, "expires on {}, today"),
        (1, "expires on {}, in a day"),
        (EXPIRES_SOON.days, "expires on {}, in 30 days"),
        (EXPIRES_SOON.days + 1, None),
    ],
)
def test_a_certificate_that_ends(tmp_path, days, text):
    write_certificate(tmp_path, "a", "a.example.org")
    pair = "certificate = 'a.pem'\nkey = 'a.key'\n"
    toml = f"{WEB}[pools.web.tls]\nserver_name = 'a'\n{pair}[listeners.web.tls]\n{pair}"
    listed = f"{WEB}[[listeners.web.tls.certificates]]\n{pair}"
    name = str(tmp_path / "lb.toml")
    (end,) = {each.until for each in config_of(TomlFile.parse(toml, name)).listeners["web"].tls.certificates}
    today = date.fromisoformat(end) - timedelta(days=days)
    if text is None:
        assert lines(toml, name, today) == []
        return
    message = text.format(end)
    assert lines(toml, name, today) == [
        f"listeners.web.tls.certificate: {message} (line 11)",
        f"pools.web.tls.certificate: {message} (line 8)",
    ]
    assert lines(listed, name, today) == [f"listeners.web.tls.certificates[0].certificate: {message} (line 7)"]


@pytest.mark.parametrize(
    ("server", "bind", "warned"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", ":80", True),
        ("[::1]:80", ":80", True),
        ("localhost:80", ":80", True),
        ("127.0.0.1:80", "localhost:80", True),
        ("127.0.0.1:80", "0.0.0.0:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("web.internal:80", "web.internal:80", True),
        ("unix:/run/lb", "unix:/run/lb", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.2:80", "127.0.0.1:80", False),
        ("10.0.0.1:80", ":80", False),
        ("web.internal:80", ":80", False),
        ("unix:/run/a", "unix:/run/lb", False),
        ("127.0.0.1:80", "unix:/run/lb", False),
    ],
)
def test_a_server_that_is_a_listener_of_its_own_configuration(server, bind, warned):
    text = f"[listeners.web]\nbind = {bind!r}\nservers = ['10.0.0.9:1', {server!r}]\n"
    message = f"{server!r} is the listener 'web' of this configuration: connects to it will fail"
    assert lines(text) == ([f"listeners.web.servers[1]: {message} (line 3)"] if warned else [])


def test_ranges_of_ports_are_told_of_once():
    assert lines(binds("':5000-5999'", "'127.0.0.1:5500-6500'")) == [
        "listeners.l1.bind: '127.0.0.1:5500' overlaps with ':5500' in listeners.l0.bind (line 5)"
    ]


@pytest.mark.slow
def test_a_large_configuration_is_compared_by_port():
    """Each server with each address would take a minute."""
    servers = ", ".join(f"'127.0.0.1:{port}'" for port in range(20_000, 25_000))
    text = f"[listeners.web]\nbind = ['127.0.0.1:80', '127.0.0.1:10000-19999']\nservers = [{servers}, '127.0.0.1:80']\n"
    (line,) = lines(text)
    assert line.startswith("listeners.web.servers[5000]: '127.0.0.1:80' is the listener 'web' ")


def http(lines="", *routes):
    tables = "".join(f"[[listeners.web.routes]]\n{route}\n" for route in routes)
    return WEB.replace("[pools.web]", f"mode = 'http'\n{lines}\n{tables}[pools.web]")


FOR_HTTP = "sticky = { cookie = 'lb' }\n[pools.web.http]\nkeep_alive = 0\n[pools.web.passive]\nstatuses = ['500-599']\n"


def test_settings_for_http_in_a_pool_that_no_http_listener_uses():
    message = "has no effect: no listener of mode 'http' uses this pool"
    assert lines(WEB + FOR_HTTP) == [
        f"pools.web.http: {message} (line 7)",
        f"pools.web.sticky: {message} (line 6)",
        f"pools.web.passive.statuses: {message} (line 10)",
    ]
    assert lines(http() + FOR_HTTP) == []
    also = "[listeners.other]\nbind = ':81'\npool = 'web'\n"
    assert lines(http() + FOR_HTTP + also) == [], "one of several listeners is enough"
    unused = WEB.replace("listeners.web", "listeners.other").replace("pool = ", "servers = ['10.0.0.1:1'] #") + FOR_HTTP
    assert lines(unused) == ["pools.web: no listener uses this pool (line 4)"], "which says enough"


def test_a_pool_behind_a_route_that_takes_everything():
    route = "respond = ''\n"
    assert lines(http("", f"path = '/a'\n{route}")) == []
    assert lines(http("", f"methods = ['GET']\n{route}")) == []
    assert lines(http("", f"host = 'a'\n{route}")) == []
    assert lines(http("", route)) == [
        "listeners.web.pool: gets no requests: the route '/' takes all that others leave (line 3)"
    ]


def test_a_cache_that_no_route_uses():
    cache = "[caches.videos]\n"
    assert lines(WEB + cache) == ["caches.videos: no listener uses this cache (line 6)"]
    assert lines(http("", "path = '/a'\npool = 'web'\ncache.zone = 'videos'") + cache) == []


def test_users_that_no_route_asks_for(tmp_path):
    (tmp_path / "staff").write_text("alice:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n")
    users = "[users.staff]\nfile = 'staff'\n"
    name = str(tmp_path / "lb.toml")
    assert lines(WEB + users, name) == ["users.staff: no listener uses these users (line 6)"]
    assert lines(http("", "path = '/a'\nauth = 'staff'\npool = 'web'") + users, name) == []


def forward(lines="", pool=""):
    text = f"[listeners.proxy]\nmode = 'forward'\nbind = '127.0.0.1:3128'\n{lines}\n"
    return f"{text}[pools.up]\nservers = ['10.0.0.1:3128']\n{pool}" if pool or "parents" in lines else text


def test_a_rule_that_allows_private_addresses_which_stay_refused():
    allowed = "allow_to = ['*.example.com', '10.1.0.0/16', '8.8.8.8', '[::1]:443', '0.0.0.0/0']\n"
    message = "stays refused: it is not globally reachable, and 'private' is false"
    assert lines(forward(allowed)) == [
        f"listeners.proxy.allow_to[1]: '10.1.0.0/16' {message} (line 4)",
        f"listeners.proxy.allow_to[3]: '[::1]:443' {message} (line 4)",
    ]
    assert lines(forward(f"private = true\n{allowed}")) == []


def test_a_login_at_servers_that_are_no_parents(tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    name = str(tmp_path / "lb.toml")
    login = "proxy = { user = 'ann', password_file = 'secret' }\n"
    message = "has no effect: no listener of mode 'forward' has this pool as its parents"
    assert lines(WEB + login, name) == [f"pools.web.proxy: {message} (line 6)"]
    assert lines(forward("parents = 'up'", login), name) == []
    assert lines(forward("parents = 'web'").partition("[pools")[0] + WEB + login, name) == [], "one use is enough"


def test_a_proxy_uses_users_caches_and_what_its_parents_have_for_http(tmp_path):
    (tmp_path / "staff").write_text("alice:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n")
    more = "[pools.up.http]\nkeep_alive = 0\n[users.staff]\nfile = 'staff'\n[caches.pages]\n"
    used = forward("auth = 'staff'\nparents = 'up'\ncache = { zone = 'pages' }", more)
    assert lines(used, str(tmp_path / "lb.toml")) == []


def live(**apps):
    """Return a configuration with these applications, whose tables begin at line 5."""
    rtmp = "listeners.rtmp = { bind = ':1935', mode = 'rtmp' }\n"
    routes = ", ".join(f"{{ path = '/{name}/', media = '{name}' }}" for name in apps)
    web = f"[listeners.web]\nbind = ':80'\nmode = 'http'\nroutes = [{routes}]\n"
    return rtmp + web + "".join(f"[media.live.{name}]\n{text}\n" for name, text in apps.items())


HOOK = "on_publish = 'http://127.0.0.1/'"


def test_streams_that_nobody_can_publish():
    assert lines(live(a=HOOK, b="pull = 'rtmp://h/live/{name}'")) == []
    assert lines(live(a="play = false")) == [
        "media.live.a: nobody may publish: it has no 'publish', 'on_publish' or 'pull' (line 6)"
    ]


def test_streams_that_are_only_sent_on_or_fetched_need_no_other_listener():
    sent_on = f"listeners.rtmp = {{ bind = ':1935', mode = 'rtmp' }}\n[media.live.a]\n{HOOK}\npush = ['rtmp://h/a/x']\n"
    assert lines(sent_on) == []
    fetched = live(a="pull = 'rtmp://h/live/{name}'").partition("\n")[2]
    assert lines(fetched) == []


def test_an_origin_without_a_name():
    assert lines(live(a="pull = 'rtmp://h/live/show'")) == [
        "media.live.a.pull: has no {name} in it: whatever name is asked for is this one stream (line 7)"
    ]


def test_streams_that_come_back():
    ways = {
        "a": HOOK + "\npush = ['rtmp://127.0.0.1/b/{name}', 'rtmp://127.0.0.1:1936/a/{name}']",
        "b": HOOK + "\npush = ['rtmp://localhost/c/{name}']",
        "c": HOOK,
    }
    assert lines(live(**ways)) == []
    assert lines(live(**ways | {"c": HOOK + "\npush = ['rtmp://[::1]/{app}/x']"})) == [
        "media.live.c.push[0]: brings a stream back to where it is (line 14)"
    ]
    assert len(lines(live(**ways | {"c": HOOK + "\npush = ['rtmp://127.0.0.2/a/{name}']"}))) == 3
    assert lines(live(a="pull = 'rtmp://127.0.0.1/a/{name}'")) == [
        "media.live.a.pull: fetches a stream from where it is not (line 7)"
    ]


def test_addresses_that_are_announced_without_a_listener_or_a_stop_delay():
    announce = "[announce]\naddresses = [{}]\ninterface = 'lo'\n"
    delay = "[process]\nstop_delay = '3s'\n"
    here = "[listeners.l]\nbind = '{}'\nservers = ['10.0.0.1:1']\n"
    for bind in ("203.0.113.5:80", ":80", "0.0.0.0:80", "www.example.com:80"):
        assert lines(announce.format("'203.0.113.5'") + delay + here.format(bind)) == []
    assert lines(announce.format("'203.0.113.0/24'") + delay + here.format("203.0.113.9:80")) == []
    found = lines(announce.format("'203.0.113.5', '2001:db8::5'") + here.format("203.0.113.5:80"))
    why = "without it, a stop closes the listeners before routers have heard that the addresses are gone"
    assert found == [
        f"process.stop_delay: {why}: give it some seconds",
        "announce.addresses[1]: no listener listens on 2001:db8::5 (line 2)",
    ]


def test_sticky_cookies_that_other_balancers_do_not_know(tmp_path):
    (tmp_path / "secret").write_text("a secret")
    announce = "[announce]\naddresses = ['203.0.113.5']\ninterface = 'lo'\n[process]\nstop_delay = '3s'\n"
    cluster = (
        "[admin]\nbind = '127.0.0.1:9900'\n[cluster]\nname = 'edge'\netcd = { endpoints = ['http://127.0.0.1:2379'] }\n"
    )
    web = "[listeners.l]\nmode = 'http'\nbind = ':80'\npool = 'p'\n[pools.p]\nservers = ['10.0.0.1:1']\n"
    sticky = "sticky = { cookie = 'lb' }\n"
    shared = f"sticky = {{ cookie = 'lb', secret_file = '{tmp_path}/secret' }}\n"
    why = "other balancers do not know its cookies: give all of them the same 'secret_file'"
    for several in (announce, cluster):
        assert lines(several + web + shared) == []
        (found,) = lines(several + web + sticky)
        assert found.startswith(f"pools.p.sticky: {why}")
    assert lines(web + sticky) == []


def test_two_pools_that_keep_servers_of_etcd_in_one_file():
    def etcd(pool, prefix):
        return f'[pools.{pool}.etcd]\nendpoints = ["http://10.0.0.1:1"]\nprefix = "/{prefix}/"\nfile = "last.json"\n'

    listeners = '[listeners]\na = { bind = ":1", pool = "one" }\nb = { bind = ":2", pool = "two" }\n'
    (line,) = lines(listeners + etcd("one", "x") + etcd("two", "y"))
    assert line.startswith("pools.two.etcd.file: the pool 'one' has this file already")
    assert lines(listeners + etcd("one", "x") + etcd("two", "x")) == []
