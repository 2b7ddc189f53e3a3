"""Servers of a service of Kubernetes, against a stand-in for its API server that keeps to the documented protocol."""

from __future__ import annotations

import pytest
import trio
import trustme

from lb.discovery import kubernetes
from lb.discovery.kubernetes import NEAR_WEIGHT, KubernetesServers
from lb.kubernetes import api_server, follower
from lb.model import KubernetesSource
from lb.model.tls import PemSpec
from tests.support.balancer import PATIENCE
from tests.support.kubernetes import endpoint, slice_of, stand_in_api, status, terminating
from tests.support.tls_peers import server_context

A, B, C = endpoint("web-1", "10.0.0.1"), endpoint("web-2", "10.0.0.2"), endpoint("web-3", "10.0.0.3")


class Followed:
    """What a source finds. Implements :class:`lb.discovery.source.Findings`."""

    def __init__(self):
        self.results = []
        """Servers, as address by name, and errors."""
        self.last = ()
        self.holds = set()
        self.faults = []
        self._news = trio.Event()

    def found(self, servers, errors, *, hold=0.0, hold_all=0.0, more=False):
        assert (hold, more) == (0.0, False)
        self.last = servers
        self.holds.add(hold_all)
        addresses = None if servers is None else {each.name: each.address.text for each in servers}
        self.results.append((addresses, errors))
        self._news.set()
        self._news = trio.Event()

    def fault(self, exception):
        self.faults.append(exception)

    async def until(self, condition):
        """Wait until a result meets a condition, and return it."""
        with trio.move_on_after(PATIENCE):
            while not any(map(condition, self.results)):
                await self._news.wait()
        return next(filter(condition, self.results), f"none of {self.results} {self.faults}")

    async def names(self, *names):
        """Wait until these are the servers."""
        found = await self.until(lambda result: result[0] is not None and {*result[0]} == {*names})
        assert isinstance(found, tuple), found
        self.results.clear()

    async def error(self, text):
        """Wait for an error that holds this text."""
        found = await self.until(lambda result: any(text in error for error in result[1]))
        assert isinstance(found, tuple), found
        return found


@pytest.fixture
async def api():
    async with stand_in_api() as api:
        yield api


def follow(nursery, server, **more):
    """Follow the service ``web``; return what is found."""
    findings = Followed()
    source = KubernetesSource(**{"service": "web", "namespace": "default", "port": "http", "api": server.url, **more})
    nursery.start_soon(KubernetesServers(source).watch, findings)
    return findings


async def test_endpoints_are_servers_and_changes_come_by_themselves(api, nursery):
    api.put(slice_of("web-a", A), slice_of("web-b", B), slice_of("other-a", C, service="other"))
    found = follow(nursery, api)
    await found.names("web-1", "web-2")
    assert [(each.name, each.address.text, each.weight, each.drained) for each in found.last] == [
        ("web-1", "10.0.0.1:80", 1, False),
        ("web-2", "10.0.0.2:80", 1, False),
    ]
    api.put(slice_of("web-a", A, C))
    await found.names("web-1", "web-2", "web-3")
    api.delete("web-b")
    await found.names("web-1", "web-3")
    api.put(slice_of("web-c", B))
    await found.names("web-1", "web-2", "web-3")
    assert found.holds == {60.0}
    assert not found.faults
    assert len([query for query in api.requests if "watch" not in query]) == 1, "one list is enough"


async def test_a_long_list_comes_in_pages(api, nursery, monkeypatch):
    monkeypatch.setattr(api_server, "PAGE_SLICES", 2)
    monkeypatch.setattr(api_server, "LARGE_PAGE", 10)
    api.put(*(slice_of(f"web-{number}", endpoint(f"web-{number}", f"10.0.0.{number}")) for number in range(1, 6)))
    await follow(nursery, api).names(*(f"web-{number}" for number in range(1, 6)))
    assert [query.get("limit") for query in api.requests][:3] == ["2", "2", "2"]


async def test_an_endpoint_that_ends_drains_while_it_serves(api, nursery):
    api.put(slice_of("web-a", A, B))
    found = follow(nursery, api)
    await found.names("web-1", "web-2")
    api.put(slice_of("web-a", terminating("web-1", "10.0.0.1"), B, C))
    await found.names("web-1", "web-2", "web-3")
    assert [each.drained for each in found.last] == [True, False, False]
    api.put(slice_of("web-a", terminating("web-1", "10.0.0.1", serving=False), B, C))
    await found.names("web-2", "web-3")


async def test_a_watch_that_ends_goes_on_where_it_was(api, nursery, monkeypatch):
    """Bookmarks move the version on, so that nothing is listed again though the history is forgotten."""
    monkeypatch.setattr(api_server, "WATCH_SECONDS", 0)
    monkeypatch.setattr(follower, "SHORTEST_PAUSE", 0.01)
    api.put(slice_of("web-a", A))
    found = follow(nursery, api)
    await found.names("web-1")
    with trio.fail_after(PATIENCE):
        await api.until(lambda api: len(api.requests) > 5)
    monkeypatch.setattr(api_server, "WATCH_SECONDS", 100)
    api.put(slice_of("web-a", A, B))
    await found.names("web-1", "web-2")
    assert len([query for query in api.requests if "watch" not in query]) == 1
    assert all(query["allowWatchBookmarks"] == "true" for query in api.requests if "watch" in query)


@pytest.mark.parametrize("open_watch", [True, False])
async def test_a_version_that_is_too_old_is_listed_anew(api, nursery, monkeypatch, open_watch):
    monkeypatch.setattr(follower, "SHORTEST_PAUSE", 0.01)
    api.put(slice_of("web-a", A), slice_of("web-b", B))
    found = follow(nursery, api)
    await found.names("web-1", "web-2")
    with trio.fail_after(PATIENCE):
        await api.until(lambda api: api.watches)
    api.slices.pop("web-b")
    api.slices["web-c"] = slice_of("web-c", C)
    api.compact()
    if not open_watch:
        api.cut()
    await found.names("web-1", "web-3")
    assert not found.faults


async def test_connections_that_break_are_no_failure(api, nursery, monkeypatch):
    monkeypatch.setattr(follower, "SHORTEST_PAUSE", 0.01)
    api.put(slice_of("web-a", A))
    found = follow(nursery, api)
    await found.names("web-1")
    for number, more in enumerate(([B], [B, C])):
        with trio.fail_after(PATIENCE):
            await api.until(lambda api: api.watches)
        api.cut()
        api.put(slice_of("web-a", A, *more))
        await found.names("web-1", *(f"web-{n + 2}" for n in range(number + 1)))
    assert not any(errors for _, errors in found.results)


async def test_a_server_that_is_away_is_an_error_and_what_it_said_stays(nursery):
    async with stand_in_api() as api:
        port = int(api.url.rpartition(":")[2])
        api.put(slice_of("web-a", A))
        found = follow(nursery, api)
        await found.names("web-1")
    servers, (error,) = await found.error("connection refused")
    assert (servers, error) == (None, f"http://localhost:{port}: connection refused")
    async with stand_in_api(port=port) as api:
        api.put(slice_of("web-a", B))
        await found.names("web-2")


async def test_a_refusal_says_why(api, nursery):
    message = (
        'endpointslices.discovery.k8s.io is forbidden: User "system:serviceaccount:default:lb" cannot list resource'
    )
    api.refused["list"] = status(403, "Forbidden", message)
    found = follow(nursery, api)
    assert await found.error(message) == (None, (f"{api.url}: status 403: {message}",))
    api.refused.clear()
    api.put(slice_of("web-a", A))
    await found.names("web-1")


async def test_without_the_right_to_watch_the_list_is_asked_for_again_and_again(api, nursery):
    api.refused["watch"] = status(403, "Forbidden", "cannot watch resource")
    api.put(slice_of("web-a", A))
    found = follow(nursery, api)
    servers, errors = await found.error("cannot watch resource")
    assert (servers, errors) == ({"web-1": "10.0.0.1:80"}, (f"{api.url}: status 403: cannot watch resource",))
    api.put(slice_of("web-a", B))
    await found.names("web-2")
    api.refused.clear()
    found.results.clear()
    assert await found.until(lambda result: result == ({"web-2": "10.0.0.2:80"}, ())) == ({"web-2": "10.0.0.2:80"}, ())


async def test_a_token_is_read_again_for_each_request(api, nursery, tmp_path, monkeypatch):
    monkeypatch.setattr(follower, "SHORTEST_PAUSE", 0.01)
    token = tmp_path / "token"
    token.write_text("first\n")
    api.token = "first"
    api.put(slice_of("web-a", A))
    found = follow(nursery, api, token_file=str(token))
    await found.names("web-1")
    with trio.fail_after(PATIENCE):
        await api.until(lambda api: api.watches)
    api.token = "second"
    api.cut()
    await found.error(f"status 401: Unauthorized; it does not know the token in {token}")
    token.write_text("second")
    await found.names("web-1")
    with trio.fail_after(PATIENCE):
        await api.until(lambda api: api.watches)
    token.unlink()
    api.cut()
    await found.error(f"{token}: cannot be read: no such file or directory")


async def test_in_a_pod_everything_is_found_in_the_usual_places(nursery, tmp_path, monkeypatch):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "token").write_text("of the pod")
    (tmp_path / "namespace").write_text("default")
    monkeypatch.setattr(api_server, "SERVICE_ACCOUNT", tmp_path)
    context = server_context("unused")
    authority.issue_cert("localhost").configure_cert(context)
    async with stand_in_api(context=context) as api:
        api.token = "of the pod"
        api.put(slice_of("web-a", A))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        found = follow(nursery, api, api="", namespace="")
        await found.error("KUBERNETES_SERVICE_HOST is not set: this is no pod")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "localhost")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", api.url.rpartition(":")[2])
        await found.names("web-1")


async def test_a_pod_follows_the_server_to_another_authority(nursery, tmp_path, monkeypatch):
    """Kubelet renews the file, and the server has a certificate that the authority of before has not signed."""
    monkeypatch.setattr(follower, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(api_server, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "localhost")
    (tmp_path / "token").write_text("of the pod")
    old, new = trustme.CA(), trustme.CA()
    old.cert_pem.write_to_path(tmp_path / "ca.crt")
    contexts = [server_context("unused"), server_context("unused")]
    for authority, context in zip((old, new), contexts, strict=True):
        authority.issue_cert("localhost").configure_cert(context)
    async with stand_in_api(context=contexts[0]) as api:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", api.url.rpartition(":")[2])
        api.put(slice_of("web-a", A))
        found = follow(nursery, api, api="")
        await found.names("web-1")
    async with stand_in_api(context=contexts[1], port=int(api.url.rpartition(":")[2])) as api:
        api.put(slice_of("web-a", B))
        await found.error("certificate verify failed")
        new.cert_pem.write_to_path(tmp_path / "ca.crt")
        await found.names("web-2")


async def test_a_service_that_is_not_there_is_told_apart_from_one_without_pods(api, nursery):
    found = follow(nursery, api)
    assert (await found.error("there is no EndpointSlice of it"))[0] == {}
    api.put(slice_of("web-a"))
    assert await found.until(lambda result: result == ({}, ())) == ({}, ())


async def test_who_sends_no_token_is_told_how(api, nursery):
    api.token = "needed"
    await follow(nursery, api).error("status 401: Unauthorized; no token was sent, 'token_file' names one")


async def test_a_server_whose_certificate_is_of_another_authority_gets_no_token(nursery, tmp_path):
    (tmp_path / "token").write_text("secret")
    pem = PemSpec("ca.crt", trustme.CA().cert_pem.bytes())
    async with stand_in_api(context=server_context("localhost")) as api:
        found = follow(nursery, api, ca=pem, token_file=str(tmp_path / "token"))
        await found.error("certificate verify failed")
        assert not api.requests


async def test_a_server_that_does_not_answer_is_told_apart(nursery, monkeypatch):
    monkeypatch.setattr(api_server, "LIST_TIMEOUT", 0.2)
    async with stand_in_api() as api:

        async def silent(reply, request):
            await trio.sleep_forever()

        monkeypatch.setattr(api, "_answer", silent)
        await follow(nursery, api).error(f"{api.url}: no answer in 0.2 s")


@pytest.mark.parametrize("items", [3, [3], [{}], [{"metadata": {}}], [{"metadata": {"name": []}}]])
async def test_a_server_that_sends_something_else_is_an_error(api, nursery, monkeypatch, items):
    monkeypatch.setattr(api, "_list", lambda query: {"kind": "Hello", "items": items})
    await follow(nursery, api).error("sends what is no list of EndpointSlices")


async def test_a_zone_that_is_preferred_gets_more(api, nursery, monkeypatch):
    near, far = endpoint("web-1", "10.0.0.1", zone="a"), endpoint("web-2", "10.0.0.2", zone="b")
    api.put(slice_of("web-a", near, far))
    monkeypatch.setenv("LB_ZONE", "b")
    for zone, weights in (("a", [NEAR_WEIGHT, 1]), (True, [1, NEAR_WEIGHT]), ("c", [1, 1]), ("", [1, 1])):
        found = follow(nursery, api, prefer_zone=zone)
        await found.names("web-1", "web-2")
        assert [each.weight for each in found.last] == weights


async def test_a_bug_is_told_and_ends_nothing(api, nursery, monkeypatch):
    monkeypatch.setattr(kubernetes, "AFTER_BUG", 0.01)
    monkeypatch.setattr(api_server, "status_text", lambda status, content: 1 / 0)
    api.refused["list"] = status(403, "Forbidden", "no")
    found = follow(nursery, api)
    await found.error("ZeroDivisionError")
    assert isinstance(found.faults[0], ZeroDivisionError)
    api.refused.clear()
    api.put(slice_of("web-a", A))
    await found.names("web-1")
