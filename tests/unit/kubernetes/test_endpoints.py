"""Which endpoints a service has, by its slices: ports, conditions, families, pods in several slices."""

from __future__ import annotations

import pytest

from lb.kubernetes.endpoints import MOST_SLICE_ERRORS, ServiceEndpoints
from tests.support.kubernetes import endpoint, slice_of, terminating


def of(*slices, port="http", family="any"):
    service = ServiceEndpoints(port, family)
    for each in slices:
        service.put(each)
    return service


def hosts(service):
    return {each.name: each.host for each in service.endpoints}


def states(service):
    """Each endpoint, by name: ready or draining."""
    return {each.name: "draining" if each.draining else "ready" for each in service.endpoints}


def test_all_slices_of_a_service_together_have_its_endpoints():
    service = of(
        slice_of("web-b", endpoint("web-2", "10.0.0.2")), slice_of("web-a", endpoint("web-1", "10.0.0.1", zone="a"))
    )
    first, second = service.endpoints
    assert (first.name, first.host, first.port, first.zone) == ("web-1", "10.0.0.1", 80, "a")
    assert second.name == "web-2"
    service.remove("web-b")
    assert hosts(service) == {"web-1": "10.0.0.1"}
    service.put(slice_of("web-c", endpoint("web-3", "10.0.0.3")))
    service.keep(["web-c"])
    assert hosts(service) == {"web-3": "10.0.0.3"}


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({}, "ready"),
        ({"ready": None, "serving": None, "terminating": None}, "ready"),
        ({"ready": True, "serving": True, "terminating": False}, "ready"),
        ({"ready": True, "serving": True, "terminating": True}, "ready"),  # publishNotReadyAddresses
        ({"ready": False}, None),
        ({"ready": False, "serving": False, "terminating": False}, None),
        ({"ready": False, "serving": False, "terminating": True}, None),
        ({"ready": False, "serving": True, "terminating": True}, "draining"),
        ({"ready": False, "terminating": True}, None),  # serving is then what ready is
        ({"ready": False, "serving": True, "terminating": False}, None),
    ],
)
def test_conditions(conditions, state):
    found = {**endpoint("web-1", "10.0.0.1"), "conditions": conditions}
    service = of(slice_of("a", found, endpoint("web-2", "10.0.0.2")))
    expected = {"web-1": state} if state else {}
    assert states(service) == {**expected, "web-2": "ready"}


def test_endpoints_that_end_are_used_as_long_as_there_is_no_other():
    """As kube-proxy does: a node that goes down takes all pods of a service along."""
    ending = terminating("web-1", "10.0.0.1"), terminating("web-2", "10.0.0.2", serving=False)
    assert states(of(slice_of("a", *ending))) == {"web-1": "ready"}
    service = of(slice_of("a", *ending), slice_of("b", endpoint("web-3", "10.0.0.3")))
    assert states(service) == {"web-1": "draining", "web-3": "ready"}


PORTS = (("http", 8080), ("metrics", 9090))


@pytest.mark.parametrize(("port", "number"), [("http", 8080), ("metrics", 9090), (9090, 9090)])
def test_a_port_has_a_name_or_is_a_number_at_the_pods(port, number):
    service = of(slice_of("a", endpoint("web-1", "10.0.0.1"), ports=PORTS), port=port)
    assert [each.port for each in service.endpoints] == [number]
    assert service.errors == ()


@pytest.mark.parametrize(
    ("port", "ports", "error"),
    [
        ("https", PORTS, "it has no port 'https' of TCP; there are: http (8080), metrics (9090)"),
        (80, PORTS, "it has no port 80 of TCP; there are: http (8080), metrics (9090)"),
        ("", PORTS, "'port' is needed; there are: http (8080), metrics (9090)"),
        ("", (), "'port' is needed; there is none"),
    ],
)
def test_a_port_that_is_not_there_is_an_error_that_says_which_are(port, ports, error):
    service = of(slice_of("a", endpoint("web-1", "10.0.0.1"), ports=ports), port=port)
    assert (service.endpoints, service.errors) == ((), (error,))


def test_the_only_port_needs_no_name():
    assert hosts(of(slice_of("a", endpoint("web-1", "10.0.0.1"), ports=[(None, 80)]), port=""))


def test_ports_of_udp_are_others():
    document = slice_of("a", endpoint("web-1", "10.0.0.1"))
    document["ports"] = [{"name": "http", "port": 53, "protocol": "UDP"}, {"name": "http", "port": 80}]
    assert [each.port for each in of(document).endpoints] == [80]


def test_pods_may_have_the_port_at_other_numbers_and_some_none_at_all():
    """A named target port: the control plane makes a slice for each set of numbers."""
    service = of(
        slice_of("a", endpoint("web-1", "10.0.0.1"), ports=[("http", 8080)]),
        slice_of("b", endpoint("web-2", "10.0.0.2"), ports=[("http", 8081)]),
        slice_of("c", endpoint("web-3", "10.0.0.3"), ports=[("metrics", 9090)]),
    )
    assert [(each.name, each.port) for each in service.endpoints] == [("web-1", 8080), ("web-2", 8081)]
    assert service.errors == ()


@pytest.mark.parametrize(
    ("family", "found"),
    [
        ("any", {"web-1": "10.0.0.1", "web-2": "fd00::2"}),
        ("ipv4", {"web-1": "10.0.0.1"}),
        ("ipv6", {"web-1": "fd00::1", "web-2": "fd00::2"}),
    ],
)
def test_a_pod_with_addresses_of_both_families_is_one(family, found):
    four = slice_of("four", endpoint("web-1", "10.0.0.1"))
    six = slice_of("six", endpoint("web-1", "fd00:0::1"), endpoint("web-2", "fd00::2"), family="IPv6")
    for slices in ((four, six), (six, four)):
        assert hosts(of(*slices, family=family)) == found


def test_a_pod_in_two_slices_is_one_and_ready_if_one_says_so():
    """The control plane moves endpoints between slices, and both may be seen for a moment."""
    old = slice_of("z", terminating("db-0", "10.0.0.1"), endpoint("db-1", "10.0.0.3"))
    new = slice_of("a", endpoint("db-0", "10.0.0.2"), endpoint("db-1", "10.0.0.3"))
    for slices in ((old, new), (new, old)):
        assert hosts(of(*slices)) == {"db-0": "10.0.0.2", "db-1": "10.0.0.3"}
        assert states(of(*slices)) == {"db-0": "ready", "db-1": "ready"}


def test_endpoints_without_a_pod_have_their_address_as_name():
    documents = [endpoint("", host) for host in ("10.0.0.1", "fd00::1")]
    for document in documents:
        del document["targetRef"]
    service = of(slice_of("a", documents[0]), slice_of("b", documents[1], family="IPv6"))
    assert hosts(service) == {"10.0.0.1:80": "10.0.0.1", "[fd00::1]:80": "fd00::1"}


def test_what_may_be_null_is_none_at_all():
    document = {**slice_of("a"), "endpoints": None, "ports": None}
    assert (of(document).endpoints, of(document).errors) == ((), ())


@pytest.mark.parametrize("addresses", [[], ["10.0.0.1.5"], None, [None]])
def test_a_slice_that_cannot_be_read_is_an_error_and_leaves_what_it_was(addresses):
    service = of(slice_of("a", endpoint("web-1", "10.0.0.1")))
    service.put(slice_of("a", {**endpoint("web-2", "10.0.0.2"), "addresses": addresses}))
    assert hosts(service) == {"web-1": "10.0.0.1"}
    (error,) = service.errors
    assert error.startswith("EndpointSlice a: cannot be read: ")
    service.put(slice_of("a", endpoint("web-2", "10.0.0.2")))
    assert (hosts(service), service.errors) == ({"web-2": "10.0.0.2"}, ())


def test_errors_have_a_bound():
    service = of(*(slice_of(f"a{number}", {"addresses": []}) for number in range(30)))
    assert len(service.errors) == MOST_SLICE_ERRORS
    assert service.errors[-1] == "21 more errors"


def test_a_zone_is_near_by_its_name_or_by_the_hints_of_the_control_plane():
    plain, hinted = of(
        slice_of(
            "a", endpoint("web-1", "10.0.0.1", zone="a"), endpoint("web-2", "10.0.0.2", zone="a", hints=["b", "c"])
        )
    ).endpoints
    assert [plain.is_near(zone) for zone in "abc"] == [True, False, False]
    assert [hinted.is_near(zone) for zone in "abc"] == [False, True, True]
