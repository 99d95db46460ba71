"""Holt-Winters forecasts: damped trend, multiplicative seasons, parameters by a Nelder-Mead search.

Every operation stands in the order that InfluxDB 1.9 has it (FloatHoltWintersReducer in query/functions.go, Optimize in
query/neldermead), since the search ends elsewhere when a bit differs. A parameter vector is f8[6 + m]: alpha, beta,
gamma, phi, the initial level and trend, and m seasonals. Evaluating one changes it: the first four are clamped to
[0, 1], and the seasonals are overwritten by those of the forecast.
"""

from __future__ import annotations

import os

import numpy as np

from tickc.runtime.batch import Array
from tickc.runtime.builtins.gomath import frexp, ldexp
from tickc.runtime.kernel import kernel
from tickc.runtime.nodes.reducers import square
from tickc.runtime.routine import routine

MAX_ITERATIONS = 1000
REFLECTION, CONTRACTION, EXPANSION = 1.0, 0.5, 2.0
EPSILON = 1e-4
WEIGHT = 0.5  # of the first values in the initial level and trend, without seasons
GUESS_LOW, GUESS_HIGH, GUESS_STEP = 0.3, 1.0, 0.4  # grid of start values for alpha, beta, gamma, phi


@routine
def power(x, n):  # type: ignore[no-untyped-def]
    """Go's math.Pow(x, n) for x in [0, 1] or NaN and an int n > 0: repeated squaring of the fraction."""
    if n == 1 or x == 0.0 or x == 1.0 or x != x:
        return x
    product = np.float64(1.0)
    exponent = np.int64(0)
    fraction, shift = frexp(x)
    while n != 0:
        if shift < -4096:
            exponent += shift
            break
        if n & 1 == 1:
            product *= fraction
            exponent += shift
        fraction *= fraction
        shift *= 2
        if fraction < 0.5:
            fraction += fraction
            shift -= 1
        n >>= 1
    return ldexp(product, exponent)


@routine
def forecast(y, params, seasons, out):  # type: ignore[no-untyped-def]
    """Fitted values of y (f8[l]) and forecasts after them; out: f8[l + h]. seasons: how many seasonals, 0 for none."""
    for i in range(4):
        if params[i] > 1.0:
            params[i] = 1.0
        if params[i] < 0.0:
            params[i] = 0.0
    alpha = params[0]
    beta = params[1]
    gamma = params[2]
    phi = params[3]
    damping = phi
    level = params[4]
    trend = params[5]
    value = y[0]
    out[0] = value
    offset = seasons - 1
    season = np.float64(1.0)
    season_ahead = np.float64(1.0)
    for t in range(1, out.size):
        if seasons > 0:
            season = params[6 + (t - seasons + offset) % seasons]
            season_ahead = params[6 + (t - seasons + t % seasons + offset) % seasons]
        level_before = level
        trend_before = trend
        base = level_before + phi * trend_before
        level = alpha * (value / season) + (1.0 - alpha) * base
        trend = beta * (level - level_before) + (1.0 - beta) * phi * trend_before
        seasonal = gamma * (value / base) + (1.0 - gamma) * season
        value = (level + damping * trend) * season_ahead
        damping += power(phi, t)
        if seasons > 0:
            params[6 + (t + offset) % seasons] = seasonal
            offset += 1
        out[t] = value


@routine
def squared_error(y, params, seasons, fitted):  # type: ignore[no-untyped-def]
    """Sum of the squared errors of the fit to the known y; +Inf where a fitted value is NaN. fitted: f8[l] scratch."""
    forecast(y, params, seasons, fitted)
    total = np.float64(0.0)
    for i in range(y.size):
        if y[i] == y[i]:
            if fitted[i] != fitted[i]:
                return np.float64(np.inf)
            error = fitted[i] - y[i]
            total += error * error
    return total


@routine
def optimize(y, start, seasons, best):  # type: ignore[no-untyped-def]
    """Nelder-Mead from `start` (f8[n]); best: f8[n] gets the parameters. Returns their squared error."""
    n = start.size
    v = np.empty((n + 1, n), np.float64)
    f = np.empty(n + 1, np.float64)
    reflected = np.empty(n, np.float64)
    expanded = np.empty(n, np.float64)
    contracted = np.empty(n, np.float64)
    centroid = np.empty(n, np.float64)
    fitted = np.empty(y.size, np.float64)
    size = np.float64(n)
    far = (np.sqrt(size + 1.0) - 1.0 + size) / (size * np.sqrt(2.0))
    near = (np.sqrt(size + 1.0) - 1.0) / (size * np.sqrt(2.0))
    for i in range(n):
        v[0, i] = start[i]
    for i in range(1, n + 1):
        for j in range(n):
            v[i, j] = far + start[j] if i - 1 == j else near + start[j]
    for j in range(n + 1):
        f[j] = squared_error(y, v[j], seasons, fitted)
    for _ in range(MAX_ITERATIONS):
        worst = 0
        lowest = 0
        for i in range(n + 1):
            if f[i] > f[worst]:
                worst = i
            if f[i] < f[lowest]:
                lowest = i
        second = lowest
        for i in range(n + 1):
            if f[i] > f[second] and f[i] < f[worst]:
                second = i
        for i in range(n):
            total = np.float64(0.0)
            for m in range(n + 1):
                if m != worst:
                    total += v[m, i]
            centroid[i] = total / size
        for i in range(n):
            reflected[i] = centroid[i] + REFLECTION * (centroid[i] - v[worst, i])
        at_reflected = squared_error(y, reflected, seasons, fitted)
        if at_reflected < f[second] and at_reflected >= f[lowest]:
            for i in range(n):
                v[worst, i] = reflected[i]
            f[worst] = at_reflected
        if at_reflected < f[lowest]:
            for i in range(n):
                expanded[i] = centroid[i] + EXPANSION * (reflected[i] - centroid[i])
            at_expanded = squared_error(y, expanded, seasons, fitted)
            if at_expanded < at_reflected:
                for i in range(n):
                    v[worst, i] = expanded[i]
                f[worst] = at_expanded
            else:
                for i in range(n):
                    v[worst, i] = reflected[i]
                f[worst] = at_reflected
        if at_reflected >= f[second]:
            if at_reflected < f[worst]:
                for i in range(n):
                    contracted[i] = centroid[i] + CONTRACTION * (reflected[i] - centroid[i])
            else:
                for i in range(n):
                    contracted[i] = centroid[i] - CONTRACTION * (centroid[i] - v[worst, i])
            at_contracted = squared_error(y, contracted, seasons, fitted)
            if at_contracted < f[worst]:
                for i in range(n):
                    v[worst, i] = contracted[i]
                f[worst] = at_contracted
            else:
                for m in range(n + 1):
                    if m != lowest:
                        for i in range(n):
                            v[m, i] = v[lowest, i] + (v[m, i] - v[lowest, i]) / 2.0
                f[worst] = squared_error(y, v[worst], seasons, fitted)
                f[second] = squared_error(y, v[second], seasons, fitted)
        total = np.float64(0.0)
        for i in range(n + 1):
            total += f[i]
        mean = total / (size + 1.0)
        spread = np.float64(0.0)
        for i in range(n + 1):
            spread += square(f[i] - mean) / size
        if np.sqrt(spread) < EPSILON:
            break
    lowest = 0
    for i in range(n + 1):
        if f[i] < f[lowest]:
            lowest = i
    for i in range(n):
        best[i] = v[lowest, i]
    return squared_error(y, v[lowest], seasons, fitted)


@kernel
def best_fit(y, seasons, out):  # type: ignore[no-untyped-def]
    """Fit to y (f8[l], NaN where unknown), then forecast; out: f8[l + h]."""
    m = seasons
    start = np.zeros(6 + m, np.float64)
    level = np.float64(0.0)
    trend = np.float64(0.0)
    if m > 0:
        size = np.float64(m)
        for i in range(m):
            if y[i] == y[i]:
                level += (1.0 / size) * y[i]
        for i in range(min(m, y.size - m)):
            if y[i] == y[i] and y[m + i] == y[m + i]:
                trend += 1.0 / (size * size) * (y[m + i] - y[i])
        for i in range(m):
            start[6 + i] = y[i] / level if y[i] == y[i] else 0.0
    else:
        level += WEIGHT * y[0]
        if y[1] == y[1]:
            trend = WEIGHT * (y[1] - y[0])
    start[4] = level
    start[5] = trend
    found = np.empty(6 + m, np.float64)
    best = np.empty(6 + m, np.float64)
    lowest = np.float64(np.inf)
    none = True
    alpha = GUESS_LOW
    while alpha < GUESS_HIGH:
        beta = GUESS_LOW
        while beta < GUESS_HIGH:
            gamma = GUESS_LOW
            while gamma < GUESS_HIGH:
                phi = GUESS_LOW
                while phi < GUESS_HIGH:
                    start[0] = alpha
                    start[1] = beta
                    start[2] = gamma
                    start[3] = phi
                    error = optimize(y, start, seasons, found)
                    if error < lowest or none:
                        lowest = error
                        none = False
                        for i in range(6 + m):
                            best[i] = found[i]
                    phi += GUESS_STEP
                gamma += GUESS_STEP
            beta += GUESS_STEP
        alpha += GUESS_STEP
    forecast(y, best, seasons, out)


def round_down_from_half(time: int, interval: int) -> int:
    """`time` to a multiple of `interval`: up where the remainder is more than half, with Go's truncating division."""
    whole = abs(time) // interval * (1 if time >= 0 else -1)
    remainder = time - whole * interval
    return (whole + (remainder > interval // 2)) * interval


def buckets(time: Array, values: Array, interval: int) -> Array:
    """f8[l]: the values by multiples of `interval` from the first point's on; the first point of each, NaN where none.
    Empty where the last point is not in a later bucket than the first."""
    rounded = [round_down_from_half(t, interval) for t in time.tolist()]
    if rounded[-1] <= rounded[0]:
        return np.empty(0)
    y = [float(values[0])]
    at = rounded[0]
    for t, value in zip(rounded[1:], values[1:].tolist()):
        if t <= at:
            continue
        y.extend([np.nan] * ((t - at) // interval - 1))
        y.append(float(value))
        at = t
    return np.array(y)


def holt_winters(
    time: Array, values: Array, ahead: int, seasons: int, interval: int, *, with_fit: bool
) -> tuple[Array, Array]:
    """Times (i8 ns) and values (f8) of `ahead` forecasts, `with_fit` after the fitted values; NaNs are left out.

    time: i8[n] ns, values: f8 or i8[n] in order of arrival; seasons below 2: none. Nothing comes of fewer than two
    points, fewer than `seasons`, or of points that fill no whole interval. Raises IndexError where the points fill
    fewer buckets than there are seasons, and ZeroDivisionError where interval is 0, which both end Kapacitor.
    """
    nothing = np.empty(0, np.int64), np.empty(0)
    if len(time) < 2 or (seasons >= 2 and len(time) < seasons) or ahead <= 0:
        return nothing
    y = buckets(time, values, interval)
    if not len(y):
        return nothing
    seasons = seasons if seasons >= 2 else 0
    if len(y) < seasons:
        raise IndexError("fewer buckets than seasons")
    out = np.empty(len(y) + ahead)
    fit = best_fit if os.environ.get("TICKC_INTERPRET") == "1" else best_fit.machine()
    fit(y, seasons, out)
    if with_fit:
        stamps = int(time[0]) + interval * np.arange(len(out), dtype=np.int64)
    else:
        out = out[len(y) :]
        stamps = int(time[-1]) + interval * np.arange(1, ahead + 1, dtype=np.int64)
    known = out == out
    return stamps[known], out[known]
