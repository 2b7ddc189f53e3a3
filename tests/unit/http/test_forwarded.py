"""Who the client is behind proxies, and what servers are told: trusted proxies are believed, nobody else."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http.forwarded import connection_lines, host_line, is_trusted, read_forwarding
from lb.http1.field import FORWARDED
from lb.http1.request_head import RequestHeads
from lb.model.address import Client, Networks, address_of

TRUSTED = Networks(("10.0.0.0/8", "2001:db8:1::/48"))
PROXY = Client("10.0.0.1", 4000)
STRANGER = Client("192.0.2.1", 4001)


def head(*lines, first=b"GET / HTTP/1.1", host=b"Host: A.example:81"):
    return RequestHeads().read(b"\r\n".join([first, *([host] if host else ()), *lines, b"", b""]))


def read(*lines, peer=PROXY, scheme=b"http", trusted=TRUSTED, **more):
    return read_forwarding(head(*lines, **more), peer, scheme, trusted, b"own-id")


def told(*lines, **more):
    """What the server gets: the fields, in the order of their names, with these in lower case."""
    fields = [(field.name, field.value) for field in head(*lines).block.fields if field.name != b"host"]
    changed = read(*lines, **more).change.apply(fields)
    return sorted((name.lower(), value) for name, value in changed)


OURS = [
    (b"x-forwarded-for", b"192.0.2.1"),
    (b"x-forwarded-host", b"a.example:81"),
    (b"x-forwarded-proto", b"http"),
    (b"x-request-id", b"own-id"),
]
FORGED = [
    b"X-Forwarded-For: 10.0.0.9",
    b"x-forwarded-for: 127.0.0.1",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: evil.example",
    b"X-Forwarded-Port: 1",
    b"X-Forwarded-Prefix: /admin",
    b"X-Forwarded-Client-Cert: x",
    b"X_Forwarded_For: 127.0.0.1",
    b"X-Forwarded_For: 127.0.0.1",
    b"X-Real-IP: 127.0.0.1",
    b"X_Real_IP: 127.0.0.1",
    b"Forwarded: for=127.0.0.1",
    b"X-Request-Id: forged",
    b"X_Request_Id: forged",
]


def test_what_a_stranger_says_of_its_client_is_replaced():
    assert told(*FORGED, peer=STRANGER) == OURS
    found = read(*FORGED, peer=STRANGER)
    assert (found.client, found.scheme, found.request_id) == (STRANGER, b"http", b"own-id")


@pytest.mark.parametrize("line", FORGED)
def test_a_field_that_proxies_set_is_known_as_one(line):
    assert head(line).block.meanings & FORWARDED


def test_other_fields_pass():
    assert told(b"X-Forward: a", b"Real-IP: b", peer=STRANGER) == sorted(
        [*OURS, (b"x-forward", b"a"), (b"real-ip", b"b")]
    )


@pytest.mark.parametrize("peer", [STRANGER, Client("2001:db8::1", 1), Client("", 0)])
@pytest.mark.parametrize("host", [b"Host: a.example", b""])
def test_the_lines_of_a_connection_are_what_is_told_of_each_request(peer, host):
    first = b"GET / HTTP/1.1" if host else b"GET / HTTP/1.0"
    lines = connection_lines(peer.host, b"https") + b"own-id\r\n" + host_line(head(first=first, host=host))
    assert lines == read(peer=peer, scheme=b"https", first=first, host=host).change.lines


def test_without_trusted_proxies_nobody_is_trusted():
    assert not is_trusted(PROXY, Networks())
    assert told(*FORGED, trusted=Networks())[0] == (b"x-forwarded-for", b"10.0.0.1")


def test_a_client_of_a_unix_socket_is_not_trusted():
    assert not is_trusted(Client("", 0), Networks(("0.0.0.0/0", "::/0")))


@pytest.mark.parametrize(
    ("value", "client"),
    {
        b"192.0.2.7": Client("192.0.2.7", 0),
        b"192.0.2.7:81": Client("192.0.2.7", 81),
        b"127.0.0.1, 192.0.2.7": Client("192.0.2.7", 0),
        b"127.0.0.1, 192.0.2.7, 10.9.9.9": Client("192.0.2.7", 0),
        b"127.0.0.1,192.0.2.7,10.9.9.9 ,\t10.0.0.2": Client("192.0.2.7", 0),
        b"192.0.2.7, , 10.0.0.2,": Client("192.0.2.7", 0),
        b"10.0.0.3, 10.0.0.2": Client("10.0.0.3", 0),
        b"2001:DB8::7": Client("2001:db8::7", 0),
        b"[2001:db8::7]": Client("2001:db8::7", 0),
        b"[2001:db8::7]:81": Client("2001:db8::7", 81),
        b"192.0.2.7, 2001:db8:1::5": Client("192.0.2.7", 0),
        b"::ffff:192.0.2.7": Client("192.0.2.7", 0),
        b"192.0.2.7, ::ffff:10.0.0.2": Client("192.0.2.7", 0),
        b"": PROXY,
        b"unknown": PROXY,
        b"192.0.2.7, unknown": PROXY,
        b"192.0.2.7, unknown, 10.0.0.2": Client("10.0.0.2", 0),
        b"192.0.2.7, 1.2.3": PROXY,
        b"192.0.2.7, 1.2.3.04": PROXY,
        b"192.0.2.7, 1.2.3.4:99999": PROXY,
        b"192.0.2.7, [1.2.3.4]": PROXY,
        b"192.0.2.7, 2001:db8::7%eth0": PROXY,
        b"192.0.2.7, \xff": PROXY,
        b'192.0.2.7, "1.2.3.4"': PROXY,
    }.items(),
)
def test_the_client_is_the_last_address_that_is_not_trusted_itself(value, client):
    assert read(b"X-Forwarded-For: " + value).client == client


def test_several_lines_are_one_list():
    lines = [b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-For: 10.0.0.2"]
    assert read(*lines).client == Client("192.0.2.7", 0)
    assert told(*lines)[0] == (b"x-forwarded-for", b"192.0.2.7, 10.0.0.2, 10.0.0.1")


def test_what_a_trusted_proxy_says_is_kept_and_extended():
    lines = [
        b"X-Forwarded-For: 192.0.2.7",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: b.example",
        b"X-Forwarded-Port: 443",
        b"X-Request-Id: theirs",
        b"Forwarded: for=192.0.2.7;proto=https",
    ]
    found = read(*lines)
    assert (found.client.host, found.scheme, found.request_id) == ("192.0.2.7", b"https", b"theirs")
    assert told(*lines) == [
        (b"forwarded", b"for=192.0.2.7;proto=https, for=10.0.0.1"),
        (b"x-forwarded-for", b"192.0.2.7, 10.0.0.1"),
        (b"x-forwarded-host", b"b.example"),
        (b"x-forwarded-port", b"443"),
        (b"x-forwarded-proto", b"https"),
        (b"x-request-id", b"theirs"),
    ]


def test_the_spelling_of_cgi_is_not_passed_on_by_a_trusted_proxy_either():
    """To a CGI program, X_Forwarded_For and X-Forwarded-For are the same variable, and the proxy may not know it."""
    found = told(b"X_Forwarded_For: 127.0.0.1", b"X-Forwarded-For: 192.0.2.7")
    assert found == [(b"x-forwarded-for", b"192.0.2.7, 10.0.0.1"), *OURS[1:]]


def test_what_a_trusted_proxy_does_not_say_is_added():
    assert told() == [(b"x-forwarded-for", b"10.0.0.1"), *OURS[1:]]


def test_forwarded_counts_where_there_is_no_x_forwarded_for():
    elements = (
        b"for=127.0.0.1;proto=ftp",
        b'for="[2001:DB8::7]:81";host=b.example;Proto=HTTPS',
        b"for=10.0.0.2;proto=http",
    )
    line = b"Forwarded: " + b", ".join(elements)
    found = read(line)
    assert (found.client, found.scheme) == (Client("2001:db8::7", 81), b"https")
    assert told(line) == [
        (b"forwarded", line.partition(b": ")[2] + b", for=10.0.0.1"),
        (b"x-forwarded-for", b"2001:db8::7, 10.0.0.2, 10.0.0.1"),
        (b"x-forwarded-host", b"b.example"),
        (b"x-forwarded-proto", b"https"),
        (b"x-request-id", b"own-id"),
    ]


def test_x_forwarded_for_wins_over_forwarded():
    found = read(b"X-Forwarded-For: 192.0.2.7", b"Forwarded: for=127.0.0.1;proto=https;host=evil.example")
    assert (found.client.host, found.scheme) == ("192.0.2.7", b"http")
    assert (b"X-Forwarded-Host", b"a.example:81") in found.change.fields


def test_a_proxy_with_an_ipv6_address_is_quoted_in_forwarded():
    change = read(b"Forwarded: for=192.0.2.7", peer=Client("2001:db8:1::1", 1)).change
    assert (b"Forwarded", b'for=192.0.2.7, for="[2001:db8:1::1]"') in change.fields


@pytest.mark.parametrize(
    "value",
    [
        b"for",
        b"=",
        b'for="',
        b'for="192.0.2.7',
        b"for=192.0.2.7 proto=http",
        b"for=[2001:db8::7]",
        b"a=b\xff",
        b"for=" + b"a" * 5000,
    ],
)
def test_a_malformed_forwarded_is_dropped_and_says_nothing(value):
    assert read(b"Forwarded: " + value).client == PROXY
    assert told(b"Forwarded: " + value) == [(b"x-forwarded-for", b"10.0.0.1"), *OURS[1:]]


@pytest.mark.parametrize("value", [b"for=unknown", b"for=_hidden", b"proto=https;host=b.example", b'for="a,b;c"'])
def test_a_forwarded_without_an_address_names_no_client(value):
    found = read(b"Forwarded: " + value)
    assert (found.client, found.scheme) == (PROXY, b"http")


@pytest.mark.parametrize("value", [b"https, http", b"wss", b"HTTP S"])
def test_a_scheme_that_is_none_is_passed_on_but_not_believed(value):
    assert read(b"X-Forwarded-Proto: " + value).scheme == b"http"
    assert (b"x-forwarded-proto", value) in told(b"X-Forwarded-Proto: " + value)


@pytest.mark.parametrize("value", [b"", b"a b", b"a" * 129, b"\xc3\xbc"])
def test_an_id_that_does_not_fit_in_a_log_is_replaced(value):
    assert read(b"X-Request-Id: " + value).request_id == b"own-id"
    assert [pair for pair in told(b"X-Request-Id: " + value) if pair[0] == b"x-request-id"] == [OURS[3]]


def test_two_ids_are_none():
    assert read(b"X-Request-Id: a", b"X-Request-Id: b").request_id == b"own-id"


def test_a_way_is_followed_for_64_hops():
    assert read(b"X-Forwarded-For: 192.0.2.7" + b", 10.0.0.2" * 63).client.host == "192.0.2.7"
    assert read(b"X-Forwarded-For: 192.0.2.7" + b", 10.0.0.2" * 64).client.host == "10.0.0.2"
    assert read(b"Forwarded: for=192.0.2.7" + b", for=10.0.0.2" * 64).client.host == "10.0.0.2"


@pytest.mark.parametrize(
    "value",
    [b" " * 30_000, b"," * 30_000, b"[" * 30_000, b'a="' * 1300, b'a="\\' * 1000, b"a=b;" * 1000, b"\t" * 4000 + b"x"],
)
def test_a_value_without_end_costs_next_to_nothing(value):
    began = process_time()
    for _ in range(5):
        read(b"X-Forwarded-For: x" + value)
        read(b"Forwarded: x" + value)
    assert process_time() - began < 0.5


hosts = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.ip_addresses(v=4, network="10.0.0.0/8")).map(str)


@given(st.lists(hosts, max_size=6), st.booleans(), st.binary(max_size=20))
def test_no_client_can_make_itself_another(hops, as_forwarded, said):
    """The outermost trusted proxy appends the client's address; what the client said before it does not count."""
    said = said.translate(None, b'\r\n\0"\\' + bytes(range(32)) + b"\x7f").replace(b",", b"")
    nodes = [said, b"192.0.2.7", *(b"10.1.1.%d" % number for number in range(len(hops)))]
    if as_forwarded:
        line = b"Forwarded: " + b", ".join(b'for="%s"' % node for node in nodes)
    else:
        line = b"X-Forwarded-For: " + b", ".join(nodes)
    assert read(line).client == Client("192.0.2.7", 0)


@given(st.lists(hosts, min_size=1, max_size=6))
def test_the_client_by_definition(hops):
    value = ", ".join(hops).encode()
    way = ["10.0.0.1", *reversed(hops)]
    mapped = [
        str(address.ipv4_mapped or address) if address.version == 6 else str(address)
        for address in map(address_of, way)
    ]
    expected = next((host for host in mapped if address_of(host) not in TRUSTED), mapped[-1])
    assert read(b"X-Forwarded-For: " + value).client.host == expected


@given(st.binary(max_size=100), st.binary(max_size=100), st.sampled_from([PROXY, STRANGER]))
def test_any_bytes_are_read_and_told_in_lines_of_their_own(value, forwarded, peer):
    clean = bytes((*range(32), 127))
    found = read(
        b"X-Forwarded-For: " + value.translate(None, clean),
        b"Forwarded: " + forwarded.translate(None, clean),
        peer=peer,
    )
    assert found.change.lines.count(b"\n") == len(found.change.fields)
    assert address_of(found.client.host) is not None
