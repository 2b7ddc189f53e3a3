"""The bytes of a watch, whole or in pieces; errors of the server."""

from __future__ import annotations

import json
import re

import pytest

from lb.kubernetes import watch_lines
from lb.kubernetes.watch_lines import GoneError, KubernetesError, WatchLines, status_text
from tests.support.kubernetes import GONE, status


def line(kind, document):
    return json.dumps({"type": kind, "object": document}).encode() + b"\n"


def slice_at(version):
    return {"metadata": {"name": "web-a", "resourceVersion": str(version)}}


@pytest.fixture
def got():
    return []


@pytest.fixture
def lines(got):
    return WatchLines("1", got.extend)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_come_in_order_however_the_bytes_come(lines, got, size):
    content = line("ADDED", slice_at(2)) + b"\n" + line("BOOKMARK", slice_at(5))
    for start in range(0, len(content), size):
        assert lines.take(content[start : start + size])
    assert [(each.kind, each.document) for each in got] == [("ADDED", slice_at(2)), ("BOOKMARK", slice_at(5))]
    assert lines.version == "5"
    lines.finish("there")


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (line("ERROR", GONE), GoneError, "there: too old resource version: 1 (9)"),
        (line("ERROR", status(500, "InternalError", "etcd\nis away")), KubernetesError, r"there: etcd\nis away"),
        (b"<html>\n", KubernetesError, "there: sends what is no watch of EndpointSlices"),
        (b"[]\n", KubernetesError, "there: sends what is no watch of EndpointSlices"),
        (line("ADDED", {"metadata": {}}), KubernetesError, "there: sends what is no watch of EndpointSlices"),
        (b"x" * 2000, KubernetesError, "there: sends a line of more than"),
    ],
)
def test_an_error_ends_the_watch_after_what_came_before_it(lines, got, content, kind, text, monkeypatch):
    monkeypatch.setattr(watch_lines, "LONGEST_EVENT", 1000)
    assert not lines.take(line("ADDED", slice_at(2)) + content)
    assert [each.kind for each in got] == ["ADDED"]
    with pytest.raises(kind, match=re.escape(text)):
        lines.finish("there")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            json.dumps(status(403, "Forbidden", "endpointslices is forbidden")).encode(),
            "status 403: endpointslices is forbidden",
        ),
        (b"<html>", "status 403"),
        (b"[1]", "status 403"),
        (b'{"message": 3}', "status 403"),
        (json.dumps({"message": "x" * 1000}).encode(), "status 403: " + "x" * 287 + "…"),
    ],
)
def test_the_text_of_an_answer_with_an_error(content, text):
    assert status_text(403, content) == text
