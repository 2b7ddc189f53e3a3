from strategies.round_robin import RoundRobin
from tests.support.strategy_driver import CLIENT, make_servers, picked_names, start, use


def test_the_fifth_of_five_clients_gets_the_first_of_four_servers():
    assert picked_names(start(RoundRobin(), make_servers(1, 1, 1, 1)), 5) == ["s1", "s2", "s3", "s4", "s1"]


def test_weights_play_no_part():
    assert picked_names(start(RoundRobin(), make_servers(9, 1)), 4) == ["s1", "s2", "s1", "s2"]


def test_a_server_that_is_out_is_skipped_and_comes_back_in_its_place():
    strategy = start(RoundRobin(), servers := make_servers(1, 1, 1))
    strategy.disable(servers[1])
    assert picked_names(strategy, 3) == ["s1", "s3", "s1"]
    strategy.enable(servers[1])
    assert picked_names(strategy, 3) == ["s2", "s3", "s1"]


def test_a_retry_takes_the_next_and_the_next_client_goes_on_after_it():
    strategy = start(RoundRobin(), servers := make_servers(1, 1, 1))
    assert strategy.pick(CLIENT, ()) is servers[0]
    assert strategy.pick(CLIENT, [servers[0], servers[1]]) is servers[2]
    assert strategy.pick(CLIENT, ()) is servers[0]


def test_a_reload_goes_on_after_the_server_picked_last():
    strategy = start(RoundRobin(), servers := make_servers(1, 1, 1, 1))
    assert picked_names(strategy, 2) == ["s1", "s2"]
    use(strategy, [servers[3], servers[1], servers[2], servers[0]])
    assert picked_names(strategy, 4) == ["s3", "s1", "s4", "s2"]


def test_a_reload_without_the_server_picked_last_skips_and_repeats_nobody():
    strategy = start(RoundRobin(), servers := make_servers(1, 1, 1, 1))
    assert picked_names(strategy, 3) == ["s1", "s2", "s3"]
    use(strategy, [servers[0], servers[1], servers[3]])
    assert picked_names(strategy, 3) == ["s4", "s1", "s2"]


def test_a_reload_that_replaces_everything_starts_anew():
    strategy = start(RoundRobin(), make_servers(1, 1))
    assert picked_names(strategy, 1) == ["s1"]
    assert picked_names(start(strategy, make_servers(1, 1)), 2) == ["s1", "s2"]
