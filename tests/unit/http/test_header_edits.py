"""Changes of fields: remove, then set, then add."""

from hypothesis import given
from hypothesis import strategies as st

from lb.http.header_edits import FieldChange, FieldEdits
from lb.http1.grammar import VALUE_BYTES
from lb.model.http import HeaderEdits
from tests.unit.http.test_templates import values

FIELDS = [(b"X-A", b"1"), (b"x-b", b"2"), (b"X-a", b"3"), (b"Server", b"s")]


def edited(fields=FIELDS, **spec):
    return FieldEdits(HeaderEdits(**spec)).change(values()).apply(fields)


def test_remove_takes_all_of_a_name_in_any_case():
    assert edited(remove=("x-A", "SERVER")) == [(b"x-b", b"2")]


def test_set_replaces_all_of_a_name():
    assert edited(set=(("x-a", "new"),)) == [(b"x-b", b"2"), (b"Server", b"s"), (b"x-a", b"new")]


def test_add_keeps_what_is_there():
    assert edited(add=(("X-A", "new"),)) == [*FIELDS, (b"X-A", b"new")]


def test_what_is_removed_and_set_is_set_and_what_is_added_comes_after():
    spec = {"remove": ("X-A",), "set": (("X-A", "set"),), "add": (("X-A", "added"),)}
    assert edited(**spec) == [(b"x-b", b"2"), (b"Server", b"s"), (b"X-A", b"set"), (b"X-A", b"added")]


def test_an_empty_value_removes_the_field():
    assert edited(set=(("Server", ""), ("X-B", "{cache_status}"))) == [(b"X-A", b"1"), (b"X-a", b"3")]


def test_values_of_the_request_stand_in_fields():
    edits = FieldEdits(HeaderEdits(set=(("X-Real-IP", "{client_ip}"),), add=(("X-B", "y"),)))
    assert edits.constant is None
    assert edits.variables == {"client_ip"}
    assert edits.change(values()).lines == b"X-Real-IP: 192.0.2.1\r\nX-B: y\r\n"


def test_edits_without_variables_are_one_change_for_all_requests():
    edits = FieldEdits(HeaderEdits(set=(("X-A", "ü"),), remove=("Server",)))
    assert edits.constant is not None
    assert edits.change(values()) is edits.constant
    assert edits.constant.names == {b"x-a", b"server"}
    assert edits.constant.lines == b"X-A: \xc3\xbc\r\n"


def test_edits_are_false_if_they_change_nothing():
    assert not FieldEdits(HeaderEdits())
    assert FieldEdits(HeaderEdits(remove=("A",)))
    assert FieldEdits(HeaderEdits(add=(("A", "b"),)))


names = st.sampled_from(["A", "a", "B", "b", "C"])
texts = st.sampled_from(["", "x", "{host}", "{cache_status}", "y{method}"])
pairs = st.lists(st.tuples(names, texts), max_size=4).map(tuple)
specs = st.builds(HeaderEdits, set=pairs, add=pairs, remove=st.lists(names, max_size=2).map(tuple))
fields = st.lists(st.tuples(names.map(str.encode), st.sampled_from([b"1", b"2"])), max_size=5)


@given(specs, fields)
def test_edits_are_remove_then_set_then_add(spec, before):
    found = FieldEdits(spec).change(values()).apply(before)
    gone = {name.lower() for name in (*spec.remove, *(name for name, _ in spec.set))}
    expected = [field for field in before if field[0].decode().lower() not in gone]
    for name, text in (*spec.set, *spec.add):
        value = text.replace("{host}", "example.com").replace("{cache_status}", "").replace("{method}", "GET")
        if value:
            expected.append((name.encode(), value.encode()))
    assert found == expected


@given(specs, specs, fields)
def test_two_changes_together_are_one_after_the_other(first, second, before):
    one, other = FieldEdits(first).change(values()), FieldEdits(second).change(values())
    assert one.then(other).apply(before) == other.apply(one.apply(before))


@given(st.binary())
def test_a_request_cannot_add_a_line(request_id):
    edits = FieldEdits(HeaderEdits(set=(("A", "{request_id}"),)))
    lines = edits.change(values(request_id=request_id)).lines
    assert lines.count(b"\n") <= 1
    assert not lines.removesuffix(b"\r\n").translate(None, VALUE_BYTES)


def test_a_change_of_nothing_changes_nothing():
    assert FieldChange().apply(FIELDS) == FIELDS
    assert FieldChange().lines == b""
