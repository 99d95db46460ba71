"""Buckets of time: which one a moment is in, in any time zone, and the rows that fill() adds.

InfluxDB counts buckets from 1970, or from the clock of a time zone (IteratorOptions.Window). A zone is two arrays here:
moments at which its offset changes, and the offsets before, between and after them; neither has elements in UTC.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from tickc.runtime import zones
from tickc.runtime.batch import Array
from tickc.runtime.gotext import SECOND, days_from_civil
from tickc.runtime.kernel import kernel
from tickc.runtime.schedule import local_zone

DAY = 86_400  # seconds
LEAST_TIME = -9223372036854775806  # influxql.MinTime
GREATEST_TIME = 9223372036854775806
NULL, VALUE, PREVIOUS = -1, -2, -3  # sources of a filled row: nothing, a value that is computed, the row before
FILL_NULL, FILL_NUMBER, FILL_PREVIOUS, FILL_LINEAR = 0, 1, 2, 3
FILLS = {"null": FILL_NULL, "previous": FILL_PREVIOUS, "linear": FILL_LINEAR}
FIRST_YEAR, LAST_YEAR = 1900, 2200


@dataclass(frozen=True)
class Buckets:
    """time(interval, offset) in a time zone; interval 0: one bucket, which begins at the start of the range.

    changes: i8[c] ns; shifts: i8[c + 1] ns east of UTC.
    """

    interval: int
    offset: int
    changes: Array
    shifts: Array

    @staticmethod
    def of(interval: int, offset: int, zone: str) -> Buckets:
        changes, shifts = _zone(zone) if zone else (np.empty(0, np.int64), np.zeros(1, np.int64))
        return Buckets(interval, offset % interval if interval else 0, changes, shifts)

    @property
    def key(self) -> tuple[int, int, Array, Array]:
        """Arguments of the kernels below."""
        return self.interval, self.offset, self.changes, self.shifts

    def begin(self, time: Array, start: Array) -> Array:
        """i8[n]: where the buckets of the moments begin; start: i8[n], the starts of their ranges."""
        if not self.interval:
            return np.array(start, np.int64)
        out = np.empty(len(time), np.int64)
        bucket_starts(np.ascontiguousarray(time), *self.key, out)
        return out


@functools.cache
def _zone(name: str) -> tuple[Array, Array]:
    """When the offset of a time zone changes, and the offsets; a search at every ten days, then by halves."""
    zone = local_zone() if name == "Local" else ZoneInfo(name)
    first, last = (days_from_civil(year, 1, 1) * DAY for year in (FIRST_YEAR, LAST_YEAR))
    changes: list[int] = []
    shifts = [zones.offset(first, zone)]
    for start in range(first, last, 10 * DAY):
        low, high = start, start + 10 * DAY
        if zones.offset(high, zone) == shifts[-1]:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if zones.offset(middle, zone) == shifts[-1] else (low, middle)
        changes.append(high)
        shifts.append(zones.offset(high, zone))
    return np.array(changes, np.int64) * SECOND, np.array(shifts, np.int64) * SECOND


@kernel
def zone_shift(t, changes, shifts):  # type: ignore[no-untyped-def]
    """Offset of the zone at t, ns east of UTC."""
    low = 0
    high = changes.size
    while low < high:
        middle = (low + high) // 2
        if changes[middle] <= t:
            low = middle + 1
        else:
            high = middle
    return shifts[low]


@kernel
def bucket(t, interval, offset, changes, shifts):  # type: ignore[no-untyped-def]
    """The bucket [start, stop) of t, as IteratorOptions.Window has it; interval is above 0."""
    t -= offset
    zone = np.int64(0) if changes.size == 0 else zone_shift(t, changes, shifts)
    into = (t + zone) % interval
    start = np.int64(LEAST_TIME) if LEAST_TIME + into >= t else t - into
    if changes.size:
        moved = zone - zone_shift(start, changes, shifts)
        if moved != 0 and abs(moved) < interval:
            start += moved
    left = interval - into
    stop = np.int64(GREATEST_TIME) if GREATEST_TIME - left <= t else t + left
    if changes.size:
        late = zone_shift(stop, changes, shifts)
        moved = zone - late
        if moved != 0 and abs(moved) < interval and (moved > 0 or zone_shift(stop + moved, changes, shifts) == late):
            stop += moved
    return start + offset, stop + offset


@kernel
def bucket_starts(time, interval, offset, changes, shifts, out):  # type: ignore[no-untyped-def]
    """out: i8[n], where the bucket of each moment begins."""
    for i in range(time.size):
        start, _ = bucket(time[i], interval, offset, changes, shifts)
        out[i] = start


@kernel
def slices(  # type: ignore[no-untyped-def]
    time, begin, end, chosen, first, last, latest, soonest, forth, out_range, out_series, out_low, out_high
):  # fmt: skip
    """Where ranges lie in series, series after series, without what is empty.

    time: i8[n], of series s the rows begin[s]:end[s], ascending, or descending where forth is -1; chosen: bool[series];
    first, last: i8[k], both inclusive; latest: the greatest `last` up to each, soonest: the least `first` from each on.
    Out: the range, the series, and the rows low:high; arrays without elements where it is only asked how many there
    are. Returns how many.
    """
    m = 0
    for s in range(begin.size):
        if not chosen[s] or begin[s] == end[s]:
            continue
        least = time[begin[s]] if forth > 0 else time[end[s] - 1]
        most = time[end[s] - 1] if forth > 0 else time[begin[s]]
        r = np.searchsorted(latest, least)
        while r < first.size and soonest[r] <= most:
            low = begin[s]
            high = end[s]
            i = low
            j = high
            while i < j:
                middle = (i + j) // 2
                if time[middle] < first[r] if forth > 0 else time[middle] > last[r]:
                    i = middle + 1
                else:
                    j = middle
            low = i
            j = high
            while i < j:
                middle = (i + j) // 2
                if time[middle] <= last[r] if forth > 0 else time[middle] >= first[r]:
                    i = middle + 1
                else:
                    j = middle
            if i > low:
                if out_range.size:
                    out_range[m] = r
                    out_series[m] = s
                    out_low[m] = low
                    out_high[m] = i
                m += 1
            r += 1
    return m


@kernel
def cut(time, low, high, interval, offset, changes, shifts, owner, start, stop, begin):  # type: ignore[no-untyped-def]
    """Cut the slices low:high (i8[p]) of time into buckets; interval is above 0.

    Out: the slice, the rows start:stop and where the bucket begins; arrays without elements where it is only asked how
    many there are. Returns how many. A bucket that does not hold the moment that it is of, as there is one when the
    clock of a zone changes, ends the slice, since InfluxDB reads no further then.
    """
    m = 0
    for p in range(low.size):
        i = low[p]
        end = high[p]
        while i < end:
            first, past = bucket(time[i], interval, offset, changes, shifts)
            since = i
            while i < end and first <= time[i] < past:
                i += 1
            if i == since:
                break
            if owner.size:
                owner[m] = p
                start[m] = since
                stop[m] = i
                begin[m] = first
            m += 1
    return m


@kernel
def fill(  # type: ignore[no-untyped-def]
    time, present, label, holes, read_on, run, first, last, interval, how, step, changes, shifts, out_row, out_time,
    out_source, out_previous, out_next, out_holes,
):  # fmt: skip
    """The rows of every bucket of a range for each series, as FillIterator gives them.

    time: i8[n], where buckets begin; present: bool[n]; label: i8[n], neighbours of one label are a series; holes: i8[n
    + 1] as in `Stream`, or one zero for all; read_on: whether those at its beginning do not end a range. run: i8[r +
    1], the points of each range; first, last: i8[r], its first and last bucket in the direction of step (1 or -1). Out:
    a row of the same series; the time; the source (a row, NULL, VALUE or PREVIOUS); the rows before and after, where
    the source is none; holes, zero before. Returns how many rows.
    """
    n = 0
    for r in range(run.size - 1):
        i = run[r]
        stop = run[r + 1]
        left = holes[i] if holes.size > 1 else 0
        if i == stop or (left > 0 and not read_on):
            continue
        out_holes[n] += left
        left = 0
        series = i
        at = first[r]
        previous = np.int64(-1)
        shift = np.int64(0) if changes.size == 0 else zone_shift(at, changes, shifts)
        while True:
            given = i if i < stop and left == 0 else -1
            if given < 0 and left > 0:
                left -= 1
            if given < 0 or label[given] != label[series]:
                if (at - last[r]) * step <= 0:
                    given = -1
                elif given < 0:
                    if i == stop:
                        break
                    out_holes[n] += 1
                    continue
                else:
                    series = i
                    at = first[r]
                    previous = np.int64(-1)
                    shift = np.int64(0) if changes.size == 0 else zone_shift(at, changes, shifts)
            out_row[n] = series
            if given >= 0 and (time[given] - at) * step <= 0:
                out_time[n] = time[given]
                out_source[n] = given
                previous = np.int64(given if present[given] else -1)
                i += 1
                left = holes[i] if holes.size > 1 and i < stop else 0
            else:
                out_time[n] = at
                out_source[n] = NULL
                if how == FILL_NUMBER:
                    out_source[n] = VALUE
                elif how == FILL_PREVIOUS and previous >= 0:
                    out_source[n] = PREVIOUS
                    out_previous[n] = previous
                elif how == FILL_LINEAR and previous >= 0:
                    if left > 0:
                        left -= 1
                    elif i < stop and label[i] == label[series]:
                        out_source[n] = VALUE
                        out_previous[n] = previous
                        out_next[n] = i
            n += 1
            at += interval * step
            if changes.size:
                now = zone_shift(at - 1, changes, shifts)
                if now != shift:
                    if abs(shift - now) < interval:
                        at += shift - now
                    shift = now
    return n
