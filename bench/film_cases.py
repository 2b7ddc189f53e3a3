"""The measurements of films: what is done once for each, as all else comes from the cache of mode ``http``."""

from __future__ import annotations

import films
from model import Bar, Case, Metric
from target import Features
from targets import LB

__all__ = ["FILM_CASES"]

FILMS = LB.with_features(Features(http=True, films=True))

FILM_CASES = (
    Case(
        "vod-open",
        (Metric("CPU to open a title of 10 minutes, with a playlist", "ms", bar=Bar(50, against=None)),),
        (FILMS,),
        films.opened,
        fresh=True,
        quick=False,
    ),
    Case(
        "vod-segment",
        (Metric("CPU of a cold segment, 6 s of 720p, title open", "ms", bar=Bar(30, against=None)),),
        (FILMS,),
        films.segments,
        quick=False,
    ),
)
