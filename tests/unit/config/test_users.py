"""htpasswd files: the hashes that are good enough, and what is said of the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.config.load import parse
from lb.config.users import parse_htpasswd
from lb.model import Secret, UsersSpec
from tests.support.complaints import complaints

BCRYPT = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"
GOOD = {
    "bcrypt": BCRYPT,
    "bcrypt 2a": BCRYPT.replace("$2y$", "$2a$"),
    "bcrypt 2b": BCRYPT.replace("$2y$05$", "$2b$12$"),
    "argon2id": "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b7dWRWJTmaaJObG",
    "argon2i": "$argon2i$m=512,t=2,p=1$c29tZXNhbHQ$MIIRqgvgQbgj220jfp0MPA",
    "argon2d": "$argon2d$v=19$m=16,t=2,p=1$c29tZXNhbHRzYWx0$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ",
    "SHA-256": "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8",
    "SHA-256 with rounds": "$5$rounds=10000$saltstringsaltst$3xv.VbSCBX41eDL9L3voettUeROrAHVUbkjqDvV2Gnz",
    "SHA-512": "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    "apr1": "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/",
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_hash_is_taken_as_it_is(kind):
    assert parse_htpasswd(f"alice:{GOOD[kind]}\n".encode(), "f") == ((("alice", Secret(GOOD[kind])),), ())


def test_comments_empty_lines_and_third_fields_do_not_count():
    text = f"\ufeff# the staff\r\n\r\nalice:{BCRYPT}\r\n  \nbob:{BCRYPT}:since 2020:x\n"
    users, errors = parse_htpasswd(text.encode(), "f")
    assert errors == ()
    assert users == (("alice", Secret(BCRYPT)), ("bob", Secret(BCRYPT)))


WEAK = "is plain text, or a hash of DES, which is guessed too fast"
OTHER = "has a hash of another kind than bcrypt, argon2, SHA-crypt and apr1"
NO_COLON = "must be a name and a password hash with a colon between them"
REALM = "must hold ASCII characters without quotes and backslashes, not "
DAMAGED = "has a hash that is damaged"


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("topsecret", WEAK),
        ("", WEAK),
        ("rqXexS6ZhobKA", WEAK),  # DES of crypt(3)
        ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "has a hash of SHA-1, which is guessed too fast"),
        ("$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", OTHER),
        ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7", OTHER),
        (BCRYPT[:-1], DAMAGED),
        (BCRYPT + " ", DAMAGED),
        (GOOD["apr1"][:-1], DAMAGED),
        ("$argon2id$v=19$m=0,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub", DAMAGED),
        (BCRYPT.replace("$05$", "$31$"), "costs too much to check, its cost is above 16"),
        (
            GOOD["argon2id"].replace("m=65536", "m=99999999"),
            "costs too much to check, its memory is above 1048576",
        ),
        (GOOD["SHA-256"].replace("$5$", "$5$rounds=99999999$"), "costs too much to check, its rounds is above 1000000"),
    ],
)
def test_any_other_password_is_an_error_that_does_not_show_it(password, problem):
    _, errors = parse_htpasswd(f"# users\nalice:{password}\n".encode(), "f")
    assert errors == (f"'f', line 2: the password of 'alice' {problem}; make it anew with 'htpasswd -B'",)
    assert len(password) < 8 or password not in errors[0]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "'f': has no user"),
        (b"# nobody\n\n", "'f': has no user"),
        (b"alice\n", f"'f', line 1: {NO_COLON}"),
        (f":{BCRYPT}".encode(), "'f', line 1: a name has 1 to 255 printable characters, not ''"),
        (f"a\tb:{BCRYPT}".encode(), "'f', line 1: a name has 1 to 255 printable characters, not 'a\\tb'"),
        (f"a:{BCRYPT}\na:{BCRYPT}".encode(), "'f', line 2: 'a' is in a line before"),
        (b"# \n\xff", "'f', line 2: is not UTF-8: byte 0xff"),
    ],
)
def test_a_line_that_cannot_be_read_is_an_error_with_its_number(content, error):
    assert parse_htpasswd(content, "f")[1] == (error,)


def test_a_file_of_another_kind_has_ten_errors_and_one_of_any_size_ends():
    _, errors = parse_htpasswd(b"Lorem ipsum\n" * 100_000, "f")
    assert errors[0].startswith("'f', line 1: ")
    assert (len(errors), errors[-1]) == (10, "'f': there are more errors")
    many = "".join(f"user{number}:{GOOD['apr1']}\n" for number in range(10_001))
    assert parse_htpasswd(many.encode(), "f")[1] == ("'f': has more than 10000 users",)


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_any_content_is_users_or_printable_errors(content):
    users, errors = parse_htpasswd(content, "f")
    assert users or errors
    assert all(error.isprintable() for error in errors)


def config(lines):
    return f"{lines}\n[listeners.web]\nbind = ':80'\nservers = ['10.0.0.1:80']\n"


def test_users_are_read_with_the_configuration(tmp_path):
    (tmp_path / "staff").write_text(f"alice:{BCRYPT}\n")
    users = parse(config("[users.staff]\nfile = 'staff'"), str(tmp_path / "lb.toml")).users
    assert users == {"staff": UsersSpec("staff", "staff", "staff", (("alice", Secret(BCRYPT)),))}
    assert BCRYPT not in repr(users)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ("[users.staff]", 'users.staff.file: missing, as in file = "staff.htpasswd"'),
        ("[users.staff]\nfile = 'no'", "users.staff.file: 'no' cannot be read: no such file or directory"),
        ("[users.staff]\nfile = '.'", "users.staff.file: '.' cannot be read: is a directory"),
        ("[users.staff]\nfile = 'bad'", f"users.staff.file: 'bad', line 1: {NO_COLON}"),
        ("[users.staff]\nfile = 'good'\nrealm = 'a\"b'", f"users.staff.realm: {REALM}'a\"b'"),
        ("[users.staff]\nfile = 'good'\nfiel = 1", "users.staff.fiel: unknown key, did you mean 'file'?"),
        ("[users.'a/b']\nfile = 'good'", "users.'a/b': a name must not hold '/' or control characters, like 'a/b'"),
    ],
)
def test_what_is_wrong_with_a_table_of_users_is_told_at_its_key(lines, error, tmp_path):
    (tmp_path / "good").write_text(f"alice:{BCRYPT}\n")
    (tmp_path / "bad").write_text("alice\n")
    assert complaints(config(lines), tmp_path / "lb.toml") == [error]
