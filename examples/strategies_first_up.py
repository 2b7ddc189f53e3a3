"""A strategy of one's own: all traffic to the first server of the file that is available, as in a hot standby.

Name it in the configuration as ``module:Name``; the module may lie beside the configuration file.

    [pools.web]
    strategy = "strategies_first_up:FirstUp"
"""

from collections.abc import Collection

from lb.address import Client
from lb.model import Server
from strategies.base import Strategy


class FirstUp(Strategy):
    def pick(self, client: Client, tried: Collection[Server]) -> Server | None:  # noqa: ARG002 - all clients alike
        return next(self.candidates(tried), None)
