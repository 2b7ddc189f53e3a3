"""A plug-in probe: the server passes if its greeting begins with a given text.

The configuration names it as ``module:Name``; the module may be beside the configuration file.

    [pools.mail.health]
    probe = "probe_banner:Banner"
    text = "220 "
"""

from healthcheck.probe import Probe, ProbeFailed, Target, hang_up


class Banner(Probe):
    def __init__(self, text: str) -> None:
        self.text = text.encode()

    async def check(self, target: Target) -> str:
        async with await target.connect() as stream:
            greeting = await stream.receive_some(1024)
            if not greeting.startswith(self.text):
                raise ProbeFailed(f"greeting {greeting!r}")
            await hang_up(stream)
        return greeting.decode()
