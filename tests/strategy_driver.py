"""What the tests of the strategies share: servers by weight, and the calls that a pool makes."""

from lb.address import Address, Client
from lb.model import Server, ServerSpec

CLIENT = Client("10.1.2.3", 5555)


def make_specs(*weights, first=1):
    numbers = range(first, first + len(weights))
    return [
        ServerSpec(name=f"s{number}", address=Address.parse(f"10.0.{number // 256}.{number % 256}:80"), weight=weight)
        for number, weight in zip(numbers, weights, strict=True)
    ]


def make_servers(*weights):
    return [Server(spec) for spec in make_specs(*weights)]


def finish(generator):
    """Run a build to its end and return the result."""
    while True:
        try:
            next(generator)
        except StopIteration as done:
            return done.value


def use(strategy, servers):
    strategy.use(servers, finish(strategy.build([server.spec for server in servers])))


def start(strategy, servers):
    """Use these servers, all of them available."""
    use(strategy, servers)
    for server in servers:
        strategy.enable(server)
    return strategy


def lease(strategy, tried=(), client=CLIENT):
    """Pick as the pool does: the connection counts from the pick."""
    server = strategy.pick(client, tried)
    if server is not None:
        server.leases.add(1)
        strategy.load_changed(server)
    return server


def release(strategy, server):
    server.leases.add(-1)
    strategy.load_changed(server)


def picked_names(strategy, count):
    return [strategy.pick(CLIENT, ()).name for _ in range(count)]
