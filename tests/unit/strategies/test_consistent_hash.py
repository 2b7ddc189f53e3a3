import pytest

from lb.model.address import Client
from strategies.consistent_hash import ConsistentHash
from tests.support.strategy_driver import make_servers, start

CLIENTS = [Client(f"10.7.{number // 256}.{number % 256}", 1000 + number) for number in range(2000)]
both_tables = pytest.mark.parametrize("options", [{"size": 1009}, {"table": "ketama"}], ids=["maglev", "ketama"])


def homes(strategy):
    return [strategy.pick(client, ()) for client in CLIENTS]


@both_tables
def test_an_outage_moves_only_the_keys_of_the_server_that_is_out_and_they_come_home(options):
    servers = make_servers(1, 2, 3, 1, 1)
    strategy = start(ConsistentHash(**options), servers)
    before = homes(strategy)
    assert set(before) == set(servers)
    strategy.disable(servers[2])
    during = homes(strategy)
    assert all(new is old for old, new in zip(before, during, strict=True) if old is not servers[2])
    assert len({new for old, new in zip(before, during, strict=True) if old is servers[2]}) > 1  # spread, not heaped
    strategy.enable(servers[2])
    assert homes(strategy) == before


@both_tables
def test_a_retry_goes_where_the_key_would_go_were_the_tried_server_out(options):
    servers = make_servers(1, 1, 1, 1)
    strategy = start(ConsistentHash(**options), servers)
    for client in CLIENTS[:200]:
        home = strategy.pick(client, ())
        retried = strategy.pick(client, [home])
        strategy.disable(home)
        assert strategy.pick(client, ()) is retried
        strategy.enable(home)


@both_tables
def test_weights_are_respected(options):
    servers = make_servers(1, 3)
    strategy = start(ConsistentHash(**options), servers)
    share = homes(strategy).count(servers[1]) / len(CLIENTS)
    assert 0.65 < share < 0.85


def test_the_client_address_is_the_key():
    strategy = start(ConsistentHash(), make_servers(*[1] * 50))
    assert strategy.key(Client("10.1.2.3", 5555)) == b"10.1.2.3"
    assert len({strategy.pick(Client("10.1.2.3", port), ()) for port in range(1, 100)}) == 1


def test_the_port_is_in_the_key_if_wanted():
    strategy = start(ConsistentHash(key="source-ip-port"), make_servers(*[1] * 50))
    assert strategy.key(Client("10.1.2.3", 5555)) == b"10.1.2.3:5555"
    assert strategy.key(Client("::1", 5555)) == b"[::1]:5555"
    assert len({strategy.pick(Client("10.1.2.3", port), ()) for port in range(1, 100)}) > 20


@pytest.mark.parametrize("key", ["source-ip", "source-ip-port"])
def test_clients_of_a_unix_listener_share_one_key(key):
    assert ConsistentHash(key=key).key(Client("", 0)) == b"unix:"


@both_tables
@pytest.mark.parametrize("survivor", range(4))
def test_the_last_server_standing_gets_every_key(options, survivor):
    servers = make_servers(50, 1, 50, 50)
    strategy = start(ConsistentHash(**options), servers)
    for server in servers:
        if server is not servers[survivor]:
            strategy.disable(server)
    assert set(homes(strategy)) == {servers[survivor]}


@both_tables
@pytest.mark.parametrize("up", [40, 3, 2])
def test_a_key_goes_to_the_next_available_position_however_far_it_is(options, up):
    servers = make_servers(*[1] * 150)
    strategy = start(ConsistentHash(**options), servers)
    for server in servers[up:]:
        strategy.disable(server)
    table = strategy._table
    for client in CLIENTS[:300]:
        home = table.position(strategy.key(client))
        expected = next(owner for owner in [*table.owners[home:], *table.owners[:home]] if owner < up)
        assert strategy.pick(client, ()) is servers[expected]


def test_a_server_without_an_entry_is_used_when_no_other_is_left():
    servers = make_servers(1, 1, 1, 1)
    strategy = start(ConsistentHash(size=2), servers)
    with_entries = set(homes(strategy))
    assert len(with_entries) == 2
    out, last = with_entries
    strategy.disable(out)
    assert set(homes(strategy)) == {last}
    assert strategy.pick(CLIENTS[0], [last]) in set(servers) - with_entries


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "cookie"}, "or 'query:NAME', not 'cookie'"),
        ({"table": ["maglev"]}, "table must be 'maglev' or 'ketama', not ['maglev']"),
        ({"size": 65536}, "size must be a prime, not 65536; the next one is 65537"),
        ({"size": 1}, "size must be a prime from 2 to 5000011, not 1"),
        ({"size": 5000077}, "size must be a prime from 2 to 5000011, not 5000077"),
        ({"size": True}, "size must be a prime from 2 to 5000011, not True"),
        ({"size": "65537"}, "size must be a prime from 2 to 5000011, not '65537'"),
        ({"table": "ketama", "size": 65537}, "size is for the maglev table only"),
    ],
)
def test_a_bad_option_is_refused_with_the_reason(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below, brackets and all
        ConsistentHash(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize("size", [2, 3, 65537, 5000011])
def test_a_prime_size_is_taken(size):
    assert ConsistentHash(size=size)._size == size
