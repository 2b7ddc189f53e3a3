"""The steps of a route: their order, and that a route without them loads nothing of them."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import trio

from lb.http.basic_auth import BasicAuth
from lb.http.forward_auth import ForwardAuth
from lb.http.request_rate import RequestRate
from lb.http.step_factory import make_steps
from lb.http.viewer_access import ViewerAccess
from lb.model import RouteSpec, Secret, ToPool, UsersSpec
from lb.net.deadlines import Deadlines
from lb.proxy.source_limits import SourceLimits


class Context(SimpleNamespace):
    """What steps need of a ConnectionContext."""

    def of_mode(self, kind):
        return self.shared.setdefault(kind, kind(self))


async def test_the_cheap_ones_come_first():
    context = Context(
        shared={},
        source_limits=SourceLimits.of_process(),
        clock=trio.current_time,
        deadlines=Deadlines(fault=print),
        sink=print,
    )
    users = UsersSpec("staff", "staff", "staff.htpasswd")
    route = RouteSpec(
        "all", ToPool("app"), auth=users, forward_auth="http://127.0.0.1:1/", rate=1.0, viewer_secret=Secret(b"key")
    )
    links, steps = make_steps("www", route, context)
    assert [type(step) for step in steps] == [ViewerAccess, RequestRate, BasicAuth, ForwardAuth]
    assert links is steps[0]
    assert make_steps("www", RouteSpec("all", ToPool("app")), context) == (None, ())


def test_a_route_without_steps_loads_nothing_for_them():
    names = "import json, sys, lb.http.mode; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", names], check=True, capture_output=True).stdout)
    assert "lb.http.step_factory" in loaded
    steps = {"basic_auth", "forward_auth", "password_checks", "request_rate", "subrequests", "viewer_access"}
    assert sorted({*loaded} & {"argon2", "bcrypt", "h11", "passlib", *(f"lb.http.{name}" for name in steps)}) == []
