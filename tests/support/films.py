"""A balancer with films, what is in its directory, and viewers of them."""

from __future__ import annotations

import functools
import io
import json

import av

from tests.support.balancer import with_workers
from tests.support.publishing import FILM
from tests.support.titles import FORMS, film, remuxed
from tests.support.viewing import viewer

__all__ = ["FILM", "films_config", "packets_of", "refused_reasons", "stored_film", "title", "write_films"]


def films_config(root, app='segment = "1s"', *, route="", cache=True, zone="", top="", web=""):
    """Return a configuration: the listener ``web``, the films of ``root`` below /films/, the cache ``zone``.

    Arguments are lines of TOML.
    """
    cached = '[listeners.web.routes.cache]\nzone = "zone"\nstatus_header = "X-Cache-Status"\n' if cache else ""
    return with_workers(
        f'{top}\n[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\n{web}\n'
        f'[[listeners.web.routes]]\nname = "films"\npath = "/films/"\nmedia = "films"\n{route}\n{cached}'
        f"[caches.zone]\n{zone}\n[media.vod.films]\nroot = {json.dumps(str(root))}\n{app}\n"
    )


def title(lb, path):
    """Return a viewer of a title, whose path is encoded as in a URL."""
    return viewer(lb, path, route="films")


@functools.cache
def stored_film(form="plain", kinds=("video", "audio")):
    """Return the stored film in another form of MP4, or with one of its tracks only."""
    return remuxed(FILM.read_bytes(), form, kinds)


def write_films(root):
    """Write films of all forms. Return by the path of each title what is in it, as a file that libav reads."""
    stored = {each.name: each.read_bytes() for each in FILM.parent.glob("*-*.mp4")}
    forms = {f"{form}.mp4": stored_film(form) for form in FORMS}
    alone = {f"{kind} alone.mp4": stored_film(kinds=(kind,)) for kind in ("video", "audio")}
    found = {**stored, **forms, **alone}
    for name, data in found.items():
        (root / name).write_bytes(data)
    found["CMAF.mp4"] = found["plain.mp4"]  # libav itself reads its times of showing too late
    found["ladder"] = write_ladder(root / "ladder")
    return found


def write_ladder(directory, bitrates=(200_000, 50_000)):
    """Write renditions of one film, with key frames that agree. Return the best."""
    directory.mkdir()
    for bitrate in bitrates:
        (directory / f"{bitrate}.mp4").write_bytes(film("avc1", "mp4a", bitrate=bitrate))
    return film("avc1", "mp4a", bitrate=max(bitrates))


def packets_of(data, kind):
    """Return each packet of a track: when it is shown in seconds, how long, whether it is a key frame, its bytes."""
    with av.open(io.BytesIO(data)) as container:
        stream = next(each for each in container.streams if each.type == kind)
        base = stream.time_base
        return [
            (each.pts * base, each.duration * base, each.is_keyframe, bytes(each))
            for each in container.demux(stream)
            if each.size
        ]


def refused_reasons(lb):
    """Return why titles were refused so far, by title; each once."""
    events = lb.of("media.title_refused")
    reasons = {event["title"]: event["reason"] for event in events}
    assert len(reasons) == len(events), f"one event for each: {events}"
    return reasons
