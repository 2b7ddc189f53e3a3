"""The media types of files."""

import pytest

from lb.http.media_types import content_type


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        (b"index.html", b"text/html; charset=utf-8"),
        (b"a/app.js", b"text/javascript; charset=utf-8"),
        (b"a/app.MJS", b"text/javascript; charset=utf-8"),
        (b"style.css", b"text/css; charset=utf-8"),
        (b"readme.txt", b"text/plain; charset=utf-8"),
        (b"data.json", b"application/json"),
        (b"logo.svg", b"image/svg+xml"),
        (b"app.wasm", b"application/wasm"),
        (b"font.woff2", b"font/woff2"),
        (b"live.m3u8", b"application/vnd.apple.mpegurl"),
        (b"live.mpd", b"application/dash+xml"),
        (b"film.mp4", b"video/mp4"),
        (b"photo.webp", b"image/webp"),
        (b"photo.avif", b"image/avif"),
        (b"backup.tar.gz", b"application/gzip"),
        (b"paper.doc", b"application/msword"),
        (b"README", b"application/octet-stream"),
        (b"js", b"application/octet-stream"),
        (b"a.html/file", b"application/octet-stream"),
        (b"file.", b"application/octet-stream"),
        (b"file.\xff", b"application/octet-stream"),
    ],
)
def test_the_end_of_a_name_tells_the_type(path, media_type):
    assert content_type(path) == media_type
