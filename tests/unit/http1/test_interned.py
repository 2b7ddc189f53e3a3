"""What was read before is looked up: it means the same as if it were read anew, and the tables stay small."""

import random
import sys

import h11
import pytest

from lb.http1.chunks import ChunkWalker
from lb.http1.field_block import FieldBlocks
from lb.http1.grammar import MAX_FIELDS, MalformedError
from lb.http1.head_buffer import HeadBuffer
from lb.http1.interned import ENTRIES, MAX_INTERNED, MAX_MEMORY, InternTable, SeenOnce
from lb.http1.request_head import RequestHeads
from lb.http1.response_head import ResponseHeads
from tests.support.effort import DEEP
from tests.support.http_attacks import (
    BODIES_REFUSED,
    BODIES_TAKEN,
    REFUSED,
    RESPONSES_REFUSED,
    RESPONSES_TAKEN,
    TAKEN,
)
from tests.support.mutations import BROWSERS, mutated

MUTATED = 1_000_000 if DEEP else 20_000
MAX_HEADER = 32 * 1024


def outcome(reader, data):
    """Return all that a head says, or the status of an error."""
    try:
        return reader.read(data)
    except MalformedError as error:
        return error.status


def until_empty_line(data):
    return data[: data.find(b"\r\n\r\n") + 4] or data


def compare(kind, messages, count, seed=1):
    """Read mutated heads with one reader, several times each among others, and with a new reader each."""
    choice = random.Random(seed)
    interned, recent, taken = kind(), [], 0
    for _ in range(count):
        data = mutated(choice, choice.choice(messages))
        recent = [*recent[-7:], data]
        anew = outcome(kind(), data)
        for each in (data, choice.choice(recent), data):
            ours = outcome(interned, each)
            assert ours == anew or each is not data, data
        taken += not isinstance(anew, int)
    return taken


@pytest.mark.slow
def test_a_mutated_request_means_the_same_whether_it_was_read_before_or_not():
    messages = [*TAKEN.values(), *BROWSERS] * 4 + [*REFUSED.values()]
    heads = [until_empty_line(data.removeprefix(b"\r\n")) for data in messages if len(data) < MAX_INTERNED]
    taken = compare(RequestHeads, heads, MUTATED)
    assert MUTATED / 20 < taken < MUTATED / 2


def test_whatever_mutated_request_we_take_h11_takes_too():
    choice, taken = random.Random(4), 0
    for _ in range(MUTATED // 10):
        data = mutated(choice, choice.choice(BROWSERS))
        head = in_two(data, len(data))
        if head is not None and in_two(data[:-2], len(data) - 2) is None:  # it is a whole request without a body
            connection = h11.Connection(h11.SERVER)
            connection.receive_data(data.removeprefix(b"\r\n"))
            theirs = connection.next_event()
            assert (theirs.method, theirs.target) == (head[0].method, head[0].target), data
            assert len(theirs.headers) == len(head[0].block.fields) + (head[0].cookie_line is not None), data
            taken += 1
    assert taken > MUTATED / 200


@pytest.mark.slow
def test_a_mutated_response_means_the_same_whether_it_was_read_before_or_not():
    heads = [until_empty_line(data) for data in (*RESPONSES_TAKEN.values(), *RESPONSES_REFUSED.values())]
    assert compare(ResponseHeads, heads, MUTATED // 4) > MUTATED / 50


@pytest.mark.slow
def test_a_mutated_head_is_the_same_wherever_it_is_split():
    choice = random.Random(2)
    heads = [*TAKEN.values(), *REFUSED.values(), *RESPONSES_TAKEN.values()]
    for _ in range(MUTATED // 100):
        data = mutated(choice, choice.choice([head for head in heads if len(head) < 500]))
        whole = in_two(data, len(data))
        assert {repr(in_two(data, cut)) for cut in range(len(data))} == {repr(whole)}, data


def in_two(data, cut):
    """Return head and rest of a message that comes in two pieces; None if it is refused or not complete."""
    buffer = HeadBuffer(MAX_HEADER)
    try:
        buffer.feed(data[:cut])
        head = buffer.take_head() if cut else None
        buffer.feed(data[cut:])
        head = head or buffer.take_head()
        return head and (RequestHeads().read(head), buffer.take_all())
    except MalformedError:
        return None


@pytest.mark.slow
def test_a_mutated_body_is_the_same_wherever_it_is_split():
    choice = random.Random(3)
    bodies = [body for body in [*BODIES_TAKEN.values()] * 5 + [*BODIES_REFUSED.values()] if len(body) < 200]
    taken = 0
    for _ in range(MUTATED // 10):
        data = mutated(choice, choice.choice(bodies)) + choice.choice([b"", b"GET / HTTP/1.1\r\n\r\n"])
        whole = walked([data])
        taken += whole is not None
        assert {walked([data[:cut], data[cut:]]) for cut in range(len(data))} == {whole}, data
        assert walked([data[at : at + 1] for at in range(len(data))]) == whole, data
    assert taken > MUTATED / 500


def walked(pieces):
    """Return the length of the body, its data and its trailers; None if it is refused or not complete."""
    payload, length = [], 0
    walker = ChunkWalker(MAX_HEADER, payload.append)
    try:
        for piece in pieces:
            length += walker.walk(piece)
    except MalformedError:
        return None
    return (length, b"".join(payload), len(walker.trailers)) if walker.done else None


def test_only_what_comes_twice_is_kept_so_heads_that_differ_push_nothing_out():
    heads = RequestHeads()
    often = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
    first = [heads.read(often) for _ in range(3)][-1]
    for number in range(3 * ENTRIES):
        heads.read(b"GET /%d HTTP/1.1\r\nHost: a.example\r\n\r\n" % number)
    assert heads.read(often) is first
    assert len(heads._heads) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Connection: upgrade\r\nUpgrade: websocket",
        b"Authorization: Basic YTpi",
    ],
)
def test_a_head_that_needs_more_than_a_look_is_never_kept_as_a_whole(line):
    heads = RequestHeads()
    data = b"POST / HTTP/1.1\r\nHost: a.example\r\n" + line + b"\r\n\r\n"
    assert len({id(head) for head in [heads.read(data) for _ in range(4)]}) == 4
    assert len(heads._heads) == 0


def test_a_head_of_more_than_two_kilobytes_is_never_kept():
    heads = RequestHeads()
    for _ in range(4):
        heads.read(b"GET / HTTP/1.1\r\nHost: a.example\r\nX: " + b"a" * MAX_INTERNED + b"\r\n\r\n")
    assert len(heads._heads) == len(heads._blocks._blocks) == len(heads._blocks._fields) - 1 == 0


def test_what_is_in_use_survives_a_change_of_generations_and_the_rest_goes():
    table = InternTable(len, entries=3)
    for number in range(20):
        table.put(b"%d" % number, "value")
        assert len(table) <= 6
        table.put(b"used", "value") if number == 0 else table.find(b"used")
    assert table.find(b"used") == "value"
    assert table.find(b"0") is None


def test_a_generation_is_full_by_its_size_too():
    table = InternTable(len, max_memory=1000)
    for number in range(100):
        table.put(b"%03d" % number, "v" * 97)
    assert 10 <= len(table) <= 20


def test_the_hashes_of_what_came_once_take_the_same_memory_for_ever():
    seen = SeenOnce(16)
    before = sys.getsizeof(seen._hashes)
    assert [seen.again(b"%d" % number) for number in range(1000)] == [False] * 1000
    assert sys.getsizeof(seen._hashes) == before
    assert seen.again(b"999")


def test_the_worst_blocks_of_lines_stay_within_their_memory():
    blocks = FieldBlocks()
    for number in range(400):
        data = b"".join(b"%x:%d\r\n" % (line, number) for line in range(MAX_FIELDS))
        for _ in range(2):
            blocks.read(data)
    assert len(blocks._blocks) < 2 * MAX_MEMORY / (MAX_FIELDS * 300)


def test_what_is_derived_of_a_head_is_computed_once():
    head = RequestHeads().read(b"GET /a/../b HTTP/1.1\r\nHost: a.example\r\nCookie: c=d\r\n\r\n")
    assert "path" not in vars(head)
    assert head.path is head.path == b"/b"
    assert vars(head)["path"] == b"/b"


def test_heads_that_differ_only_in_their_cookies_share_all_else():
    heads = RequestHeads()
    data = b"GET / HTTP/1.1\r\nHost: a.example\r\nCookie: n=%d\r\nAccept: */*\r\n\r\n"
    read = [heads.read(data % number) for number in range(5)]
    assert [head.cookies for head in read] == [b"n=%d" % number for number in range(5)]
    assert len({id(head.without_cookie) for head in read[1:]}) <= 2
    assert read[-1].without_cookie == heads.read(data.replace(b"Cookie: n=%d\r\n", b""))


def test_a_second_cookie_line_counts_whatever_was_read_before():
    one = b"GET / HTTP/1.1\r\nHost: a.example\r\ncookie: a=b\r\n\r\n"
    for line in (b"cookie: a=b\r\n", b"Cookie: c=d\r\n", b"COOKIE: e=f\r\n"):
        two = one[:-2] + line + b"\r\n"
        for first, second in ((one, two), (two, one)):
            heads = RequestHeads()
            for data in (first, first, first, second):
                assert heads.read(data) == RequestHeads().read(data)


def test_a_head_of_cookie_lines_only_is_read_without_recursion():
    lines = b"Cookie: a\r\n" * (MAX_FIELDS - 1)
    head = RequestHeads().read(b"GET / HTTP/1.1\r\n" + lines + b"Host: a.example\r\n\r\n")
    assert head.cookies == b"; ".join([b"a"] * (MAX_FIELDS - 1))
    with pytest.raises(MalformedError):
        RequestHeads().read(b"GET / HTTP/1.1\r\n" + b"Cookie: a\r\n" * 2900 + b"Host: a.example\r\n\r\n")
