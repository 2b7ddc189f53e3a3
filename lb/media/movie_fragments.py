"""The samples of fragmented MP4: what each box ``moof`` adds to the tables (ISO/IEC 14496-12, section 8.8)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from itertools import repeat

import attrs

from lb.media.frames import MediaError
from lb.media.mp4_boxes import children, numbers, only_child
from lb.media.sample_table import SampleTable

__all__ = ["SampleDefaults", "add_fragment", "read_sample_defaults"]

_FLAGS = slice(1, 4)
_BASE_POSITION, _DESCRIPTION, _DURATION, _SIZE, _SAMPLE_FLAGS = 0x1, 0x2, 0x8, 0x10, 0x20
"""What a box ``tfhd`` holds."""
_BASE_IS_MOOF = 0x20000
_POSITION, _FIRST_FLAGS = 0x1, 0x4
"""What a box ``trun`` holds, before its samples."""
_EACH_DURATION, _EACH_SIZE, _EACH_FLAGS, _EACH_OFFSET = 0x100, 0x200, 0x400, 0x800
"""What it holds of each sample."""
_NOT_A_KEY = 0x10000
_HALF = 1 << 31
_MAX_UNSAID = 1 << 20
"""Samples in runs that say nothing of each, so that the bytes of the file do not bound them; of one fragment."""


@attrs.frozen
class SampleDefaults:
    """What is true of the samples of a track for which a fragment says nothing else."""

    duration: int = 0
    size: int = 0
    flags: int = 0


@attrs.define
class _Place:
    """Where the samples of the next run are counted from."""

    moof: int
    base: int
    position: int
    """Where the run before ended."""
    unsaid: int = _MAX_UNSAID
    """Samples that may be left in runs that say nothing of each."""


def read_sample_defaults(moov: memoryview) -> dict[int, SampleDefaults]:
    """Return the defaults of each track, by its number. It is empty if the file is not fragmented."""
    found = {}
    for trex in children(moov, b"mvex", b"trex"):
        track, _, duration, size, flags = _numbers(trex[4:], 5)
        found[track] = SampleDefaults(duration, size, flags)
    return found


def add_fragment(
    moof: memoryview, position: int, tables: dict[int, SampleTable], defaults: Mapping[int, SampleDefaults]
) -> int:
    """Add the samples of a fragment to the tables of their tracks. Return where the last ends in the file.

    ``position`` is where the box begins in the file. Raises :class:`MediaError`.
    """
    place = _Place(position, position, position)
    end = position
    for traf in children(moof, b"traf"):
        end = max(end, _add_track(traf, place, tables, defaults))
    return end


def _add_track(
    traf: memoryview, place: _Place, tables: dict[int, SampleTable], defaults: Mapping[int, SampleDefaults]
) -> int:
    tfhd = only_child(traf, b"tfhd")
    flags, (track, *_) = int.from_bytes(tfhd[_FLAGS]), _numbers(tfhd[4:], 1)
    place.base, its_defaults = _header(tfhd, flags, place, defaults.get(track, SampleDefaults()))
    table = tables.setdefault(track, SampleTable())
    dts = table.end
    for tfdt in children(traf, b"tfdt"):
        dts = int.from_bytes(tfdt[4:12] if tfdt[0] else tfdt[4:8])
    end = place.position = place.base
    for trun in children(traf, b"trun"):
        dts = _add_run(trun, place, dts, its_defaults, table)
        end = max(end, place.position)
    return end


def _header(tfhd: memoryview, flags: int, place: _Place, defaults: SampleDefaults) -> tuple[int, SampleDefaults]:
    """Return the position that runs are counted from, and the track's defaults in this fragment."""
    base = place.moof if flags & _BASE_IS_MOOF else place.position
    at = 8
    if flags & _BASE_POSITION:
        base = int.from_bytes(tfhd[at : at + 8])
        at += 8
    values = numbers(tfhd[at:], "I").tolist()
    if flags & _DESCRIPTION:
        values = values[1:]
    found = []
    for flag, default in ((_DURATION, defaults.duration), (_SIZE, defaults.size), (_SAMPLE_FLAGS, defaults.flags)):
        if flags & flag:
            found.append(values[0] if values else default)
            values = values[1:]
        else:
            found.append(default)
    return base, SampleDefaults(*found)


def _add_run(trun: memoryview, place: _Place, dts: int, defaults: SampleDefaults, table: SampleTable) -> int:
    """Add a run of samples. Return the time after its end."""
    flags = int.from_bytes(trun[_FLAGS])
    (count,), at = _numbers(trun[4:], 1), 8
    if flags & _POSITION:
        place.position = place.base + int.from_bytes(trun[at : at + 4], signed=True)
        at += 4
    first_flags = None
    if flags & _FIRST_FLAGS:
        first_flags = int.from_bytes(trun[at : at + 4])
        at += 4
    columns = _columns(trun[at:], flags, count)
    if not columns:
        place.unsaid -= count
        if place.unsaid < 0:
            raise MediaError("it is damaged: a fragment has more than a million samples")
    sizes = columns.get(_EACH_SIZE) or array("I", repeat(defaults.size, count))
    its_flags = columns.get(_EACH_FLAGS)
    first = table.count
    if table.keys is not None:
        keys = its_flags or array("I", repeat(defaults.flags, count))
        if first_flags is not None and count:
            keys[0] = first_flags
        table.keys.extend(first + number for number, each in enumerate(keys) if not each & _NOT_A_KEY)
    table.sizes.extend(sizes)
    _add_offsets(table, columns.get(_EACH_OFFSET), first)
    if count:
        table.chunk_starts.append(first)
        table.chunk_positions.append(place.position)
    place.position += sum(sizes)
    return _add_times(table, first, dts, columns.get(_EACH_DURATION) or array("I", repeat(defaults.duration, count)))


def _columns(entries: memoryview, flags: int, count: int) -> dict[int, array[int]]:
    """Return what a run says of each of its samples, by the flag that stands for it."""
    kinds = [kind for kind in (_EACH_DURATION, _EACH_SIZE, _EACH_FLAGS, _EACH_OFFSET) if flags & kind]
    values = numbers(entries[: 4 * count * len(kinds)], "I")
    if len(values) < count * len(kinds):
        raise MediaError("it is damaged: a run of samples is cut off")
    return {kind: values[at :: len(kinds)] for at, kind in enumerate(kinds)}


def _add_offsets(table: SampleTable, offsets: array[int] | None, first: int) -> None:
    if offsets is not None and (table.offsets or any(offsets)):
        table.offsets.extend(repeat(0, first - len(table.offsets)))
        table.offsets.extend(offset - 2 * (offset & _HALF) for offset in offsets)
    elif table.offsets:
        table.offsets.extend(repeat(0, table.count - first))


def _add_times(table: SampleTable, first: int, dts: int, durations: array[int]) -> int:
    """Add one run if all durations are the same, as usual, or else one a sample."""
    if durations and min(durations) == max(durations):
        starts, length = range(first, first + 1), len(durations)
    else:
        starts, length = range(first, first + len(durations)), 1
    for start in starts:
        duration = durations[start - first]
        table.run_starts.append(start)
        table.run_times.append(dts)
        table.run_durations.append(duration)
        dts += duration * length
    return dts


def _numbers(data: memoryview, least: int) -> list[int]:
    """Return the numbers of a header, as many as there have to be."""
    found = numbers(data[: 4 * least], "I").tolist()
    if len(found) < least:
        raise MediaError("it is damaged: a box of a fragment is cut off")
    return found
