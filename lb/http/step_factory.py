"""The steps of a route, in the order in which requests take them: the cheap ones first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lb.http.steps import Step
from lb.model import RouteSpec
from lb.proxy.context import ConnectionContext

if TYPE_CHECKING:
    from lb.http.viewer_access import ViewerAccess

__all__ = ["make_steps"]


def make_steps(
    listener: str, spec: RouteSpec, context: ConnectionContext
) -> tuple[ViewerAccess | None, tuple[Step, ...]]:
    """Make the steps of a route of a listener. What a step needs is imported only if the route has it.

    Return the links that requests need, and all steps: the links are the first.

    Raises ValueError if this system cannot check a password hash.
    """
    links: ViewerAccess | None = None
    steps: list[Step] = []
    if spec.viewer_secret is not None:
        from lb.http.viewer_access import ViewerAccess  # noqa: PLC0415 - as the docstring says

        links = ViewerAccess(spec.viewer_secret, spec.path)
        steps.append(links)
    if spec.rate:
        from lb.http.request_rate import RequestRate  # noqa: PLC0415 - the same

        steps.append(RequestRate(f"{listener}\0{spec.name}", spec.rate, spec.burst, context.source_limits))
    if spec.auth is not None:
        from lb.http.basic_auth import BasicAuth  # noqa: PLC0415 - the same
        from lb.http.password_checks import PasswordChecks  # noqa: PLC0415 - the same
        from lb.http.user_list import UserList  # noqa: PLC0415 - the same

        users = UserList(spec.auth, context.of_mode(PasswordChecks))
        steps.append(BasicAuth(users, spec.auth.realm))
    if spec.forward_auth:
        from lb.http.forward_auth import ForwardAuth  # noqa: PLC0415 - the same
        from lb.http.subrequests import SubrequestsByUrl  # noqa: PLC0415 - the same

        steps.append(ForwardAuth(context.of_mode(SubrequestsByUrl).of(spec.forward_auth), spec.auth_headers))
    return links, tuple(steps)
