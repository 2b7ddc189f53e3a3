"""Where live streams are recorded: what the keys mean, and what is said of mistakes."""

from __future__ import annotations

import os

import pytest

from lb.config.load import parse
from lb.model.values import shown
from tests.support.complaints import complaints

RTMP = '[listeners.rtmp]\nmode = "rtmp"\nbind = ":1935"\n'
NO_DIRECTORY = "needs a directory to write to: set 'directory' in [media], as in directory = \"/var/lib/trio-lb/media\""


def media(text, directory):
    return parse(RTMP + text, str(directory / "lb.toml")).media


def errors(text, directory):
    return complaints(RTMP + text, directory / "lb.toml")


def test_the_keys_reach_the_model(tmp_path):
    found = media('[media]\ndirectory = "a/b"\n[media.live.live]\nrecord = "{app}/{name}/{start}.mp4"', tmp_path)
    assert found.directory == str(tmp_path / "a" / "b")
    assert found.live[0].record == "{app}/{name}/{start}.mp4"


def test_nothing_is_recorded_by_default(tmp_path):
    found = media('[media]\ndirectory = ""\n[media.live.live]\nrecord = ""', tmp_path)
    assert (found.directory, found.live[0].record) == ("", "")


def test_a_recording_needs_a_directory(tmp_path):
    assert errors('[media.live.live]\nrecord = "{name}.mp4"', tmp_path) == [f"media.live.live.record: {NO_DIRECTORY}"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{name}-{time}.mp4", "may have {app}, {name} and {start} in braces, and no others: '{name}-{time}.mp4'"),
        ("{name!r}.mp4", "may have {app}, {name} and {start} in braces, and no others: '{name!r}.mp4'"),
        ("{name:>9}.mp4", "may have {app}, {name} and {start} in braces, and no others: '{name:>9}.mp4'"),
        ("{name[0]}.mp4", "may have {app}, {name} and {start} in braces, and no others: '{name[0]}.mp4'"),
        ("{}.mp4", "may have {app}, {name} and {start} in braces, and no others: '{}.mp4'"),
        ("{name.mp4", "'{name.mp4' is no path: expected '}' before end of string"),
        ("/rec/{name}.mp4", "must be a path below the directory, without hidden names, not '/rec/{name}.mp4'"),
        ("../{name}.mp4", "must be a path below the directory, without hidden names, not '../{name}.mp4'"),
        ("a//{name}.mp4", "must be a path below the directory, without hidden names, not 'a//{name}.mp4'"),
        (".{name}.mp4", "must be a path below the directory, without hidden names, not '.{name}.mp4'"),
        ("{name}.flv", "must end with '.mp4', not '{name}.flv'"),
    ],
)
def test_mistakes_in_the_path_are_told(tmp_path, path, message):
    text = f'[media]\ndirectory = "home"\n[media.live.live]\nrecord = "{path}"'
    assert errors(text, tmp_path) == [f"media.live.live.record: {message}"]


def test_a_directory_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    expected = [f"media.directory: {shown(f'{tmp_path}/file')} is not a directory"]
    for given in ("file", "file/a/b"):
        assert errors(f'[media]\ndirectory = "{given}"\n[media.live.live]\n', tmp_path) == expected


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode, effective_ids: path != tmp_path)
    text = '[media]\ndirectory = "home/a"\n[media.live.live]\n'
    assert errors(text, tmp_path) == [f"media.directory: the directory {shown(str(tmp_path))} is not writable"]


def test_how_far_viewers_may_go_back_reaches_the_model(tmp_path):
    assert media('[media]\ndirectory = "home"\n[media.live.live]\ndvr = "2h"', tmp_path).live[0].dvr == 7_200.0
    assert media("[media.live.live]\n", tmp_path).live[0].dvr == 0.0


def test_to_go_back_needs_a_directory(tmp_path):
    assert errors('[media.live.live]\ndvr = "2h"', tmp_path) == [f"media.live.live.dvr: {NO_DIRECTORY}"]


@pytest.mark.parametrize("dvr", ["11s", "25h"])
def test_to_go_back_less_than_the_window_or_more_than_a_day_is_an_error(tmp_path, dvr):
    text = f'[media]\ndirectory = "home"\n[media.live.live]\ndvr = "{dvr}"'
    message = "must be from 12s, which is 'window' times 'segment', to 24h"
    assert errors(text, tmp_path) == [f"media.live.live.dvr: {message}"]
