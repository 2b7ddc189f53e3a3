"""What happens to a target that a client names, for ``lb explain``. It is judged by the code that serves clients."""

from __future__ import annotations

import trio

from lb.forward.both_families import FoundAddresses
from lb.forward.names import name_source
from lb.forward.rules import Rules
from lb.forward.system_names import SystemNames
from lb.forward.target import ForwardTarget, parse_authority
from lb.model import ListenerSpec
from lb.model.address import IPAddress
from lb.model.explained_target import AskedTarget, JudgedAddress, JudgedTarget
from lb.model.forward import ForwardSettings
from lb.model.values import shown
from lb.net.errors import describe_error
from lb.net.resolver import LOOK_UP_TIMEOUT

__all__ = ["explain_target"]


async def explain_target(listener: ListenerSpec, asked: AskedTarget) -> JudgedTarget:
    """Return whether a tunnel to a target may be opened. Raises ValueError if it is no target."""
    settings = listener.settings
    assert isinstance(settings, ForwardSettings)  # noqa: S101 - read_settings returns this type
    target = parse_authority(asked.text.encode())
    stranger = _stranger(settings, asked.user)
    if stranger:
        return JudgedTarget(target.text, stranger, allowed=False)
    rules = Rules(settings)
    refusal = rules.judge_target(target.address or target.host, target.port, tunnel=True)
    if refusal is not None:
        judged = (JudgedAddress(target.host, refusal.text),) if target.address is not None else ()
        return JudgedTarget(target.text, refusal.text, allowed=False, addresses=judged)
    if settings.parents:
        return JudgedTarget(target.text, "a parent reaches it, and looks it up", allowed=True, pool=settings.parents)
    if target.address is not None:
        return JudgedTarget(
            target.text, _allowing(rules, target), allowed=True, addresses=(JudgedAddress(target.host),)
        )
    return await _of_name(rules, target)


def _stranger(settings: ForwardSettings, user: str | None) -> str:
    """Return why a user may not use the proxy; empty if it may."""
    auth = settings.auth
    if auth is None:
        return ""
    if user is None:
        return f'auth = "{auth.name}": the client must log in; name a user'
    return "" if user in dict(auth.hashes) else f'auth = "{auth.name}": it has no user {shown(user)}'


def _allowing(rules: Rules, target: ForwardTarget) -> str:
    """Return what lets a target through."""
    rule = rules.allowing(target.host, target.address, target.port) if target.address is not None else None
    return f'allow_to "{rule.text}"' if rule is not None else "no rule refuses it"


async def _of_name(rules: Rules, target: ForwardTarget) -> JudgedTarget:
    try:
        addresses = await _look_up(target.host)
    except OSError as error:
        return JudgedTarget(target.text, f"cannot look up {target.host}: {describe_error(error)}", allowed=False)
    judged = []
    for address in addresses:
        refusal = rules.judge_address(target.host, address, target.port)
        judged.append(JudgedAddress(str(address), "" if refusal is None else refusal.text))
    left = [each for each in judged if not each.refused]
    why = "its addresses that no rule refuses" if left else judged[0].refused
    return JudgedTarget(target.text, why, allowed=bool(left), addresses=tuple(judged))


async def _look_up(host: str) -> tuple[IPAddress, ...]:
    """Look a name up as the proxy does. Raises OSError."""
    found: list[FoundAddresses] = []
    source = name_source.get() or SystemNames()
    with trio.move_on_after(LOOK_UP_TIMEOUT):
        await source.look_up(host, found.append)
    if not found or not found[-1].addresses:
        raise OSError("no answer in time")
    return found[-1].addresses
