import json
import math
import sys
from collections.abc import Callable
from ipaddress import ip_interface
from pathlib import Path

import attrs
import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from lb.config.describe import describe
from lb.config.load import ConfigError, config_of, load, parse
from lb.config.toml_file import TomlFile
from lb.model import (
    AdminSpec,
    AnnounceSpec,
    BandwidthSpec,
    CheckSpec,
    ClusterSpec,
    Config,
    DnsSource,
    EtcdSource,
    EtcdSpec,
    HealthSpec,
    HttpPoolSpec,
    KubernetesSource,
    LogSpec,
    OptionalProxies,
    OutlierSpec,
    PassiveSpec,
    PluginSpec,
    PoolSpec,
    ProcessSpec,
    Secret,
    ServerSpec,
    StickySpec,
)
from lb.model.address import Address, Networks
from lb.model.http import StatusRange
from tests.support.paths import DATA
from tests.support.specs import listener_spec

PAIRS = DATA / "config"
EVERYTHING = PAIRS / "good" / "everything.toml"


def errors_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "lb.toml")
    return caught.value.errors


@pytest.mark.parametrize("path", sorted(PAIRS.glob("good/*.toml")), ids=lambda path: path.stem)
def test_a_good_file_is_understood(path: Path) -> None:
    assert describe(parse(path.read_text(), "lb.toml")) + "\n" == path.with_suffix(".txt").read_text()


@pytest.mark.parametrize("path", sorted(PAIRS.glob("bad/*.toml")), ids=lambda path: path.stem)
def test_a_bad_file_gets_these_messages(path: Path) -> None:
    assert errors_of(path.read_text()) == tuple(path.with_suffix(".txt").read_text().splitlines())


def test_the_least_file_takes_every_default() -> None:
    servers = tuple(ServerSpec(text, Address.parse(text)) for text in ("127.0.0.1:9001", "127.0.0.1:9002"))
    assert load(PAIRS / "good" / "least.toml") == Config(
        listeners={"web": listener_spec("web", (Address.parse("127.0.0.1:8080"),), "web")},
        pools={"web": PoolSpec("web", servers)},
    )


def test_every_key_reaches_the_model() -> None:
    binds = tuple(map(Address.parse, ("127.0.0.1:8080", "[::1]:8080", "unix:/run/web.sock")))
    app = PoolSpec(
        name="app",
        servers=(
            ServerSpec(
                "a",
                Address.parse("10.0.0.1:80"),
                weight=5,
                max_connections=100,
                check_port=8082,
                check_address="10.9.0.2",
            ),
            ServerSpec("unix:/run/app.sock", Address.parse("unix:/run/app.sock"), backup=True),
        ),
        strategy=PluginSpec("consistent-hash", (("key", "source-ip-port"), ("table", "ketama"))),
        connect_timeout=0.25,
        retries=0,
        when_all_down="hold",
        hold_timeout=1.5,
        queue=250,
        queue_timeout=20,
        on_down="close",
        on_remove="close",
        on_return="close",
        drain_timeout=3600,
        slow_start=120,
        resolve_interval=90,
        send_proxy="v2",
        proxy_tlvs=("authority", "unique-id"),
        source=("10.0.0.5", "fd00::5"),
        buffer=256 * 1024,
        health=HealthSpec(
            probe=PluginSpec("http", (("expect_status", ("200", "204")), ("path", "/ready"))),
            interval=1.5,
            fast_interval=0.25,
            down_interval=60,
            timeout=0.75,
            rise=1,
            fall=4,
            port=8081,
            address="10.9.0.1",
            tls=False,
            initial="down",
            share=True,
        ),
        passive=PassiveSpec(failures=5, eject_for=60, statuses=(StatusRange(500, 599), StatusRange(429, 429))),
        outlier=OutlierSpec(
            interval=60,
            factor=5,
            min_difference=0.1,
            first_byte=False,
            min_servers=4,
            min_samples=100,
            max_ejected_percent=50,
            eject_for=300,
            dry_run=True,
        ),
        dns=(
            DnsSource("app.internal", 80, weight=3, backup=True, max_connections=10, check_port=8083),
            DnsSource("_http._tcp.app.internal"),
        ),
        nameservers=(Address.parse("10.0.0.53:53"), Address.parse("[fd00::53]:5353")),
        servers_file=str(EVERYTHING.parent / "app.servers"),
        etcd=EtcdSource(
            EtcdSpec(("http://10.0.0.1:2379", "http://etcd.internal:2379"), "/trio-lb/pools/app/"),
            90.0,
            "/var/lib/trio-lb/app.json",
            str(EVERYTHING.parent),
        ),
        kubernetes=KubernetesSource(
            "app",
            "shop",
            port="http",
            api="https://10.0.0.1:6443",
            token_file=str(EVERYTHING.parent / "token"),
            family="ipv6",
            prefer_zone="eu-1a",
            hold=120.0,
        ),
        http=HttpPoolSpec(
            protocol="h2",
            max_streams=50,
            keep_alive=8,
            keep_alive_timeout=30,
            response_timeout=math.inf,
            retry_on=("reset", "503"),
            retry_buffer=128 << 10,
        ),
        sticky=StickySpec("lb"),
    )
    assert load(EVERYTHING) == Config(
        listeners={
            "web": listener_spec(
                "web",
                binds,
                "app",
                idle_timeout=math.inf,
                half_close_timeout=90,
                max_connections=1000,
                backlog=128,
                accept_proxy=OptionalProxies(("10.0.0.1", "2001:db8::/32")),
                header_timeout=3.0,
                allow=Networks(("10.0.0.0/8", "2001:db8::/32")),
                deny=Networks(("10.9.0.0/16",)),
                max_per_source=20,
                rate_per_source=5,
                keepalive=30.0,
                user_timeout=20.0,
                freebind=True,
                socket_mode=0o660,
                socket_owner="balancer:web",
                bandwidth=BandwidthSpec(connection=1 << 20, source=4_000_000, listener=1 << 30),
                explain_sample=0.01,
            ),
            "app": listener_spec("app", (Address.parse(":0"),), "app"),
        },
        pools={"app": app},
        process=ProcessSpec(2, 10, 45, user="balancer", group="network", watch=True),
        log=LogSpec("debug", "json", connections=False),
        admin=AdminSpec(Address.parse("0.0.0.0:9900"), Secret("a long secret"), 0o660, ":web", server_metrics=False),
        announce=AnnounceSpec(
            tuple(map(ip_interface, ("203.0.113.5", "203.0.113.6", "2001:db8::5", "198.51.100.0/24"))), "dummy0", 2.0
        ),
        cluster=ClusterSpec("edge", "lb1", EtcdSpec(("http://10.0.0.1:2379", "http://[fd00::2]:2379"), "/elsewhere/")),
    )


def test_the_order_of_a_plugins_options_makes_no_difference() -> None:
    text = '[listeners.a]\nbind = ":1"\n[pools.a]\nservers = ["a:1"]\nstrategy = { name = "consistent-hash", %s }'
    one = parse(text % 'key = "source-ip", table = "maglev"', "lb.toml")
    assert one == parse(text % 'table = "maglev", key = "source-ip"', "lb.toml")


@pytest.mark.parametrize(
    ("key", "wrong", "right"),
    [("pools.web.strategy", "round-robbin", "round-robin"), ("pools.web.health.probe", "htpp", "http")],
)
def test_a_misspelt_plugin_gets_a_suggestion(key: str, wrong: str, right: str) -> None:
    (error,) = errors_of(f'{key} = "{wrong}"\nlisteners.web.bind = ":1"\npools.web.servers = ["a:1"]')
    assert error.startswith(f"lb.toml: {key}: ")
    assert f"did you mean '{right}'?" in error


@pytest.mark.parametrize(
    ("health", "place"),
    [
        ('probe = "http", path = "no-slash"', "pools.web.health.path"),
        ('probe = "http", expect_body = "("', "pools.web.health.expect_body"),
        ('probe = "exec", command = []', "pools.web.health.command"),
        ('probe = "exchange", expect = "("', "pools.web.health.expect"),
        ('probe = "exchange"', "pools.web.health"),
    ],
)
def test_what_a_probe_minds_is_told_at_its_option(health: str, place: str) -> None:
    (error,) = errors_of(f'listeners.web.bind = ":1"\npools.web = {{ servers = ["a:1"], health = {{ {health} }} }}')
    assert error.startswith(f"lb.toml: {place}: ")


@pytest.mark.parametrize("workers", ["0", "-1", "1025", "true", "1.0", '"two"', "[]"])
def test_workers_are_a_number_or_auto(workers: str) -> None:
    (error,) = errors_of(f'process.workers = {workers}\nlisteners.web = {{ bind = ":1", servers = ["a:1"] }}')
    assert error.startswith("lb.toml: process.workers: must be ")


# Keys by the type of their value: a wrong value gives one error that names the key.
WRONG = {
    "duration": ["true", "[]", "{}", "-1", "-0.5", "nan", "inf", '"5"', '"x"', '""', "2024-01-01"],
    "positive": ["0", "0.0", '"0"', '"0ms"', "true", "[]", "{}", "-1", "nan", "inf", '"5"', '"-1s"'],
    "interval": ["0", '"0"', "0.001", '"9ms"', "true", "[]", "{}", "-1", "nan", "inf", '"5"', '"-1s"'],
    "count": ["-1", "true", "[]", "{}", "1.5", "nan", '"3"', "2024-01-01", "9" * 30],
    "boolean": ["0", "1", '"true"', "[]", "{}"],
    "choice": ["0", "true", "[]", "{}", '""', '"nonsense"', "nan"],
    "statuses": ["0", "true", "{}", '""', '"500"', "[500]", '["5xx"]', '["099"]', '["503-500"]', "[[]]"],
    "word list": ["0", "true", "{}", '""', '"reset"', "nan", '["rest"]', "[503]", "[[]]"],
    "file": ["0", "true", "[]", "{}", '""', '"a\\u0000b"', "nan"],
}
KEYS = [
    ("process.stop_timeout", "duration"),
    ("log.level", "choice"),
    ("log.format", "choice"),
    ("log.connections", "boolean"),
    ("listeners.web.pool", "choice"),
    ("listeners.web.idle_timeout", "duration"),
    ("listeners.web.half_close_timeout", "duration"),
    ("listeners.web.max_connections", "count"),
    ("listeners.web.backlog", "count"),
    ("pools.web.strategy", "choice"),
    ("pools.web.connect_timeout", "positive"),
    ("pools.web.retries", "count"),
    ("pools.web.when_all_down", "choice"),
    ("pools.web.hold_timeout", "positive"),
    ("pools.web.on_down", "choice"),
    ("pools.web.on_remove", "choice"),
    ("pools.web.on_return", "choice"),
    ("pools.web.drain_timeout", "duration"),
    ("pools.web.resolve_interval", "interval"),
    ("pools.web.servers_file", "file"),
    ("pools.web.health.probe", "choice"),
    ("pools.web.health.interval", "interval"),
    ("pools.web.health.fast_interval", "interval"),
    ("pools.web.health.down_interval", "interval"),
    ("pools.web.health.timeout", "positive"),
    ("pools.web.health.rise", "count"),
    ("pools.web.health.fall", "count"),
    ("pools.web.health.port", "count"),
    ("pools.web.health.initial", "choice"),
    ("pools.web.health.require", "choice"),
    ("pools.web.passive.failures", "count"),
    ("pools.web.passive.eject_for", "positive"),
    ("pools.web.passive.statuses", "statuses"),
    ("pools.web.http.keep_alive", "count"),
    ("pools.web.http.keep_alive_timeout", "positive"),
    ("pools.web.http.response_timeout", "duration"),
    ("pools.web.http.retry_on", "word list"),
    ("pools.web.outlier.interval", "interval"),
    ("pools.web.outlier.factor", "count"),
    ("pools.web.outlier.min_difference", "duration"),
    ("pools.web.outlier.first_byte", "boolean"),
    ("pools.web.outlier.min_servers", "count"),
    ("pools.web.outlier.min_samples", "count"),
    ("pools.web.outlier.max_ejected_percent", "count"),
    ("pools.web.outlier.eject_for", "positive"),
    ("pools.web.outlier.dry_run", "boolean"),
]


@pytest.mark.parametrize(("key", "wrong"), [(key, wrong) for key, kind in KEYS for wrong in WRONG[kind]])
def test_a_wrong_value_is_one_message_at_its_key(key: str, wrong: str) -> None:
    servers = '["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]'  # enough for outlier detection
    text = f'{key} = {wrong}\nlisteners.web.bind = ":1"\npools.web.servers = {servers}'
    (error,) = errors_of(text)
    # a strategy may be a table, so an empty one is reported as a missing name
    assert error.startswith((f"lb.toml: {key}: ", f"lb.toml: {key}.name: missing"))


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        *(("weight", wrong) for wrong in ["-3", "65536", "true", '"1"', "1.0"]),
        *(("max_connections", wrong) for wrong in WRONG["count"]),
        *(("backup", wrong) for wrong in WRONG["boolean"]),
        *(("name", wrong) for wrong in ["3", '""', '"a/b"', '"a\\nb"', "[]"]),
    ],
)
def test_a_wrong_value_of_a_server_is_one_message_at_its_key(key: str, wrong: str) -> None:
    servers = f'["127.0.0.1:1", {{ address = "127.0.0.1:2", {key} = {wrong} }}]'
    (error,) = errors_of(f'listeners.web.bind = ":1"\npools.web.servers = {servers}')
    assert error.startswith(f"lb.toml: pools.web.servers[1].{key}: ")


def test_several_checks_reach_the_model() -> None:
    health = load(PAIRS / "good" / "several_checks.toml").pools["db"].health
    assert health == HealthSpec(
        port=8008,
        require="any",
        checks=(
            CheckSpec(PluginSpec("postgres"), port=5432),
            CheckSpec(PluginSpec("http", (("path", "/primary"),)), name="primary"),
            CheckSpec(PluginSpec("redis", (("password", Secret("s3cret")),)), port=6379),
            CheckSpec(PluginSpec("agent"), address="10.0.0.9"),
        ),
    )
    assert [check.port for check in health.all_checks] == [5432, 8008, 6379, 8008]


def test_a_check_s_own_place_comes_before_the_server_s_and_that_before_the_pool_s() -> None:
    health = HealthSpec(port=1, address="10.0.0.1", checks=(CheckSpec(), CheckSpec(port=3, address="10.0.0.3")))
    plain = ServerSpec("a", Address.parse("10.0.0.9:9"))
    own = attrs.evolve(plain, check_port=2, check_address="10.0.0.2")
    places = {server: [(each.port, each.address) for each in health.checks_of(server)] for server in (plain, own)}
    assert places == {
        plain: [(1, "10.0.0.1"), (3, "10.0.0.3")],
        own: [(2, "10.0.0.2"), (3, "10.0.0.3")],
    }


def test_every_key_of_the_model_is_in_the_file_that_has_everything() -> None:
    """Fails for a key that is in the model but is never read. For TLS see test_tls.py, for proxy test_pool_proxy.py."""
    config = load(EVERYTHING)
    web, app = listener_spec("web", (), ""), PoolSpec("app")
    defaults = (ProcessSpec(), LogSpec(), web, web.settings, app, HealthSpec(), PassiveSpec(), OutlierSpec(), app.http)
    pool = config.pools["app"]
    several = load(PAIRS / "good" / "several_checks.toml").pools["db"].health
    assert several  # instead of one probe
    health = attrs.evolve(pool.health, checks=several.checks, require=several.require)
    listener = config.listeners["web"]
    given_ = (
        config.process,
        config.log,
        listener,
        listener.settings,
        pool,
        health,
        pool.passive,
        pool.outlier,
        pool.http,
    )
    for default, value in zip(defaults, given_, strict=True):
        elsewhere = ("name", "mode", "tls", "sni", "no_tls", "proxy", "__weakref__")
        same = [key for key in default.__slots__ if key not in elsewhere]
        assert [key for key in same if getattr(default, key) == getattr(value, key)] == []


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"# fine\n# \xff\n"), "is not UTF-8: byte 0xff in line 2"),
    ],
)
def test_an_unreadable_file_is_one_clear_line(
    tmp_path: Path, prepare: Callable[[Path], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path / "my.toml")
    with pytest.raises(ConfigError) as caught:
        load(Path("my.toml"))
    assert caught.value.errors == (f"my.toml: {message}",)


def test_a_file_without_permission_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, _flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("lb.net.files.open_file", refuse)
    with pytest.raises(ConfigError, match=r"^\S+/least.toml: cannot be read: Permission denied$"):
        load(PAIRS / "good" / "least.toml")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    path = tmp_path / "lb.toml"
    path.write_bytes(b"\xef\xbb\xbf" + (PAIRS / "good" / "least.toml").read_bytes())
    assert load(path) == load(PAIRS / "good" / "least.toml")


def with_own_strategy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, constructor: str, options: str
) -> Path:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / f"{module}.py").write_text(
        "from strategies.base import Strategy\n"
        "class Own(Strategy):\n"
        f"    {constructor}\n"
        "    def pick(self, client, tried):\n"
        "        return None\n"
    )
    path = tmp_path / "lb.toml"
    strategy = f'{{ name = "{module}:Own"{options} }}'
    path.write_text(f'listeners.web.bind = ":1"\npools.web = {{ servers = ["a:1"], strategy = {strategy} }}')
    return path


def test_a_strategy_may_lie_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_own_strategy(tmp_path, monkeypatch, "lies_beside", "", "")
    assert load(path).pools["web"].strategy == PluginSpec("lies_beside:Own")
    load(path)
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == str(tmp_path), "a file beside the configuration must not hide an installed module"


def test_a_strategy_that_takes_any_option_gets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_own_strategy(tmp_path, monkeypatch, "takes_any", "def __init__(self, **options): ...", ", depth = [1]")
    assert load(path).pools["web"].strategy == PluginSpec("takes_any:Own", (("depth", (1,)),))


@pytest.mark.parametrize(
    ("constructor", "message"),
    [
        ("def __init__(self): raise KeyError('gone')", "'broken{}:Own' does not start: KeyError: 'gone'"),
        ("def __init__(self): raise ValueError('two\\nlines')", "two lines"),
        ("def __init__(self, depth): ...", "depth: missing, 'broken{}:Own' needs it"),
    ],
    ids=["0", "1", "2"],
)
def test_a_strategy_that_does_not_start_is_a_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    constructor: str,
    message: str,
) -> None:
    number = request.node.callspec.id
    path = with_own_strategy(tmp_path, monkeypatch, f"broken{number}", constructor, "")
    with pytest.raises(ConfigError) as caught:
        load(path)
    (error,) = caught.value.errors
    assert error.startswith(f"{path}: pools.web.strategy")
    assert error.endswith(f"{message.format(number)} (line 2)")


WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(),
        WORDS,
        st.dates(),
        st.sampled_from(["0", "1s", "a:1", ":1", "unix:/a", "web", "tcp", "http", "consistent-hash", 10**400]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


def toml(value: object) -> str:
    """Write the values above as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def complaints(text: str) -> tuple[str, ...] | None:
    """Return the errors of a file; None if it is valid."""
    try:
        parse(text, "lb.toml")
    except ConfigError as error:
        return error.errors
    return None


def assert_good_or_well_explained(text: str) -> None:
    lines = complaints(text)
    assert lines != ()
    assert all(line.startswith("lb.toml: ") and len(line.splitlines()) == 1 for line in lines or ())


@given(VALUES, st.data())
def test_any_value_anywhere_is_a_config_or_a_config_error(value: object, data: st.DataObject) -> None:
    root = tomli.loads(EVERYTHING.read_text())
    place: dict[str, object] | list[object] = root
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        below = place[key]
        if not (isinstance(below, dict | list) and below) or data.draw(st.booleans()):
            break
        place = below
    place[key] = value
    if isinstance(place, dict) and data.draw(st.booleans()):
        place[data.draw(WORDS)] = data.draw(VALUES)
    assert_good_or_well_explained("\n".join(f"{toml(key)} = {toml(content)}" for key, content in root.items()))


@given(WORDS)
def test_any_text_is_a_config_error(text: str) -> None:
    assert_good_or_well_explained(text)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "9" * 5000,
        "pools.web.health" + ".a" * 5000 + " = 1",
        'pools.web.health.probe = "http"\npools.web.health' + ".path" * 900 + " = 1",
        'pools.web.strategy.name = "consistent-hash"\npools.web.strategy.key' + ".a" * 900 + " = 1",
    ],
    ids=["deep list", "long number", "deep table", "deep option", "deep option of a strategy"],
)
def test_hostile_files_are_config_errors(text: str) -> None:
    assert errors_of(text)


@pytest.mark.parametrize(
    "servers",
    [
        'servers = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]',
        'servers = [{ dns = "web.internal", port = 80 }]',
        'servers_file = "web.servers"',
    ],
)
def test_servers_are_compared_where_there_can_be_enough_of_them(servers: str) -> None:
    text = f'listeners.web = {{ bind = ":1", pool = "web" }}\n[pools.web]\noutlier = true\n{servers}'
    assert parse(text, "lb.toml").pools["web"].outlier == OutlierSpec()


@pytest.mark.parametrize(
    "text",
    [
        EVERYTHING.read_text(),
        '[listeners.web]\nbind = ":80"\nservers = [{ address = "a:1",\n  weight = 2, }]\n',  # TOML 1.1
        '[listeners.web]\nbind = ":80"\nservers = ["a:1"\n',
        "a = 1\na = 2\n",
        "x = " + "[" * 5000,
    ],
    ids=["everything", "toml 1.1", "unfinished", "twice", "deep"],
)
def test_a_load_beside_traffic_has_the_same_result(text):
    def result(beside_traffic):
        try:
            return config_of(TomlFile.of_bytes(text.encode(), str(EVERYTHING), beside_traffic=beside_traffic))
        except ConfigError as error:
            return error.errors

    assert result(beside_traffic=True) == result(beside_traffic=False)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("# a comment\nglobal\n    maxconn 100\ndefaults\n    mode tcp\n", "a configuration of HAProxy"),
        ("frontend web # the first\n    bind :80\n", "a configuration of HAProxy"),
        ("worker_processes auto;\nstream {\n}\n", "a configuration of nginx"),
        ("stream {\n    server { listen 80; }\n}\n", "a configuration of nginx"),
        ("acl localnet src 10.0.0.0/8\nhttp_port 3128\n", "a configuration of Squid"),
        ("---\nlisteners:\n", "YAML"),
        ("listeners:\n  web:\n    bind: ':80'\n", "YAML"),
        ('bind: "127.0.0.1:80"\n', "YAML"),
        ('{"listeners": {}}\n', "JSON"),
    ],
)
def test_a_configuration_of_another_program_gets_a_hint(text, name):
    (error,) = errors_of(text)
    assert error.startswith("lb.toml: TOML: ")
    hint = "lb migrate translates it" if " of " in name else "as in examples/"
    assert error.endswith(f"; this looks like {name}, but the configuration of lb is TOML: {hint}")


@pytest.mark.parametrize(
    "text", ["[listeners.web\n", "bind = :80\n", "a = 1\nglobal\n", "", "bind\n", "bind '127.0.0.1'\n"]
)
def test_a_mistake_in_toml_gets_no_such_hint(text):
    assert not any("looks like" in error for error in errors_of(text))


def test_a_range_of_ports_is_an_address_for_each() -> None:
    text = '[listeners.web]\nbind = "{}"\npool = "p"\n[pools.p]\nservers = ["10.0.0.1"]\nhealth = false'
    binds = parse(text.format("[::1]:5000-5002"), "lb.toml").listeners["web"].bind
    assert [bind.text for bind in binds] == ["[::1]:5000", "[::1]:5001", "[::1]:5002"]
    for bad, message in [
        (":5001-5000", "a range of ports goes from a port to a higher one, up to 65535, not ':5001-5000'"),
        (":0-5", "a range of ports goes from a port to a higher one, up to 65535, not ':0-5'"),
        (":1-65535", "a range has at most 10000 ports, not 65535"),
        ("a b:1-2", "'a b' is not a host name or an address"),
        ("unix:/run/lb", "a unix socket has no port for '10.0.0.1', which has none of its own"),
    ]:
        assert errors_of(text.format(bad)) == (f"lb.toml: listeners.web.bind: {message} (line 2)",)


def test_a_server_without_a_port_is_checked_at_the_lowest_port_of_its_listeners() -> None:
    text = '[listeners.web]\nbind = [":90", ":80-85"]\nservers = ["10.0.0.1"]'
    pool = parse(text, "lb.toml").pools["web"]
    assert pool.health is not None
    assert [check.port for check in pool.health.checks_of(pool.servers[0])] == [80]
    shared = '[listeners.a]\nbind = ":90"\npool = "p"\n[listeners.b]\nbind = ":70"\npool = "p"\n'
    shared += '[pools.p]\nservers = ["10.0.0.1"]'
    assert parse(shared, "lb.toml").pools["p"].servers[0].check_port == 70
    with_port = parse(shared + "\n[pools.p.health]\nport = 9", "lb.toml").pools["p"]
    assert with_port.health is not None
    assert [check.port for check in with_port.health.checks_of(with_port.servers[0])] == [9]


def test_a_server_without_a_port_needs_one_for_its_checks_where_no_listener_has_one() -> None:
    text = '[listeners.web]\nbind = ":0"\nservers = ["10.0.0.1"]'
    with_checks = '[listeners.web]\nbind = ":0"\npool = "p"\n[pools.p]\nservers = ["10.0.0.1"]'
    for each in (text, with_checks):
        (error,) = errors_of(each)
        assert "'10.0.0.1' has no port; its checks need health.port, or health = false" in error


def test_a_token_may_be_in_a_file(tmp_path: Path) -> None:
    def admin(lines: str) -> str:
        return f'[admin]\nbind = ":9900"\n{lines}\n[listeners.web]\nbind = ":80"\nservers = ["10.0.0.1:80"]'

    path = tmp_path / "lb.toml"
    (tmp_path / "token").write_text("a secret\n")
    path.write_text(admin('token_file = "token"'))
    spec = load(path).admin
    assert spec is not None
    assert spec.token == Secret("a secret")
    (tmp_path / "empty").touch()
    for lines, message in [
        ('token_file = "token"\ntoken = "x"', "admin.token_file: cannot be combined with 'token'"),
        ('token_file = "none"', "admin.token_file: 'none' cannot be read: no such file or directory"),
        ('token_file = "empty"', "admin.token_file: 'empty' is empty"),
        ('token = "${TOKEN}"', "admin.token: environment variables like ${NAME} are not replaced"),
    ]:
        path.write_text(admin(lines))
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert any(message in error for error in caught.value.errors), caught.value.errors


@pytest.mark.parametrize(
    ("given", "spec"),
    [
        ('"0"', BandwidthSpec()),
        ("0", BandwidthSpec()),
        ('"1MiB"', BandwidthSpec(connection=1 << 20)),
        ("2048", BandwidthSpec(connection=2048)),
        ("{}", BandwidthSpec()),
        ('{ source = "64KiB" }', BandwidthSpec(source=1 << 16)),
        ('{ connection = "1MiB", source = "0", listener = 1000000 }', BandwidthSpec(1 << 20, 0, 1_000_000)),
    ],
)
def test_bandwidth_is_that_of_a_connection_or_a_table(given, spec):
    text = f"[listeners.a]\nbind = ':1'\nservers = ['127.0.0.1:1']\nbandwidth = {given}\n"
    assert config_of(TomlFile.parse(text, "lb.toml")).listeners["a"].bandwidth == spec


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ('"1 mb"', "bandwidth: must be a number of bytes like '256KiB' or '1MiB', not '1 mb'"),
        ("true", "bandwidth: must be a number of bytes like '256KiB' or '1MiB', not true"),
        ("-1", "bandwidth: must be 1024 or more, not -1"),
        ('"5"', "bandwidth: must be 1024 or more, not 5"),
        ('{ source = "1x" }', "bandwidth.source: must be a number of bytes like '256KiB' or '1MiB', not '1x'"),
        ('{ conection = "1MiB" }', "bandwidth.conection: unknown key, did you mean 'connection'?"),
    ],
)
def test_a_wrong_bandwidth_is_told(given, message):
    text = f"[listeners.a]\nbind = ':1'\nservers = ['127.0.0.1:1']\nbandwidth = {given}\n"
    (error,) = errors_of(text)
    assert error == f"lb.toml: listeners.a.{message} (line 4)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ('{ others = "plain" }', "accept_proxy.from: must name at least one network"),
        ('{ from = [], others = "plain" }', "accept_proxy.from: must name at least one network"),
        ('{ from = ["10.0.0.0/8"], others = "all" }', "accept_proxy.others: must be 'deny' or 'plain', not 'all'"),
        ('{ from = ["10.0.0.0/8"], other = "deny" }', "accept_proxy.other: unknown key, did you mean 'others'?"),
    ],
)
def test_proxies_and_others_that_are_wrong_are_told(given, message):
    text = f"[listeners.a]\nbind = ':1'\nservers = ['127.0.0.1:1']\naccept_proxy = {given}\n"
    assert errors_of(text) == (f"lb.toml: listeners.a.{message} (line 4)",)


def test_a_listener_of_an_announced_address_binds_it_before_it_stands() -> None:
    text = """
        announce = { addresses = ["203.0.113.5", "2001:db8::/64"], interface = "lo" }
        pools.p.servers = ["10.0.0.1:80"]
        [listeners]
        announced = { bind = ["127.0.0.1:80", "203.0.113.5:80"], pool = "p" }
        network = { bind = "[2001:db8::7]:80", pool = "p" }
        refused = { bind = "203.0.113.5:81", freebind = false, pool = "p" }
        other = { bind = ["203.0.113.6:80", "www.example.com:80", ":82", "unix:/a"], pool = "p" }
    """
    listeners = parse(text, "lb.toml").listeners.values()
    assert {each.name for each in listeners if each.freebind} == {"announced", "network"}
