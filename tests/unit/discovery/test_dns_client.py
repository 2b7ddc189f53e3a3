"""Queries to a name server with valid answers, and to one with arbitrary bytes."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rrset
import pytest
import tomli
import trio
from hypothesis import given
from hypothesis import strategies as st

from lb.discovery.dns_client import ask
from lb.discovery.dns_records import DnsAnswer, DnsQuestion, Failure, Service, servers_at, servers_of
from lb.model.address import Address
from tests.support.balancer import PATIENCE
from tests.support.name_server import name_server
from tests.support.paths import DATA
from tests.support.servers import free_port

A, AAAA = DnsQuestion("web.internal", "A"), DnsQuestion("web.internal", "AAAA")
SRV = DnsQuestion("_http._tcp.web.internal", "SRV")


@pytest.fixture
async def names():
    async with name_server() as server:
        yield server


def asked_of(*servers):
    return [Address.parse(server.address) for server in servers]


async def test_addresses_come_with_their_ttl(names):
    names.has("web.internal", "A", "10.0.0.2", "10.0.0.1", ttl=30)
    names.has("web.internal", "AAAA", "fd00::1", ttl=20)
    answer = await ask(A, asked_of(names))
    assert (set(answer.records), answer.ttl) == ({"10.0.0.1", "10.0.0.2"}, 30)  # dnspython shuffles records
    assert await ask(AAAA, asked_of(names)) == DnsAnswer(("fd00::1",), 20)


async def test_services_come_as_they_are(names):
    names.has(SRV.name, "SRV", "1 5 8080 A.internal.", "2 0 80 .", ttl=7)
    answer = await ask(SRV, asked_of(names))
    assert set(answer.records) == {Service(1, 5, 8080, "A.internal"), Service(2, 0, 80, "")}
    assert answer.ttl == 7


async def test_an_alias_is_followed_and_its_ttl_counts(names):
    def with_alias():
        response = dns.message.make_response(dns.message.make_query("web.internal", "A"))
        response.answer.append(dns.rrset.from_text("web.internal.", 5, "IN", "CNAME", "real.internal."))
        response.answer.append(dns.rrset.from_text("real.internal.", 60, "IN", "A", "10.0.0.1"))
        return response.to_wire()

    names.says("web.internal", "A", with_alias())
    assert await ask(A, asked_of(names)) == DnsAnswer(("10.0.0.1",), 5)


async def test_an_answer_may_be_empty(names):
    names.has("web.internal", "A", "10.0.0.1")
    answer = await ask(AAAA, asked_of(names))
    assert answer.records == ()


async def test_a_long_answer_is_asked_for_again_over_tcp(names):
    many = [f"10.0.{number // 250}.{number % 250}" for number in range(500)]
    names.has("web.internal", "A", *many)
    answer = await ask(A, asked_of(names))
    assert sorted(answer.records) == sorted(many)
    assert names.asked == ["web.internal A udp", "web.internal A tcp"]


async def test_a_name_that_is_not_there_is_a_failure(names):
    assert await ask(A, asked_of(names)) == Failure("no such name")


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "YXDOMAIN"])
async def test_what_a_name_server_refuses_is_a_failure(names, rcode):
    names.fails("web.internal", "A", rcode)
    outcome = await ask(A, asked_of(names))
    assert isinstance(outcome, Failure)
    if rcode != "YXDOMAIN":
        assert outcome == Failure(f"{rcode} from 127.0.0.1:{names.port}")


async def test_another_name_server_is_asked_when_one_fails(names):
    async with name_server() as other:
        names.fails("web.internal", "A")
        other.has("web.internal", "A", "10.0.0.1")
        assert await ask(A, asked_of(names, other)) == DnsAnswer(("10.0.0.1",), 1)


@pytest.mark.slow
async def test_silence_is_a_failure(names, monkeypatch):
    monkeypatch.setattr("lb.discovery.dns_client.LIFETIME", 0.3)
    names.is_silent("web.internal", "A")
    assert await ask(A, asked_of(names)) == Failure("no answer in 0.3 s")
    assert isinstance(await ask(A, [Address.parse(f"127.0.0.1:{free_port()}")]), Failure)


async def test_an_answer_to_another_question_is_none(names, monkeypatch):
    monkeypatch.setattr("lb.discovery.dns_client.LIFETIME", 0.3)
    other = dns.message.make_response(dns.message.make_query("evil.internal", "A"))
    other.answer.append(dns.rrset.from_text("evil.internal.", 5, "IN", "A", "6.6.6.6"))
    names.says("web.internal", "A", other.to_wire())
    assert isinstance(await ask(A, asked_of(names)), Failure)


async def test_the_systems_name_servers_are_asked_by_default(names, monkeypatch, tmp_path):
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("search example.com\nnameserver 127.0.0.1\n")
    original = "dns.asyncresolver.Resolver.__init__"
    import dns.asyncresolver

    init = dns.asyncresolver.Resolver.__init__

    def with_our_file(self, filename="/etc/resolv.conf", configure=True):
        init(self, str(resolv) if filename == "/etc/resolv.conf" else filename, configure)
        self.port = names.port

    monkeypatch.setattr(original, with_our_file)
    names.has("web", "A", "10.0.0.1")
    assert await ask(DnsQuestion("web", "A"), []) == DnsAnswer(("10.0.0.1",), 1)
    assert names.asked == ["web A udp"], "the search list was used"
    resolv.write_text("# nobody\n")
    assert isinstance(await ask(DnsQuestion("web", "A"), []), Failure)


# Arbitrary answers

CORPUS = sorted((DATA / "corpus" / "dns").glob("*.toml"))
"""Raw answers with the expected result. Add findings of a fuzzer here."""


def shown(record):
    return record if isinstance(record, str) else " ".join(map(str, record))


@pytest.mark.slow
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
async def test_the_corpus(names, monkeypatch, path):
    case = tomli.loads(path.read_text())
    failure = case.get("failure", "")
    if failure.startswith("no answer"):
        monkeypatch.setattr("lb.discovery.dns_client.LIFETIME", 0.3)
    names.says(*case["question"], bytes.fromhex(case["answer"]))
    outcome = await ask(DnsQuestion(*case["question"]), asked_of(names))
    if failure:
        assert outcome == Failure(failure.replace("NAMESERVER", names.address))
        return
    assert sorted(map(shown, outcome.records)) == sorted(case["records"])
    assert outcome.ttl == case.get("ttl", outcome.ttl)


def message(question):
    """Return a valid answer, to be corrupted."""
    response = dns.message.make_response(dns.message.make_query(question.name, question.kind, id=0))
    records = {"A": ["10.0.0.1", "10.0.0.2"], "AAAA": ["fd00::1"], "SRV": ["1 2 80 a.internal.", "0 0 0 ."]}[
        question.kind
    ]
    alias = dns.rrset.from_text(f"{question.name}.", 5, "IN", "CNAME", "real.internal.")
    response.answer = [alias, dns.rrset.from_text("real.internal.", 60, "IN", question.kind, *records)]
    return response.to_wire()


QUESTIONS = st.sampled_from([A, AAAA, SRV])
GOOD = {question: message(question) for question in (A, AAAA, SRV)}


@st.composite
def corrupted(draw):
    """A question, and an answer with some bytes changed, removed or inserted."""
    question = draw(QUESTIONS)
    wire = bytearray(GOOD[question])
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(2, len(wire)))
        length = draw(st.sampled_from([0, 1, 2, 4, 40]))
        wire[place : place + length] = draw(st.binary(max_size=4))
    return question, bytes(wire)


async def query(question, wire):
    """Query a server with this answer: over UDP and, if the answer is truncated, over TCP."""
    async with name_server() as names:
        names.says(question.name, question.kind, wire, b"\0" * 12)
        with trio.fail_after(PATIENCE):
            outcome = await ask(question, asked_of(names))
    if isinstance(outcome, DnsAnswer):
        assert outcome.ttl >= 0
        addresses = [each for each in outcome.records if isinstance(each, str)]
        services = [each for each in outcome.records if isinstance(each, Service)]
        servers_at(80, addresses)
        servers_of(services, {service.target: ["10.0.0.1"] for service in services})
    else:
        assert outcome.error
        assert outcome.error.isprintable()


@pytest.mark.slow
@given(QUESTIONS, st.binary(min_size=2, max_size=80))
def test_any_bytes_are_an_answer_or_a_failure(question, wire):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lb.discovery.dns_client.LIFETIME", 0.03)
        trio.run(query, question, wire)


@pytest.mark.slow
@given(corrupted())
def test_a_spoilt_answer_is_an_answer_or_a_failure(corrupted_answer):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lb.discovery.dns_client.LIFETIME", 0.03)
        trio.run(query, *corrupted_answer)
