"""A plug-in strategy: all traffic to the first available server of the file, as in a hot standby.

The configuration names it as ``module:Name``; the module may be beside the configuration file.

    [pools.web]
    strategy = "strategies_first_up:FirstUp"
"""

from collections.abc import Collection

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy


class FirstUp(Strategy):
    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:  # noqa: ARG002 - all clients alike
        return next(self.candidates(tried), None)
