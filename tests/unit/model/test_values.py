import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model.values import (
    address,
    byte_size,
    byte_size_text,
    duration,
    duration_above_zero,
    duration_or_never,
    duration_text,
    file_mode,
    name,
    owner,
    plain,
    secret,
    server_address,
    shown,
    whole_number,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("250ms", 0.25),
        ("0.5s", 0.5),
        ("2s", 2),
        ("1m30s", 90),
        ("1h", 3600),
        ("1h0.5m1s500ms", 3631.5),
        ("0", 0),
        ("0s", 0),
        (0, 0),
        (3, 3),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_read_as_seconds(value: object, seconds: float) -> None:
    assert duration(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "s", "1", "1.5", "-1s", "1 s", "1S", "1d", "1e3s", ".5s", "30s1m", "1s1s", "\u0661s", "inf"),
        *(-1, -0.1, math.nan, math.inf, -math.inf, True, None, [], {}, 10**400, "9" * 400 + "h"),
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^(must|needs)"):
        duration(value)


def test_a_duration_without_a_unit_is_told_the_right_form() -> None:
    with pytest.raises(ValueError, match="as in '30s'"):
        duration("30")


def test_zero_is_never_or_an_error_where_the_key_says_so() -> None:
    assert duration_or_never("0") == math.inf
    assert duration_or_never("1s") == 1
    with pytest.raises(ValueError, match="must be more than 0, not '0ms'"):
        duration_above_zero("0ms")


@given(st.integers(min_value=0, max_value=10**9))
def test_a_duration_survives_being_written_and_read(milliseconds: int) -> None:
    assert duration(duration_text(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0"), (0.25, "250ms"), (1.5, "1.5s"), (600.0, "10m"), (90.0, "1m30s"), (3600.0, "1h"), (math.inf, "never")],
)
def test_a_duration_is_written_as_people_do(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (300, "300"),
        (1 << 10, "1KiB"),
        (1536, "1536"),
        (3 << 19, "1536KiB"),
        (5 << 20, "5MiB"),
        (1 << 31, "2GiB"),
    ],
)
def test_a_size_is_written_in_the_largest_unit_that_fits(count: int, text: str) -> None:
    assert byte_size_text(count) == text
    assert byte_size(most=1 << 40)(text if not text.isdigit() else count) == count


def test_whole_numbers_have_their_limits() -> None:
    read = whole_number(least=1, most=3)
    assert [read(1), read(3)] == [1, 3]
    for value, message in [(0, "1 or more, not 0"), (4, "3 or less, not 4"), (True, "not true"), (1.0, "not 1.0")]:
        with pytest.raises(ValueError, match=message):
            read(value)


@pytest.mark.parametrize("word", ["", "a/b", "a\nb", "\x7f", "\u2028"])
def test_a_name_that_would_break_a_log_line_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="a name must not"):
        name(word)


def test_a_server_has_a_place_to_connect_to() -> None:
    assert server_address(None)("unix:/run/a.sock").path == "/run/a.sock"
    for text in (":80", "10.0.0.1:0"):
        with pytest.raises(ValueError, match="a server needs"):
            server_address(None)(text)


def test_a_server_without_a_port_has_that_of_its_client() -> None:
    for text, host in (("10.0.0.1", "10.0.0.1"), ("[::1]", "::1"), ("db", "db")):
        found = server_address(None)(text)
        assert (found.text, found.host, found.has_no_port) == (text, host, True)


def test_paths_of_unix_sockets_start_at_the_directory_of_the_file() -> None:
    read = address(Path("/etc/lb"))
    assert read("unix:run/lb.sock").path == "/etc/lb/run/lb.sock"
    assert read("unix:/run/lb.sock").path == "/run/lb.sock"
    assert read("unix:@name").path == "@name"
    assert read("unix:@name").unix_target == "\0name"
    with pytest.raises(ValueError, match="at most 107 bytes"):
        address(Path("/" + 100 * "x"))("unix:run/lb.sock")


def test_sizes_have_units() -> None:
    read = byte_size(4096)
    assert [read(value) for value in (0, "0", 65536, "64KiB", "1MiB")] == [0, 0, 65536, 65536, 1 << 20]
    for value in ("1k", "1 MiB", 1.5, True, "", 100, "4095", -1, "9999999999GiB"):
        with pytest.raises(ValueError, match="must be"):
            read(value)


def test_modes_and_owners_are_those_of_chmod_and_chown() -> None:
    assert [file_mode("0660"), file_mode("600")] == [0o660, 0o600]
    for value in (660, "0888", "rw", "", "00660"):
        with pytest.raises(ValueError, match="octal"):
            file_mode(value)
    assert [owner(text) for text in ("lb", "lb:web", ":web")] == ["lb", "lb:web", ":web"]
    for value in ("", ":", "a b", "a:b:c"):
        with pytest.raises(ValueError, match="user"):
            owner(value)


@pytest.mark.parametrize("value", ["${TOKEN}", "Bearer ${TOKEN}"])
def test_a_variable_in_a_secret_is_refused(value: str) -> None:
    """It was taken for the secret itself."""
    with pytest.raises(ValueError, match="environment variables like"):
        secret(value)


def test_plugin_options_become_comparable() -> None:
    assert plain({"a": [1, {"b": 2.5}]}) == (("a", (1, (("b", 2.5),))),)
    with pytest.raises(ValueError, match="finite"):
        plain([math.nan])


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans()))
def test_a_wrong_value_is_shown_on_one_short_line(value: object) -> None:
    assert len(shown(value).splitlines()) == 1
    assert len(shown("\x00" * 1000)) < 300


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["lists", "tables"])
def test_a_plugin_option_is_nested_only_so_deep(wrap: Callable[[object], object]) -> None:
    value: object = 1
    for _ in range(20):
        value = wrap(value)
    plain(value)
    with pytest.raises(ValueError, match="at most 20 levels"):
        plain(wrap(value))
