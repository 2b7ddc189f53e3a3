"""Any file: the corpus, and mutations of it by hypothesis, which cuts, duplicates and changes pieces."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lb.model.plugin
from tests.support.fuzz_config import check, corpus, only_ours

CONTENTS = [path.read_bytes() for path in corpus()]
PIECES = [
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\n", b"\xe2\x80\xa8", b"\\u0000", b"\\u001b", b"\\ud800"),
    *(b'"', b"[[", b"]", b"{", b"=", b".", b"#", b"'''", b"-", b"1e999", b"nan", b"inf", b"0x", b"1979-05-27"),
    *(b"unix:", b"[::1]:", b":0"),
]


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.name)
def test_what_was_found_once_is_good_or_well_explained(path):
    check(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lb.model.plugin, "importlib", SimpleNamespace(import_module=only_ours))
        yield tmp_path_factory.mktemp("fuzz") / "lb.toml"


@given(
    content=st.sampled_from(CONTENTS),
    other=st.sampled_from(CONTENTS),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(PIECES) | st.binary(max_size=4)), max_size=4
    ),
    splice=st.floats(0, 1),
)
def test_a_changed_file_is_good_or_well_explained(file, content, other, edits, splice):
    for place, gone, piece in edits:
        start = int(place * len(content))
        content = content[:start] + piece + content[start + gone :]
    file.write_bytes(content[: int(splice * len(content))] + other[int(splice * len(other)) :])
    check(file)
