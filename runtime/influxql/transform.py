"""Transformations of InfluxQL: a value for a point from those before it in its series.

A sequence is the points section[s]:section[s + 1] of a series, in the order in which they come. All are present.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Column
from tickc.runtime.influxql.aggregate import Unsupported
from tickc.runtime.influxql.window import bucket
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.reducers import square

FLOAT, INT = Kind.FLOAT, Kind.INT
EXPONENTIAL = {  # averages of averages: how many there are
    "exponential_moving_average": 1,
    "double_exponential_moving_average": 2,
    "triple_exponential_moving_average": 3,
    "triple_exponential_derivative": 3,
}
SMOOTH = (*EXPONENTIAL, "relative_strength_index", "kaufmans_efficiency_ratio", "kaufmans_adaptive_moving_average",
          "chande_momentum_oscillator")  # fmt: skip
FAST, SLOW = 56 / 93, 2 / 31  # 2/3 - 2/31 and 2/31, the smoothing constants of Kaufman's average
DIFFERENCES = ("difference", "non_negative_difference", "derivative", "non_negative_derivative")
TRANSFORMS = frozenset((*DIFFERENCES, "elapsed", "cumulative_sum", "moving_average", *SMOOTH))


@dataclass(frozen=True)
class Transformed:
    """place: i8[n], the points that gave a value, ascending; value: n of them."""

    place: Array
    value: Column


def transform(name: str, args: tuple[Any, ...], value: Column, time: Array, section: Array, forth: int) -> Transformed:
    """`name` of each sequence.

    args: what follows the field, lengths of time in ns, with defaults filled in. forth: 1 where time ascends, else -1.
    """
    kind = value.kinds
    assert isinstance(kind, Kind)
    if name == "elapsed":
        return _elapsed(time, section, args[0])
    if kind not in (FLOAT, INT):
        label = "boolean" if kind is Kind.BOOL else kind.label
        shown = name.removeprefix("non_negative_").replace("_", " ")
        raise Unsupported(f"unsupported {shown} iterator type: *query.{label}Iterator")
    values = np.ascontiguousarray(value.data[kind])
    if name in DIFFERENCES:
        unit = args[0] if name.endswith("derivative") else 0
        return _differences(values, kind, time, section, unit, forth, name.startswith("non_negative"))
    n = len(values)
    if name == "cumulative_sum":
        out = np.empty(n, values.dtype)
        running_sums(values, section, out)
        return Transformed(np.arange(n), Column.of(kind, out))
    emits, means = np.zeros(n, np.bool_), np.empty(n)
    if name == "moving_average":
        moving_averages(values, section, args[0], means, emits)
    else:
        _smooth(name, args, values.astype(np.float64), section, means, emits)
    place = np.flatnonzero(emits)
    return Transformed(place, Column.of(FLOAT, means[place]))


def _starts(section: Array, n: int) -> Array:
    """bool[n]: where a sequence begins."""
    first = np.zeros(n + 1, np.bool_)
    first[section] = True
    return first[:n]


def _elapsed(time: Array, section: Array, unit: int) -> Transformed:
    place = np.flatnonzero(~_starts(section, len(time)))
    between = time[place] - time[place - 1]
    return Transformed(place, Column.of(INT, (between - np.fmod(between, unit)) // unit))


def _differences(
    values: Array, kind: Kind, time: Array, section: Array, unit: int, forth: int, non_negative: bool
) -> Transformed:
    """Differences of neighbours, a point at the time of the one before it left out; per `unit` of time where there is
    one."""
    starts = _starts(section, len(time))
    moves = starts.copy()
    moves[1:] |= time[1:] != time[:-1]
    used = np.flatnonzero(moves)
    at = np.flatnonzero(~starts[used])
    place, before = used[at], used[at - 1]
    with np.errstate(all="ignore"):
        between = values[place] - values[before]
        out, out_kind = between, kind
        if unit:
            elapsed = (time[place] - time[before]) * forth
            out, out_kind = between.astype(np.float64) / (elapsed.astype(np.float64) / np.float64(unit)), FLOAT
    if non_negative:
        keep = ~(between < 0)
        place, out = place[keep], out[keep]
    return Transformed(place, Column.of(out_kind, out))


def _smooth(name: str, args: tuple[Any, ...], values: Array, section: Array, out: Array, emits: Array) -> None:
    """args: the period, and where given how many values are held back (-1: as many as it takes to warm up), and how the
    averages warm up."""
    period = int(args[0])
    hold = int(args[1]) if len(args) > 1 else -1
    warmup = args[2] if len(args) > 2 else "none"
    simple = warmup == "simple"
    if name in EXPONENTIAL:
        depth = EXPONENTIAL[name]
        rate = name == "triple_exponential_derivative"
        warm = (period - 1) * (depth if simple else 1) + rate
        exponential(values, section, depth, rate, period, simple, np.zeros((3, 2)), out)
    elif name == "relative_strength_index" or (name == "chande_momentum_oscillator" and warmup != "none"):
        warm = period
        strength(values, section, period, simple, name == "chande_momentum_oscillator", np.zeros((2, 2)), out)
    elif name == "chande_momentum_oscillator":
        warm = period - 1
        if warm:  # else InfluxDB fails
            momentum(values, section, np.zeros((warm, 2)), out)
        else:
            return
    else:
        warm = period
        efficiency(values, section, name == "kaufmans_adaptive_moving_average", np.zeros((period, 2)), out)
    place = np.arange(len(values)) - np.repeat(section[:-1], np.diff(section))
    emits[:] = place >= (warm if hold == -1 else hold)
    if name in ("triple_exponential_derivative", "kaufmans_efficiency_ratio", "kaufmans_adaptive_moving_average"):
        emits &= ~np.isinf(out)


@kernel
def running_sums(values, section, out):  # type: ignore[no-untyped-def]
    """Sums of all values of a sequence so far. values, out: f8 or i8 (which wraps)."""
    for s in range(section.size - 1):
        total = 0
        for i in range(section[s], section[s + 1]):
            total += values[i]
            out[i] = total


@kernel
def moving_averages(values, section, width, out, emits):  # type: ignore[no-untyped-def]
    """Means of the last `width` values by a running sum, from the width-th value of a sequence on."""
    for s in range(section.size - 1):
        first = section[s]
        total = 0
        for i in range(first, section[s + 1]):
            if i - first >= width:
                total -= values[i - width]
            total += values[i]
            if i - first >= width - 1:
                out[i] = np.float64(total) / np.float64(width)
                emits[i] = True


@kernel
def average(state, k, value, period, alpha, simple):  # type: ignore[no-untyped-def]
    """Add a value to the moving average k; state[k]: the average, and how many values it has, at most period."""
    count = state[k, 1]
    last = state[k, 0]
    if count == 0.0:
        mean = value
    elif count == period:
        mean = (value - last) * alpha + last
    elif simple:
        mean = (last * count + value) / (count + 1.0)
    else:
        mean = (value - last) * (2.0 / (count + 2.0)) + last
    state[k, 0] = mean
    if count < period:
        state[k, 1] = count + 1.0
    return mean


@kernel
def exponential(values, section, depth, rate, period, simple, state, out):  # type: ignore[no-untyped-def]
    """Exponential moving averages of each other, 1 to 3 of them, or how fast the third changes.

    An average that warms up as a simple mean does not feed the next one until it is warm. values, out: f8[n]; state:
    f8[3, 2], room to work in.
    """
    size = np.float64(period)
    alpha = 2.0 / (size + 1.0)
    for s in range(section.size - 1):
        state[:, :] = 0.0
        before = np.float64(0.0)
        for i in range(section[s], section[s + 1]):
            first = average(state, 0, values[i], size, alpha, simple)
            second = first
            third = first
            if depth > 1 and (not simple or state[0, 1] == size):
                second = average(state, 1, first, size, alpha, simple)
                third = second
                if depth > 2 and (not simple or state[1, 1] == size):
                    third = average(state, 2, second, size, alpha, simple)
            if rate:
                out[i] = (third / before - 1.0) * 100.0
                before = third
            elif depth == 1:
                out[i] = first
            elif depth == 2:
                out[i] = 2.0 * first - second
            else:
                out[i] = 3.0 * first - 3.0 * second + third


@kernel
def strength(values, section, period, simple, momentum, state, out):  # type: ignore[no-untyped-def]
    """Relative strength of rises against falls, or (momentum) Chande's oscillator of them; state: f8[2, 2]."""
    size = np.float64(period + 1)
    alpha = 1.0 / np.float64(period)
    for s in range(section.size - 1):
        state[:, :] = 0.0
        before = np.float64(0.0)
        for i in range(section[s], section[s + 1]):
            v = values[i]
            up = v - before if v > before else np.float64(0.0)
            down = before - v if v < before else np.float64(0.0)
            before = v
            up = average(state, 0, up, size, alpha, simple)
            down = average(state, 1, down, size, alpha, simple)
            if momentum:
                out[i] = 100.0 * ((up - down) / (up + down))
            else:
                out[i] = 100.0 - (100.0 / (1.0 + up / down))


@kernel
def momentum(values, section, ring, out):  # type: ignore[no-untyped-def]
    """Chande's momentum oscillator by running sums; ring: f8[period - 1, 2], the last values and their differences."""
    for s in range(section.size - 1):
        ring[:, :] = 0.0
        newest = 0
        up = np.float64(0.0)
        down = np.float64(0.0)
        for i in range(section[s], section[s + 1]):
            v = values[i]
            change = np.float64(0.0) if i == section[s] else v - ring[newest, 0]
            if change > 0.0:
                up += change
            elif change < 0.0:
                down -= change
            out[i] = 100.0 * ((up - down) / (up + down)) if up != 0.0 or down != 0.0 else np.float64(0.0)
            newest = 0 if newest + 1 >= ring.shape[0] else newest + 1
            oldest = ring[newest, 1]
            if oldest > 0.0:
                up -= oldest
            elif oldest < 0.0:
                down += oldest
            ring[newest, 0] = v
            ring[newest, 1] = change


@kernel
def efficiency(values, section, adaptive, ring, out):  # type: ignore[no-untyped-def]
    """Kaufman's efficiency ratio, or his moving average that adapts to it; ring: f8[period, 2], values and steps."""
    size = ring.shape[0]
    for s in range(section.size - 1):
        ring[:, :] = 0.0
        newest = 0
        noise = np.float64(0.0)
        mean = np.float64(0.0)
        for i in range(section[s], section[s + 1]):
            v = values[i]
            if i - section[s] <= size:
                mean = ring[newest, 0]
            step = abs(v - ring[newest, 0])
            newest = 0 if newest + 1 >= size else newest + 1
            signal = abs(v - ring[newest, 0])
            noise -= ring[newest, 1]
            noise += step
            ring[newest, 0] = v
            ring[newest, 1] = step
            ratio = np.float64(0.0) if signal == 0.0 or noise == 0.0 else signal / noise
            mean = mean + square(ratio * FAST + SLOW) * (v - mean)
            out[i] = mean if adaptive else ratio


@kernel
def integrals(  # type: ignore[no-untyped-def]
    values, time, section, first, past, whole, unit, forth, interval, offset, changes, shifts, out_owner, out_time, out
):  # fmt: skip
    """Areas under the points of each sequence, in units of time, by bucket where interval is above 0.

    values: f8[n]; first, past: i8[sections], the range [first, past). whole: whether the field is of ints, whose
    areas InfluxDB works out in another way, and whose range is their bucket where there is none; that of floats is
    at 0. Out, room for all points and sequences: the sequence, the time and the area. Returns how many.
    """
    m = 0
    for s in range(section.size - 1):
        total = np.float64(0.0)
        begin = np.int64(0)
        end = np.int64(0)
        last = np.float64(0.0)
        at = np.int64(0)
        bounded = whole or interval > 0
        for i in range(section[s], section[s + 1]):
            t = time[i]
            v = values[i]
            if i == section[s]:
                if interval > 0:
                    begin, end = bucket(t, interval, offset, changes, shifts)
                elif whole:
                    begin = first[s]
                    end = past[s]
                if forth < 0:
                    begin, end = end, begin
                last = v
                at = t
                continue
            if t == at:
                last = v
                continue
            if bounded and (t - end) * forth >= 0:
                if at != end:
                    between = (v - last) / np.float64(t - at) * np.float64(end - at) + last
                    total += 0.5 * (between + last) * (np.float64(end - at) / unit)
                    if whole:
                        v = between
                    else:
                        last = between
                    at = end
                out_owner[m] = s
                out_time[m] = begin
                out[m] = total
                m += 1
                if interval > 0:
                    begin, end = bucket(t, interval, offset, changes, shifts)
                else:
                    begin = first[s]
                    end = past[s]
                if forth < 0:
                    begin, end = end, begin
                total = np.float64(0.0)
            total += 0.5 * (v + last) * (np.float64(t - at) / unit)
            last = values[i]
            at = t
        if section[s] < section[s + 1] and at != begin:
            out_owner[m] = s
            out_time[m] = begin
            out[m] = total
            m += 1
    return m
