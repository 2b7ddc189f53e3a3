"""ffmpeg plays titles by HLS and by DASH: each frame and each tone of the file, at its time."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

import m3u8
import pytest
import trio

from lb.media.vod_resources import VodResources
from lb.media.vod_titles import VodTitles
from tests.support.effort import LONG_FORM
from tests.support.peers import needs_program
from tests.support.titles import demuxed, film

pytestmark = [
    pytest.mark.slow,
    needs_program("ffmpeg"),
]

FILMS = {
    "h264-aac.mp4": ("avc1", "mp4a"),
    "hevc-opus.mp4": ("hvc1", "opus"),
    "av1-mp3.mp4": ("av01", "mp3"),
    "silent.mp4": ("avc1",),
    "sound.mp4": ("mp4a",),
}


@contextlib.contextmanager
def served(root):
    """Serve the titles of a directory over HTTP, in threads; yields the URL."""
    resources = VodResources(VodTitles(str(root), 2.0, 8, lambda *_: None), lambda _: None)
    with trio_thread() as token:

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                response = trio.from_thread.run(resources.resource, unquote(self.path), trio_token=token)
                self.send_response(response.status)
                body = b"".join(response.body)
                for name, value in (*response.headers(), ("Content-Length", str(len(body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@contextlib.contextmanager
def trio_thread():
    """Run trio in a thread of its own; yields its token."""
    tokens = queue.SimpleQueue()
    scope = trio.CancelScope()

    async def run():
        tokens.put(trio.lowlevel.current_trio_token())
        with scope:
            await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    token = tokens.get()
    try:
        yield token
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join()


@pytest.mark.parametrize("listing", ["master.m3u8", "manifest.mpd"])
@pytest.mark.parametrize("name", FILMS)
def test_ffmpeg_plays_all_of_a_film(tmp_path, name, listing):
    """What plays DASH in it ends with the track that ends first, and so may leave out the other's last packet."""
    (tmp_path / name).write_bytes(film(*FILMS[name]))
    with served(tmp_path) as url:
        played = demuxed("ffprobe", f"{url}/{name}/{listing}")
    original = demuxed("ffprobe", tmp_path / name)
    assert played.keys() == original.keys()
    ends_early = 1 if listing == "manifest.mpd" else 0
    for kind, packets in original.items():
        assert len(packets) - ends_early <= len(played[kind]) <= len(packets)
        assert played[kind] == packets[: len(played[kind])]


@pytest.mark.parametrize("listing", ["master.m3u8", "manifest.mpd"])
def test_ffprobe_finds_all_renditions(tmp_path, listing):
    (tmp_path / "ladder").mkdir()
    for number, bitrate in enumerate((400_000, 150_000, 50_000)):
        (tmp_path / "ladder" / f"{number}.mp4").write_bytes(film("avc1", "mp4a", bitrate=bitrate))
    with served(tmp_path) as url:
        command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]
        command.append(f"{url}/ladder/{listing}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    found = done.stdout.split()
    assert found.count("h264") % 3 == 0
    assert found.count("h264") >= 3
    assert "aac" in found


BUFFERED = """
async ({base, tracks}) => {
    const source = new MediaSource(), video = document.createElement("video");
    video.muted = true;
    video.src = URL.createObjectURL(source);
    await new Promise(done => source.addEventListener("sourceopen", done, {once: true}));
    const buffers = tracks.map(track => source.addSourceBuffer(track.type));
    for (const [at, track] of tracks.entries())
        for (const uri of track.uris) {
            const data = await (await fetch(base + uri)).arrayBuffer();
            await new Promise((done, failed) => {
                buffers[at].addEventListener("updateend", done, {once: true});
                buffers[at].addEventListener("error", () => failed(new Error(uri)), {once: true});
                buffers[at].appendBuffer(data);
            });
        }
    const ranges = buffers.map(({buffered}) =>
        Array.from({length: buffered.length}, (_, at) => [buffered.start(at), buffered.end(at)]));
    source.endOfStream();
    for (const time of [0, 2.02, 5.9]) {
        const sought = new Promise(done => video.addEventListener("seeked", done, {once: true}));
        video.currentTime = time;
        await sought;
        if (video.error || video.readyState < 2) throw new Error(`${time}: ${video.error?.message}`);
    }
    return ranges;
}
"""


def browser_tracks(url):
    """Return type and addresses of the picture and the sound of a title."""
    codecs = m3u8.load(f"{url}/master.m3u8").playlists[0].stream_info.codecs.split(",")
    for name, kind, codec in zip(("v0", "a0"), ("video", "audio"), codecs, strict=True):
        listed = m3u8.load(f"{url}/{name}.m3u8")
        uris = [listed.segments[0].init_section.uri, *(each.uri for each in listed.segments)]
        yield {"type": f'{kind}/mp4; codecs="{codec}"', "uris": uris}


@needs_program("chromium")
@LONG_FORM
def test_a_browser_has_picture_and_sound_from_the_first_moment_to_the_last(tmp_path):
    from tests.support.browser import new_page

    forms = ("plain", "negative offsets", "CMAF")
    for form in forms:
        (tmp_path / f"{form}.mp4").write_bytes(film("avc1", "mp4a", form=form))
    with served(tmp_path) as url, new_page() as page:
        for form in forms:
            base = f"{url}/{quote(form)}.mp4"
            picture, sound = page.evaluate(BUFFERED, {"base": f"{base}/", "tracks": list(browser_tracks(base))})
            assert picture == [pytest.approx([0, 6], abs=0.001)]
            assert sound == [pytest.approx([0, 6.016], abs=0.03)]
