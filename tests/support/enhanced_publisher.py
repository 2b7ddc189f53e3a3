"""Publish a film as fast as it goes, by PyAV, whose FFmpeg knows enhanced RTMP; Debian's does not: ``main FILM URL``.

It prints a line for each packet: its track, its size, 1 for a key frame.
"""

from __future__ import annotations

import sys

import av


def main():
    with av.open(sys.argv[1]) as film, av.open(sys.argv[2], "w", format="flv") as output:
        tracks = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in film.streams}
        for packet in film.demux():
            if packet.dts is not None:
                print(packet.stream.type, packet.size, int(packet.is_keyframe))
                packet.stream = tracks[packet.stream.index]
                output.mux(packet)


main()
